"""Paths inside a root file system, seen from outside: resolved without leaving it, and made for mounts that need a
place.

Only for a root that nothing else writes to meanwhile (a container that is not running yet, or no longer): it walks,
it does not hold on.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from boatyard.errors import InvalidError

log = logging.getLogger(__name__)

MAX_LINKS = 40
"""As the kernel (path_resolution(7))."""

MAX_FILE_BYTES = 10 << 20


def resolve(root: str, path: str) -> str:
    """The host's path of `path` in `root`. Symbolic links are followed as a process inside would; `..` stops at the
    root.

    Components that don't exist are kept as they are. The result has no link in it and begins with `root`.
    Raises InvalidError for a loop of links.
    """
    pending = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    base = root.rstrip("/")
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if done:
                done.pop()
            continue
        candidate = "/".join((base, *done, part))
        try:
            target = os.readlink(candidate)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise InvalidError(f"{path}: the path is too long") from error
            # Not a link, not there, or beneath something that is not a directory: taken as it is.
            done.append(part)
            continue
        except ValueError as error:
            raise InvalidError(f"{path!r} holds a NUL byte") from error
        links += 1
        if links > MAX_LINKS:
            raise InvalidError(f"{path}: too many levels of symbolic links")
        if target.startswith("/"):
            done.clear()
        pending.extend(target.split("/")[::-1])
    return "/".join((base, *done)) or "/"


def read_file(root: str, path: str, limit: int = MAX_FILE_BYTES) -> bytes | None:
    """The regular file's bytes, or None when there is no such file. Raises InvalidError when it is larger than
    `limit`.
    """
    try:
        descriptor = os.open(resolve(root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > limit:
            raise InvalidError(f"{path} in the image is larger than {limit} bytes")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def make_directories(root: str, path: str, uid: int, gid: int, mode: int = 0o755) -> None:
    """Make `path` and its missing parents, owned as told; for a working directory, which stays."""
    target = resolve(root, path)
    missing = []
    while target != root and not os.path.lexists(target):
        missing.append(target)
        target = os.path.dirname(target)
    if not os.path.isdir(target):
        raise InvalidError(f"{path}: {target.removeprefix(root) or '/'} is not a directory")
    for directory in reversed(missing):
        os.mkdir(directory, mode)
        os.chown(directory, uid, gid)


@dataclass(slots=True)
class _Stub:
    path: str
    directory: bool


@dataclass(slots=True)
class _Parent:
    """A directory of the image in which a stub was made: its times before, and its modification time right after."""

    path: str
    before: tuple[int, int]
    after: int


class MountPoints:
    """The empty files and directories made in one root so that something can be mounted there.

    `remove` takes away those that are still empty and gives their parents back the times they had, unless the
    container changed them, so that a step leaves no trace of its mounts in the layer.
    """

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")
        self._stubs: list[_Stub] = []
        self._parents: dict[str, _Parent] = {}

    def directory(self, target: str, mode: int = 0o755) -> str:
        """Make sure that `target` is a directory; its path inside, free of links. `mode` is for one that is made."""
        resolved = resolve(self._root, target)
        self._make(resolved, target, directory=True, mode=mode)
        return resolved[len(self._root) :] or "/"

    def file(self, target: str) -> str:
        """Make sure that `target` is something other than a directory; its path inside, free of links."""
        resolved = resolve(self._root, target)
        self._make(resolved, target, directory=False)
        return resolved[len(self._root) :] or "/"

    def _make(self, resolved: str, target: str, *, directory: bool, mode: int = 0o755) -> None:
        try:
            status = os.lstat(resolved)
        except FileNotFoundError:
            pass
        except NotADirectoryError as error:
            raise InvalidError(f"can't mount at {target}: a part of the path is not a directory") from error
        else:
            if stat.S_ISDIR(status.st_mode) != directory:
                kinds = ("a file", "a directory")
                raise InvalidError(
                    f"can't mount {kinds[directory]} at {target}: it is {kinds[not directory]} in the image"
                )
            return
        parent = os.path.dirname(resolved)
        if parent != self._root:
            self._make(parent, target, directory=True)
        made_by_us = any(stub.path == parent for stub in self._stubs)
        before = None if made_by_us or parent in self._parents else os.stat(parent or "/")
        if directory:
            os.mkdir(resolved)
            os.chmod(resolved, mode)
        else:
            os.close(os.open(resolved, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        self._stubs.append(_Stub(resolved, directory))
        if before is not None:
            self._parents[parent] = _Parent(parent, (before.st_atime_ns, before.st_mtime_ns), 0)
        if parent in self._parents:
            self._parents[parent].after = os.stat(parent).st_mtime_ns

    def remove(self) -> None:
        touched = {parent.path: _unchanged(parent) for parent in self._parents.values()}
        for stub in reversed(self._stubs):
            try:
                if stub.directory:
                    os.rmdir(stub.path)
                else:
                    status = os.lstat(stub.path)
                    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
                        os.unlink(stub.path)
            except OSError as error:
                # The container filled or replaced it: then it is the image's own.
                log.debug("mount point %s stays: %s", stub.path, error)
        for parent in self._parents.values():
            if touched[parent.path]:
                try:
                    os.utime(parent.path, ns=parent.before, follow_symlinks=False)
                except OSError as error:
                    log.debug("times of %s can't be restored: %s", parent.path, error)
        self._stubs.clear()
        self._parents.clear()


def _unchanged(parent: _Parent) -> bool:
    try:
        return os.lstat(parent.path).st_mtime_ns == parent.after
    except OSError:
        return False


@contextmanager
def mount_points(root: str) -> Iterator[MountPoints]:
    points = MountPoints(root)
    try:
        yield points
    finally:
        points.remove()
