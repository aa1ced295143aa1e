"""One name in a list of files.

On the wire its mode is Go's `os.FileMode`; here it is that of stat(2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from boatyard._pb.fsutil_pb2 import Stat
from boatyard.errors import InvalidError

NO_XATTRS: Mapping[str, bytes] = {}

# Go, os.FileMode
_DIRECTORY, _LINK, _DEVICE, _PIPE, _SOCKET, _CHARACTER = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24, 1 << 21
_IRREGULAR = 1 << 19
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
_TYPE = _DIRECTORY | _LINK | _DEVICE | _PIPE | _SOCKET | _CHARACTER | _IRREGULAR
_TYPES = {
    0: stat.S_IFREG,
    _DIRECTORY: stat.S_IFDIR,
    _LINK: stat.S_IFLNK,
    _DEVICE: stat.S_IFBLK,
    _DEVICE | _CHARACTER: stat.S_IFCHR,
    _PIPE: stat.S_IFIFO,
    _SOCKET: stat.S_IFSOCK,
}
_GO_TYPES = {kind: go for go, kind in _TYPES.items()}
_SPECIAL = ((_SETUID, stat.S_ISUID), (_SETGID, stat.S_ISGID), (_STICKY, stat.S_ISVTX))


class Entry(msgspec.Struct, gc=False):
    """`link`: a symbolic link's target, or the path that stood earlier in the list and is the same file. Paths are as
    bytes on disk, decoded with surrogate escapes. Directories have no size."""

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: str = ""
    rdev: int = 0
    xattrs: Mapping[str, bytes] = NO_XATTRS

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_hard_link(self) -> bool:
        return bool(self.link) and not stat.S_ISLNK(self.mode)

    def renamed(self, path: str, link: str) -> Entry:
        return Entry(path, self.mode, self.uid, self.gid, self.size, self.mtime_ns, link, self.rdev, self.xattrs)

    def is_same(self, other: Entry) -> bool:
        """As fsutil's "metadata" differ has it: contents are taken to be the same, too."""
        return (
            self.mode == other.mode
            and self.uid == other.uid
            and self.gid == other.gid
            and self.rdev == other.rdev
            and self.link == other.link
            and (stat.S_ISDIR(self.mode) or (self.size == other.size and self.mtime_ns == other.mtime_ns))
        )


def of_stat(message: Stat) -> Entry:
    """InvalidError for a mode or number that no file can have."""
    major, minor = message.devmajor, message.devminor
    if message.size < 0:
        raise InvalidError(f"{message.path[:200]!r} is said to have {message.size} bytes")
    return Entry(
        message.path,
        mode_of_go(message.mode),
        message.uid,
        message.gid,
        message.size,
        message.modTime,
        message.linkname,
        _device(major, minor) if major or minor else 0,
        dict(message.xattrs) if message.xattrs else NO_XATTRS,
    )


def to_stat(entry: Entry) -> Stat:
    message = Stat(
        path=entry.path,
        mode=go_of_mode(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        modTime=entry.mtime_ns,
        linkname=entry.link,
    )
    if entry.rdev:
        message.devmajor = os.major(entry.rdev)
        message.devminor = os.minor(entry.rdev)
    if entry.xattrs:
        message.xattrs.update(entry.xattrs)
    return message


@lru_cache(maxsize=1024)
def mode_of_go(go: int) -> int:
    kind = _TYPES.get(go & _TYPE)
    if kind is None:
        raise InvalidError(f"no file has the mode {go:#o}")
    if kind == stat.S_IFLNK:
        return kind | 0o777  # permissions of links mean nothing, and differ between systems
    mode = kind | go & 0o777
    for theirs, ours in _SPECIAL:
        if go & theirs:
            mode |= ours
    return mode


@lru_cache(maxsize=1024)
def go_of_mode(mode: int) -> int:
    go = _GO_TYPES[stat.S_IFMT(mode)] | mode & 0o777
    for theirs, ours in _SPECIAL:
        if mode & ours:
            go |= theirs
    return go


def _device(major: int, minor: int) -> int:
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise InvalidError(f"no device has the numbers {major}, {minor}")
    return os.makedev(major, minor)
