"""Files this command writes: whole or not at all. A file appears under its name when the build succeeded; before
that, and for ever after a failure, what was there stays. Pipes and devices are written to directly."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from boatyard.errors import BoatyardError, DeniedError, InvalidError, StorageError


@contextmanager
def replacing(path: str) -> Iterator[int]:
    """A descriptor to write to. Its file takes the place of `path` when the block ends without an error. Missing
    parents are made."""
    target = os.path.realpath(path)
    if _is_special(target):
        descriptor = _open(target, os.O_WRONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    directory, name = os.path.split(target)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise _failure(directory, error) from error
    temporary = os.path.join(directory, f".{name[:200]}.{os.urandom(6).hex()}.partial")
    descriptor, named = _temporary(directory, temporary, target)
    try:
        yield descriptor
        if not named:
            _name(descriptor, temporary, target)
            named = True
        _finish(descriptor, temporary, target)
    except BaseException:
        if named:
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def _temporary(directory: str, temporary: str, target: str) -> tuple[int, bool]:
    """A new file, and whether it has a name yet. Without one where the file system can: a build's context may be the
    directory that its output goes to, and must not have the output in it."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), False
    except OSError:  # not every file system can; what else is wrong shows now
        return _open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, shown=target), True


def _name(descriptor: int, temporary: str, target: str) -> None:
    try:
        # Only with a directory's descriptor (which absolute paths don't need) does Python follow the link in /proc.
        os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=descriptor, follow_symlinks=True)
    except OSError as error:
        raise _failure(target, error) from error


def write(path: str, data: bytes) -> None:
    with replacing(path) as descriptor:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError as error:
            raise _failure(path, error) from error


def _finish(descriptor: int, temporary: str, target: str) -> None:
    try:
        try:
            os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
        except FileNotFoundError:
            pass
        os.rename(temporary, target)
    except OSError as error:
        raise _failure(target, error) from error


def _is_special(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        raise InvalidError(f"can't write {path}: it is a directory", hint="name a file in it")
    return not stat.S_ISREG(mode)


def _open(path: str, flags: int, *, shown: str = "") -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _failure(shown or path, error) from error


def _failure(path: str, error: OSError) -> BoatyardError:
    if isinstance(error, PermissionError):
        return DeniedError(f"can't write {path}: permission denied")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageError(
        f"can't write {path}: {error.strerror}",
        hint="free disk space there, or write it somewhere else" if full else None,
    )
