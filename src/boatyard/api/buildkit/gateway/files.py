"""Files of results and containers, as the answers that frontends get."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from boatyard._pb import fsutil_pb2
from boatyard._pb import gateway_pb2 as pb
from boatyard.build.result import Result
from boatyard.build.tree.node import Node
from boatyard.errors import InvalidError, NotFoundError
from boatyard.paths import beneath
from boatyard.paths.patterns import PatternMatcher

LARGEST = 15 << 20
"""Bytes of one answer; messages are a little larger at most."""

# Go's os.FileMode.
_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


async def read_file(result: Result, request: pb.ReadFileRequest) -> bytes:
    offset, length = piece(request)
    size = (await result.stat(request.FilePath)).size
    check_size(request.FilePath, length if length >= 0 else size - offset)
    return await result.read_file(request.FilePath, offset, length)


async def read_dir(result: Result, request: pb.ReadDirRequest) -> list[fsutil_pb2.Stat]:
    entries = await result.entries(request.DirPath or "/")
    return [of_node(node) for node in entries if _wanted(request.IncludePattern, node.name)]


async def stat_file(result: Result, request: pb.StatFileRequest) -> fsutil_pb2.Stat:
    node = await result.stat(request.Path or "/")
    return of_node(node)


def piece(request: pb.ReadFileRequest) -> tuple[int, int]:
    """Offset and length, -1 for all."""
    if not request.HasField("Range"):
        return 0, -1
    if request.Range.Offset < 0 or request.Range.Length < 0:
        raise InvalidError("a part of a file can't begin or end before it")
    return request.Range.Offset, request.Range.Length


def check_size(path: str, size: int) -> None:
    if size > LARGEST:
        raise InvalidError(f"{path} has {size} bytes, more than an answer can hold", hint="read it in parts (Range)")


def _wanted(pattern: str, name: str) -> bool:
    return not pattern or PatternMatcher((pattern,)).matches(name)


def of_node(node: Node) -> fsutil_pb2.Stat:
    return fsutil_pb2.Stat(
        path=node.name,
        mode=go_mode(node.mode),
        uid=node.uid,
        gid=node.gid,
        size=0 if node.is_directory else node.size,
        modTime=node.mtime_ns,
        linkname=node.link,
        devmajor=os.major(node.rdev),
        devminor=os.minor(node.rdev),
    )


def go_mode(mode: int) -> int:
    bits = _KINDS.get(stat.S_IFMT(mode), 0) | stat.S_IMODE(mode) & 0o777
    for bit, theirs in _BITS:
        bits |= theirs if mode & bit else 0
    return bits


# Of a running container: the files may change, and links may lead anywhere. Everything blocks.


def read_mounted(root: Path, request: pb.ReadFileRequest) -> bytes:
    """InvalidError for a link that leads out of the mount."""
    offset, length = piece(request)
    with _opened(root, request.FilePath) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InvalidError(f"{request.FilePath} is not a regular file")
        check_size(request.FilePath, length if length >= 0 else status.st_size - offset)
        file.seek(offset)
        return file.read(length if length >= 0 else LARGEST)


def list_mounted(root: Path, request: pb.ReadDirRequest) -> list[fsutil_pb2.Stat]:
    descriptor = _open(root, request.DirPath, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            names = sorted(entry.name for entry in entries if _wanted(request.IncludePattern, entry.name))
        return [stat for name in names if (stat := _stat(descriptor, name)) is not None]
    finally:
        os.close(descriptor)


def stat_mounted(root: Path, request: pb.StatFileRequest) -> fsutil_pb2.Stat:
    """Of what a link leads to; of the link itself when that is outside of the mount: the client knows what else is
    mounted."""
    name = Path(request.Path).name or "/"
    try:
        descriptor = _open(root, request.Path, os.O_PATH)
    except InvalidError:
        descriptor = _open(root, request.Path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return _message(name, os.fstat(descriptor), _link(descriptor))
    finally:
        os.close(descriptor)


def _stat(directory: int, name: str) -> fsutil_pb2.Stat | None:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        link = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(status.st_mode) else ""
    except FileNotFoundError:
        return None  # gone meanwhile
    return _message(name, status, link)


def _link(descriptor: int) -> str:
    if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
        return ""
    return os.readlink("", dir_fd=descriptor)


def _message(name: str, status: os.stat_result, link: str) -> fsutil_pb2.Stat:
    return fsutil_pb2.Stat(
        path=name,
        mode=go_mode(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=0 if stat.S_ISDIR(status.st_mode) else status.st_size,
        modTime=status.st_mtime_ns,
        linkname=link,
        devmajor=os.major(status.st_rdev),
        devminor=os.minor(status.st_rdev),
    )


def _opened(root: Path, path: str) -> BinaryIO:
    return os.fdopen(_open(root, path, os.O_RDONLY | os.O_NONBLOCK), "rb")


def _open(root: Path, path: str, flags: int) -> int:
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return beneath.open_within(top, path.strip("/") or ".", flags | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file or directory") from error
    except OSError as error:
        raise InvalidError(f"{path} can't be opened: {error.strerror}") from error
    finally:
        os.close(top)
