"""Opening paths below a directory that somebody else may be changing, without ever leaving it.

Specification: openat2(2).
"""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_STRAIGHT = _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
_LONGEST = 4000
"""Bytes of a path the kernel takes at once, a little less."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_directory(root: int, path: str) -> int:
    """The directory at a path relative to the descriptor `root` ("" is the root itself). No link is followed: a path
    that has one raises OSError (ELOOP)."""
    if not path:
        return os.open(".", _DIRECTORY, dir_fd=root)
    name = os.fsencode(path)
    if len(name) <= _LONGEST:
        return _openat2(root, name)
    return _open_long(root, name)


def _open_long(root: int, name: bytes) -> int:
    descriptor = os.dup(root)
    try:
        while name:
            cut = len(name) if len(name) <= _LONGEST else name.rindex(b"/", 0, _LONGEST)
            deeper = _openat2(descriptor, name[:cut])
            os.close(descriptor)
            descriptor, name = deeper, name[cut + 1 :]
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def open_within(root: int, path: str, flags: int) -> int:
    """What is at a path relative to the descriptor `root`. Links are followed as long as they stay below it: one that
    doesn't raises OSError (EXDEV), as one that begins with a slash does."""
    return _openat2(root, os.fsencode(path), flags, _RESOLVE_NO_MAGICLINKS | _RESOLVE_BENEATH)


def _openat2(root: int, name: bytes, flags: int = _DIRECTORY, resolve: int = _STRAIGHT) -> int:
    how = _OpenHow(flags, 0, resolve)
    while True:
        descriptor = int(_libc.syscall(_SYS_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how)))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a filter that doesn't know it
            return _open_by_steps(root, name, flags)
        if number not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: something was renamed meanwhile
            raise OSError(number, os.strerror(number), os.fsdecode(name))


def _open_by_steps(root: int, name: bytes, flags: int) -> int:
    """No link is followed."""
    above, _, last = name.rpartition(b"/")
    descriptor = os.dup(root)
    try:
        for part in (*(above.split(b"/") if above else ()), last):
            step = flags if part is last else _DIRECTORY
            deeper = os.open(part, step | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
