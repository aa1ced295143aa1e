"""The layer that a bootstrap fills: an active snapshot, and small operations on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from boatyard.image.layer.apply import apply
from boatyard.image.snapshot.disk import storage_error


class LayerFiles:
    """Owned by one bootstrap. Paths are relative to the layer's root and of the bootstrap's own choosing. Blocks."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def unpack(self, tar: BinaryIO) -> None:
        apply(tar, self._root)

    def directory(self, name: str, mode: int = 0o755) -> None:
        with self._making(name) as path:
            path.mkdir()
            path.chmod(mode)

    def write(self, name: str, data: bytes, mode: int) -> None:
        with self._making(name) as path:
            path.write_bytes(data)
            path.chmod(mode)

    def symlink(self, name: str, target: str) -> None:
        with self._making(name) as path:
            path.symlink_to(target)

    @contextmanager
    def _making(self, name: str) -> Iterator[Path]:
        try:
            yield self._root / name
        except OSError as error:
            raise storage_error(error, f"can't make /{name} of the image") from error

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def clamp_times(self, epoch: int) -> None:
        """No file is newer than the epoch."""
        for directory, names, files in os.walk(self._root, topdown=False):
            for name in (*names, *files, "."):
                path = os.path.join(directory, name)
                if os.lstat(path).st_mtime > epoch:
                    os.utime(path, (epoch, epoch), follow_symlinks=False)
