"""Files that a source's log was: `web.log.0` is the newest of them, `web.log.9` the oldest, perhaps compressed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Container, Sequence
from pathlib import Path

COMPRESSED = ".gz"
_ENDINGS = ("", COMPRESSED)
_ROTATED = re.compile(r"(.*)\.log\.\d+(?:\.gz)?")
_PIECE = 1 << 20


def shift(path: Path, keep: int) -> None:
    """Make room for a new `path`: it becomes number 0, number 0 becomes 1, and so on up to the first free number; the
    last of `keep` goes."""
    if keep < 1:
        path.unlink(missing_ok=True)
        return
    free = 0
    while free < keep - 1 and any(os.path.lexists(f"{path}.{free}{ending}") for ending in _ENDINGS):
        free += 1
    for ending in _ENDINGS:
        _unlink(f"{path}.{free}{ending}")
    for number in range(free, 0, -1):
        for ending in _ENDINGS:
            _rename(f"{path}.{number - 1}{ending}", f"{path}.{number}{ending}")
    _rename(str(path), f"{path}.0")


def compress(path: Path) -> None:
    """`path` becomes `path.gz`, at once and with its times. When that fails, it stays as it was."""
    from isal import isal_zlib  # 5 times as fast as zlib

    draft = Path(f"{path}{COMPRESSED}.draft")
    try:
        with open(path, "rb") as source, open(draft, "wb") as target:
            status = os.fstat(source.fileno())
            deflating = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
            while piece := source.read(_PIECE):
                target.write(deflating.compress(piece))
            target.write(deflating.flush())
            os.fchmod(target.fileno(), stat.S_IMODE(status.st_mode))
        os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(draft, f"{path}{COMPRESSED}")
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    path.unlink()


def rotated(directory: Path, stems: Container[str]) -> list[tuple[int, int, Path]]:
    """All rotated files of these sources as (modified in nanoseconds, bytes on disk, path), the oldest first. What
    lies beside them is somebody else's."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            match = _ROTATED.fullmatch(entry.name)
            if match is not None and match[1] in stems and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime_ns, status.st_blocks * 512, Path(entry.path)))
    return sorted(found)


def remove_oldest(files: Sequence[tuple[int, int, Path]], surplus: int) -> int:
    """Remove files from the beginning until `surplus` bytes are free; how many were freed."""
    freed = 0
    for _, size, path in files:
        if freed >= surplus:
            break
        path.unlink(missing_ok=True)
        freed += size
    return freed


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
