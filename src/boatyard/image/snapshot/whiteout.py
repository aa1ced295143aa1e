"""How an overlay writes down what isn't there.

A removed name is a character device 0/0. A directory that hides everything below it is *opaque*: an xattr says so. A
directory that only one layer of a chain has is read by the kernel as it is, whiteouts and all, unless it carries the
*origin* xattr, which the kernel takes as a sign that it must look for whiteouts; so whoever makes a whiteout marks its
directory.

Specification: the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Flavour:
    """Which namespace the marks live in. Every mark starts with `prefix`."""

    prefix: str
    opaque: str
    origin: str


TRUSTED = Flavour("trusted.overlay.", "trusted.overlay.opaque", "trusted.overlay.origin")
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
"""What starts so means something to the kernel, here or in a user namespace, and is no part of a layer."""
USER = Flavour("user.overlay.", "user.overlay.opaque", "user.overlay.origin")


@cache
def native_flavour() -> Flavour:
    """`trusted.*` needs CAP_SYS_ADMIN in the first user namespace. Asked once: a process that changes its namespace
    does so first."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            first = file.read().split() == ["0", "0", "4294967295"]
    except OSError:
        first = True
    return TRUSTED if first and os.geteuid() == 0 else USER


def is_whiteout(status: os.stat_result) -> bool:
    return status.st_rdev == 0 and stat.S_ISCHR(status.st_mode)


def make_whiteout(name: str | bytes, *, dir_fd: int, flavour: Flavour = TRUSTED) -> None:
    """In a directory of an active snapshot, in which nothing has this name. `dir_fd` may be opened with O_PATH."""
    os.mknod(name, stat.S_IFCHR, 0, dir_fd=dir_fd)
    mark_whiteouts(f"/proc/self/fd/{dir_fd}", flavour)


def mark_whiteouts(directory: str | bytes | int, flavour: Flavour = TRUSTED) -> None:
    """Tell the kernel that a directory of a layer holds whiteouts. Keeps an origin that is there."""
    try:
        os.setxattr(directory, flavour.origin, b"", os.XATTR_CREATE)
    except FileExistsError:
        pass


def make_opaque(directory: str | bytes | int, flavour: Flavour = TRUSTED) -> None:
    os.setxattr(directory, flavour.opaque, b"y")


def is_opaque(directory: str | bytes | int, flavour: Flavour = TRUSTED) -> bool:
    try:
        return os.getxattr(directory, flavour.opaque) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
