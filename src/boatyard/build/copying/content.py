"""The bytes of one file, from descriptor to descriptor.

In order of preference: a reflink, then the kernel's own copying of what is not a hole, then reading and writing.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

from boatyard.build.tree.node import DIGEST

SMALL = 256 << 10
"""Files up to here are read in one go."""
CHUNK = 1 << 20
_PIECE = 64 << 20
_FICLONE = 0x40049409
_CANT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM, errno.EBADF)


def copy_small(source: int, target: int, size: int, *, digest: bool) -> bytes:
    """Copy up to the end; `size` is what it ought to be. The digest, b"" if it wasn't asked for."""
    data = os.read(source, size + 1)
    _write(target, data)
    if len(data) == size:  # one byte more was asked for: this is the end
        return DIGEST(data).digest() if digest else b""
    hasher = DIGEST(data)
    while data := os.read(source, CHUNK):
        _write(target, data)
        hasher.update(data)
    return hasher.digest()


def copy_hashing(source: int, target: int, check: Callable[[], None]) -> bytes:
    """Copy up to the end, and the digest. `check` is called between pieces, and may raise."""
    hasher = DIGEST()
    while data := os.read(source, CHUNK):
        check()
        _write(target, data)
        hasher.update(data)
    return hasher.digest()


def copy_large(source: int, target: int, size: int, check: Callable[[], None]) -> None:
    """Copy `size` bytes; holes stay holes. `check` is called between pieces, and may raise."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _CANT:
            raise
    else:
        return
    os.ftruncate(target, size)
    offset = 0
    while offset < size:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
            offset = os.lseek(source, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            if error.errno != errno.EINVAL:
                raise
            start, offset = offset, size
        _copy_range(source, target, start, min(offset, size), check)


def _copy_range(source: int, target: int, start: int, end: int, check: Callable[[], None]) -> None:
    try:
        while start < end:
            check()
            copied = os.copy_file_range(source, target, min(end - start, _PIECE), start, start)
            if not copied:
                return  # it was cut short meanwhile; whoever asked compares the status
            start += copied
    except OSError as error:
        if error.errno not in _CANT:
            raise
        while start < end:
            check()
            data = os.pread(source, min(end - start, CHUNK), start)
            if not data:
                return
            view = memoryview(data)
            while view:
                written = os.pwrite(target, view, start)
                start += written
                view = view[written:]


def _write(target: int, data: bytes) -> None:
    written = os.write(target, data)
    while written < len(data):
        written += os.write(target, data[written:])
