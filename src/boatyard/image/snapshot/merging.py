"""Layers merged without the kernel: what an overlay of directories in overlay form would show.

Used where no overlay can be mounted, to squash many layers into one directory, and to look up names in lower layers.
Files are hard-linked where that is safe.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from boatyard.image.snapshot.whiteout import TRUSTED, Flavour, is_opaque, is_whiteout, mark_whiteouts


class Name(NamedTuple):
    """What a name in a merged directory stands for. `layers`: the paths it comes from, the highest first; more than one
    only for a directory. `covers`: it hides what layers below these may have under the name (an opaque directory, or
    one that replaced something else)."""

    name: bytes
    status: os.stat_result
    layers: tuple[bytes, ...]
    covers: bool


def merged_names(layers: Sequence[bytes], flavour: Flavour = TRUSTED, *, whiteouts: bool = False) -> list[Name]:
    """The names in a directory that `layers` (paths, the highest first) share, sorted. Whiteouts are left out unless
    asked for."""
    found: dict[bytes, tuple[os.stat_result, list[bytes]]] = {}
    open_directories: set[bytes] = set()
    covering: set[bytes] = set()
    for layer in layers:
        with os.scandir(layer) as entries:
            for entry in entries:
                name = entry.name
                known = found.get(name)
                if known is not None and name not in open_directories:
                    continue
                status = entry.stat(follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    if known is None:
                        found[name] = (status, [entry.path])
                    else:
                        open_directories.discard(name)
                        covering.add(name)
                    continue
                if known is None:
                    found[name] = (status, [entry.path])
                    open_directories.add(name)
                else:
                    known[1].append(entry.path)
                if is_opaque(entry.path, flavour):
                    open_directories.discard(name)
                    covering.add(name)
    return [
        Name(name, status, tuple(paths), name in covering)
        for name, (status, paths) in sorted(found.items())
        if whiteouts or not is_whiteout(status)
    ]


def lookup(layers: Sequence[bytes], name: bytes, flavour: Flavour = TRUSTED) -> Name | None:
    """One name of `merged_names`, without reading the directories."""
    first: os.stat_result | None = None
    paths: list[bytes] = []
    covers = False
    for layer in layers:
        path = layer + b"/" + name
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            if first is None:
                return None if is_whiteout(status) else Name(name, status, (path,), False)
            covers = True
            break
        first = first or status
        paths.append(path)
        if is_opaque(path, flavour):
            covers = True
            break
    return None if first is None else Name(name, first, tuple(paths), covers)


def link_merged(
    layers: Sequence[bytes], target: bytes, flavour: Flavour = TRUSTED, *, squash: bool, copy: bool = False
) -> None:
    """Fill the empty directory `target` with the merged tree of `layers` (directories, the highest first).

    `squash`: keep whiteouts and opaque marks, so that `target` can stand for these layers in a longer chain. `copy`:
    copy regular files, so that the tree may be written to; else they are hard links. Hard links between files of one
    layer stay hard links.
    """
    copies: dict[tuple[int, int], bytes] = {}
    copy_attributes(layers[0], os.lstat(layers[0]), target)
    pending: list[tuple[tuple[bytes, ...], bytes, os.stat_result]] = [(tuple(layers), target, os.lstat(layers[0]))]
    made: list[tuple[bytes, os.stat_result]] = []
    while pending:
        sources, destination, status = pending.pop()
        marked = False
        for item in merged_names(sources, flavour, whiteouts=squash):
            path = destination + b"/" + item.name
            if stat.S_ISDIR(item.status.st_mode):
                os.mkdir(path)
                copy_attributes(item.layers[0], item.status, path, flavour)
                if squash and item.covers:
                    os.setxattr(path, flavour.opaque, b"y")
                pending.append((item.layers, path, item.status))
                continue
            if squash and not marked and is_whiteout(item.status):
                mark_whiteouts(destination, flavour)
                marked = True
            if copy:
                key = (item.status.st_dev, item.status.st_ino)
                if item.status.st_nlink > 1 and key in copies:
                    os.link(copies[key], path, follow_symlinks=False)
                    continue
                copies[key] = path
                copy_file(item.layers[0], item.status, path)
            else:
                link_file(item.layers[0], item.status, path)
        made.append((destination, status))
    for path, status in reversed(made):
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link_file(source: bytes, status: os.stat_result, target: bytes) -> None:
    """Hard-link anything but a directory, or copy it where that can't be done (another file system, too many links)."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM):
            raise
        copy_file(source, status, target)


def copy_file(source: bytes, status: os.stat_result, target: bytes) -> None:
    """Copy anything but a directory, with owner, mode, xattrs and time; a reflink where the file system can, and holes
    stay holes."""
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        with _opened(source, os.O_RDONLY) as reader, _opened(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as writer:
            _copy_data(reader, writer, status)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(source), target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    copy_attributes(source, status, target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def copy_attributes(source: bytes, status: os.stat_result, target: bytes, flavour: Flavour = TRUSTED) -> None:
    """Owner, mode and xattrs, except the overlay's own marks."""
    # Always: what was made in a setgid directory took that one's group.
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in list_xattrs(source):
        if not name.startswith(flavour.prefix):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)


def list_xattrs(path: bytes | int) -> list[str]:
    """Names of the xattrs, of a symbolic link itself; none where the file system has none."""
    try:
        return os.listxattr(path) if isinstance(path, int) else os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise


@contextmanager
def _opened(path: bytes, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


_FICLONE = 0x40049409


def _copy_data(reader: int, writer: int, status: os.stat_result) -> None:
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV):
            raise
    else:
        return
    os.ftruncate(writer, status.st_size)
    offset = 0
    while True:
        try:
            offset = os.lseek(reader, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = os.lseek(reader, offset, os.SEEK_HOLE)
        os.lseek(writer, offset, os.SEEK_SET)
        while offset < end:
            copied = os.sendfile(writer, reader, offset, end - offset)
            if copied == 0:
                return
            offset += copied
