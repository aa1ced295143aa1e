"""Directories that outlive builds (git mirrors, downloads, cache mounts), and who is at work in them: none is removed
under its user's hands, and where only one may work at a time, the others wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from boatyard.errors import ConflictError
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.disk import storage_error

TRASH = ".trash-"
"""Names of what is being removed begin so."""


class Occupancy:
    """One per daemon. `turn` is for its event loop, the rest for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: Counter[Path] = Counter()
        self._turns: dict[Path, asyncio.Lock] = {}

    @contextmanager
    def using(self, path: Path) -> Iterator[None]:
        """It may be shared, but isn't removed."""
        with self._lock:
            self._users[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._users[path] -= 1
                if not self._users[path]:
                    del self._users[path]
                    self._turns.pop(path, None)

    @asynccontextmanager
    async def turn(self, path: Path) -> AsyncIterator[None]:
        """`using` it, one after the other."""
        with self.using(path):
            async with self._turns.setdefault(path, asyncio.Lock()):
                yield

    def in_use(self, path: Path) -> bool:
        return path in self._users

    def remove(self, path: Path) -> None:
        """A file, or a directory with all that is in it. Idempotent. ConflictError while it is used. Blocks."""
        trash = path.with_name(f"{TRASH}{path.name}-{os.urandom(4).hex()}")
        with self._lock:
            if path in self._users:
                raise ConflictError(f"{path.name} is in use", hint="wait for the build that uses it, or cancel it")
            try:
                os.rename(path, trash)
            except FileNotFoundError:
                return
            except OSError as error:
                raise storage_error(error, f"can't remove {path}") from error
        _delete(trash)


def drop_leftovers(parent: Path) -> None:
    """At start: delete what an earlier process was removing from a directory. Blocks."""
    for path in parent.glob(f"{TRASH}*"):
        _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(str(path))
    else:
        path.unlink(missing_ok=True)
