"""A client's directory as a tree, read in place.

A scan looks at every name that the filter leaves in, once, and remembers; bytes are read when they are asked for, and
not even then if the index knows their digest. The directory belongs to somebody else and may change meanwhile: that is
noticed (`ContextChangedError`), and another scan sees the new state.

What such a directory says of owners is true on the client only: in the tree everything belongs to root, as in Docker.

Specification: tonistiigi/fsutil, `filter.go`, `followlinks.go`.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

import msgspec

from boatyard.build.tree.index import LocalNode, StatIndex, is_racy
from boatyard.build.tree.node import NO_XATTRS, Node, join
from boatyard.build.tree.reading import digest_of, in_parallel
from boatyard.build.tree.report import ContextReport, report
from boatyard.errors import ConflictError, DeniedError
from boatyard.paths.beneath import open_directory
from boatyard.paths.filter import Filter, Plan
from boatyard.paths.xattrs import portable_xattrs

_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""Gone, or a link or a socket now."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ContextChangedError(ConflictError):
    """A file was changed after it was looked at. `path` says which."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"/{path} in the build context changed while the build was reading it",
            hint="build again when nothing writes to it, or leave it out with .dockerignore",
        )
        self.path = path


@dataclass(slots=True)
class Listing:
    """What one scan found. Doesn't change afterwards."""

    root: LocalNode
    children: dict[str, Sequence[LocalNode]] = field(default_factory=dict)
    names: dict[str, Mapping[str, LocalNode]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    sockets: list[str] = field(default_factory=list)
    count: int = 0


class ClientTree:
    """Implements `node.Tree`. Owns its own copy of the directory's descriptor; closed with `close`, or when nobody
    knows it any more. `given`: nobody changes the directory any more, and its files may be taken."""

    def __init__(self, descriptor: int, filter: Filter, index: StatIndex, *, given: bool = False) -> None:
        self.given = given
        self._taken: set[tuple[int, int]] = set()
        self._descriptor = os.dup(descriptor)
        self._open = True
        self._filter = filter
        self._index = index
        with index.lock:
            self.listing = scan(self._descriptor, filter, index, given=given)
        self._scanned = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the scan."""
        return time.monotonic() - self._scanned

    def report(self) -> ContextReport:
        return report(self._descriptor, self.listing.children, self._filter)

    def rescanned(self) -> ClientTree:
        """The same directory as it is now."""
        return ClientTree(self._descriptor, self._filter, self._index, given=self.given)

    def take(self, node: Node) -> bool:
        """Whether a file may become one of a layer, by a hard link: once. Two links would be one file where there are
        to be two."""
        inode = (node.device, node.inode)
        with _finishing:
            if inode in self._taken:
                return False
            self._taken.add(inode)
        return True

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def __del__(self) -> None:
        self.close()

    @property
    def root(self) -> LocalNode:
        return self.listing.root

    def child(self, directory: Node, name: str) -> LocalNode | None:
        self._check_readable(directory)
        return self.listing.names[directory.path].get(name)

    def children(self, directory: Node) -> Sequence[LocalNode]:
        self._check_readable(directory)
        return self.listing.children[directory.path]

    def _check_readable(self, directory: Node) -> None:
        if self.listing.unreadable and directory.path in self.listing.unreadable:
            raise _unreadable(directory.path, self.listing.unreadable[directory.path])

    def learn(self, nodes: Sequence[Node]) -> None:
        """ContextChangedError when a file isn't what it was at the scan."""
        new = [node for node in nodes if isinstance(node, LocalNode) and not node.learned]
        if new:
            in_parallel(self._learn, new)
            self._index.was_read(sum(node.size + 4096 for node in new))
            self._index.save()

    def _learn(self, nodes: Sequence[LocalNode]) -> None:
        with self.reader() as reader:
            for node in nodes:
                if node.is_regular:
                    descriptor = reader.open(node)
                    try:
                        reader.confirm(node, descriptor, digest_of(descriptor, node.size))
                    finally:
                        os.close(descriptor)
                elif node.is_directory:
                    now = time.time_ns()
                    _finish(node, b"", portable_xattrs(reader.directory(node.path)), is_racy(node, now))
                else:
                    _finish(node, b"", NO_XATTRS)

    def reader(self) -> ClientReader:
        return ClientReader(self._descriptor, given=self.given)

    def missing(self, path: str) -> str | None:
        return self._filter.why_missing(self._descriptor, path)


_finishing = threading.Lock()


def _finish(node: LocalNode, digest: bytes, xattrs: Mapping[str, bytes], racy: bool = False) -> None:
    """The first to learn something of a node has the say: others may have used it already."""
    with _finishing:
        if not node.learned:
            node.digest, node.xattrs, node.racy, node.learned = digest, xattrs, node.racy or racy, True


class ClientReader:
    """Implements `node.Reader`. Keeps the directory open that was used last."""

    def __init__(self, root: int, *, given: bool = False) -> None:
        self._root = root
        self._given = given
        self._path: str | None = None
        self._descriptor = -1
        self._opened = 0
        self._flags = _READ | os.O_NOATIME

    def directory(self, path: str) -> int:
        """ContextChangedError when it isn't there any more."""
        if path != self._path:
            self._close()
            try:
                self._descriptor = open_directory(self._root, path)
            except OSError as error:
                if error.errno in _CHANGED:
                    raise ContextChangedError(path) from error
                raise _unreadable(path, error.strerror) from error
            self._path = path
        return self._descriptor

    def open(self, node: Node) -> int:
        above, _, name = node.path.rpartition("/")
        directory = self.directory(above)
        self._opened = time.time_ns()
        try:
            return os.open(name, self._flags, dir_fd=directory)
        except OSError as error:
            if error.errno in _CHANGED:
                raise ContextChangedError(node.path) from error
            if error.errno == errno.EPERM and self._flags & os.O_NOATIME:  # somebody else's file
                self._flags = _READ
                return self.open(node)
            raise _unreadable(node.path, error.strerror) from error

    def wants_digest(self, node: Node) -> bool:
        assert isinstance(node, LocalNode)
        return node.racy or not node.learned

    def confirm(self, node: Node, descriptor: int, digest: bytes) -> Mapping[str, bytes]:
        """What was scanned, and is still there after it was read, was there all the time."""
        assert isinstance(node, LocalNode)
        found = NO_XATTRS if node.learned else portable_xattrs(descriptor)
        # Taking a file changes its status, and nothing else does.
        if not self._given and not is_same(node, os.fstat(descriptor)):
            raise ContextChangedError(node.path)
        if digest:
            _finish(node, digest, found, not self._given and is_racy(node, self._opened))
            if digest != node.digest:
                raise ContextChangedError(node.path)
        return node.xattrs if node.learned else found

    def __enter__(self) -> ClientReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)
            self._path = None


def is_same(node: LocalNode, status: os.stat_result) -> bool:
    return (
        node.size == status.st_size
        and node.mtime_ns == status.st_mtime_ns
        and node.changed_ns == status.st_ctime_ns
        and node.inode == status.st_ino
        and node.mode == status.st_mode
        and node.device == status.st_dev
    )


def is_linked(node: LocalNode, status: os.stat_result) -> bool:
    """Of a file that nobody changes: nothing has happened to it but that it got or lost names elsewhere, which changes
    ctime. Where ctime alone has changed, it may be another file with the number of one that is gone."""
    return (
        node.nlink != status.st_nlink
        and node.size == status.st_size
        and node.mtime_ns == status.st_mtime_ns
        and node.inode == status.st_ino
        and node.mode == status.st_mode
        and node.device == status.st_dev
    )


def _unreadable(path: str, why: str | None) -> DeniedError:
    return DeniedError(
        f"can't read /{path} in the build context: {why}",
        hint="make it readable for the user that the daemon reads as, or leave it out with .dockerignore",
    )


# -- the scan --------------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """A directory to be scanned. `all`: what includes everything below it is settled. `excludes`: an exclude pattern
    might name something below it."""

    node: LocalNode
    all: bool
    excludes: bool


def scan(descriptor: int, filter: Filter, index: StatIndex, *, given: bool = False) -> Listing:
    """Look at everything below the descriptor that the filter leaves in. The index's lock is held. `given`: nobody
    changes the files."""
    plan = filter.plan(descriptor)
    root = _local("", os.fstat(descriptor), "")
    root.mode = stat.S_IFDIR | 0o755  # Docker's contexts have no root directory of their own
    listing = Listing(root)
    implied: list[LocalNode] = []
    stack = [_Place(root, plan.is_whole, plan.excluding is not None)]
    while stack:
        stack.extend(reversed(_scan_directory(descriptor, stack.pop(), plan, index, listing, implied, given)))
    for node in reversed(implied):
        if not listing.children[node.path]:
            _forget(listing, node)
    if plan.is_whole and plan.excluding is None:
        index.drop_others(listing.names)
    listing.count = sum(map(len, listing.children.values()))
    return listing


def _scan_directory(
    root: int,
    place: _Place,
    plan: Plan,
    index: StatIndex,
    listing: Listing,
    implied: list[LocalNode],
    given: bool,
) -> list[_Place]:
    """Put what a directory holds into the listing and the index. The directories in it, sorted."""
    path = place.node.path
    found: dict[str, LocalNode] = {}
    below: list[_Place] = []
    listing.names[path] = found
    whole = place.all and not place.excludes
    try:
        directory = open_directory(root, path)
    except OSError as error:
        listing.children[path] = ()
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            listing.unreadable[path] = error.strerror or str(error)
        return below
    try:
        known = index.directories.get(path) or {}
        now = time.time_ns()
        for name, status in _statuses(directory, path, place, plan):
            node = known.get(name)
            if given and node is not None and is_linked(node, status):
                node = msgspec.structs.replace(node, nlink=status.st_nlink, changed_ns=status.st_ctime_ns)
            elif node is None or not is_same(node, status) or (node.racy and not given):
                if stat.S_ISSOCK(status.st_mode):
                    listing.sockets.append(join(path, name))
                    continue
                try:
                    link = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(status.st_mode) else ""
                except OSError:
                    continue  # gone, or something else now
                node = _local(join(path, name), status, link)
                node.racy = bool(link) and is_racy(node, now)
            found[name] = node
            if node.is_directory:
                below.append(_below(node, whole, place, plan, implied))
    finally:
        os.close(directory)
    below.sort(key=_path_of)
    listing.children[path] = [found[name] for name in sorted(found)]
    index.keep(path, found, whole=whole)
    return below


def _statuses(directory: int, path: str, place: _Place, plan: Plan) -> Iterator[tuple[str, os.stat_result]]:
    """The names in a directory that may be left in, or may hold something that is, with their status."""
    if place.all and not place.excludes:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    yield entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
    elif not place.all and (wanted := plan.wanted(path)) is not None:
        for name in wanted:
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if plan.leaves_in(join(path, name), stat.S_ISDIR(status.st_mode), place.all):
                yield name, status
    else:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    if plan.leaves_in(join(path, entry.name), entry.is_dir(follow_symlinks=False), place.all):
                        yield entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue


def _below(node: LocalNode, whole: bool, place: _Place, plan: Plan, implied: list[LocalNode]) -> _Place:
    if whole:
        return _Place(node, True, False)
    if not plan.names(node.path, place.all):
        implied.append(node)
    return _Place(node, place.all or plan.includes_all_of(node.path), plan.may_exclude_below(node.path))


def _path_of(place: _Place) -> str:
    return place.node.path


def _forget(listing: Listing, node: LocalNode) -> None:
    """A directory that was kept for what might be below it, and nothing was."""
    above, _, name = node.path.rpartition("/")
    listing.names[above] = {each: known for each, known in listing.names[above].items() if each != name}
    listing.children[above] = [each for each in listing.children[above] if each is not node]
    del listing.names[node.path], listing.children[node.path]


def _local(path: str, status: os.stat_result, link: str) -> LocalNode:
    return LocalNode(
        path,
        status.st_mode,
        0,
        0,
        status.st_size,
        status.st_mtime_ns,
        status.st_nlink,
        status.st_dev,
        status.st_ino,
        status.st_rdev,
        link,
        changed_ns=status.st_ctime_ns,
    )
