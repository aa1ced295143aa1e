"""The Linux calls that Python 3.11's `os` lacks: mounts, namespaces.

Thin: flags in, OSError out. What a sequence of them means is said where it is used.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). An empty `kind` or `data` is passed as NULL."""
    _check(
        _libc().mount(
            os.fsencode(source) or None,
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) or None,
        ),
        target,
    )


def bind_readonly(source: str, target: str) -> None:
    """Show the file or directory `source` at `target`, not writable through it. Flags are set by a second call: the
    first ignores them.
    """
    mount(source, target, flags=MS_BIND)
    mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc().umount2(os.fsencode(target), flags), target)


def unshare(flags: int) -> None:
    """Of the calling *thread*; for a mount namespace this implies CLONE_FS."""
    _check(_libc().unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """Of the calling *thread*. For a mount namespace the thread must have unshared CLONE_FS; for a PID namespace only
    its children are moved.
    """
    _check(_libc().setns(descriptor, kind))


def mount_points(beneath: str = "/") -> list[str]:
    """Mount points at or under a directory in the calling process' namespace, in the order they were mounted."""
    prefix = beneath.rstrip("/")
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        target = unescape(line.split(" ")[4])
        if target == beneath or target.startswith(prefix + "/"):
            found.append(target)
    return found


def unescape(field: str) -> str:
    """A path of /proc/*/mountinfo, in which space, tab, newline and backslash are octal escapes."""
    if "\\" not in field:
        return field
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
