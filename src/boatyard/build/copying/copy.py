"""Copy trees of files into a destination.

First everything is planned: which directories there will be, and what stands in the way. Then the files are made, by a
few threads, directory by directory: linked from an earlier copy of the same file, or from the layer they are in, or
copied.

Semantics of what exists already: tonistiigi/fsutil, `copy`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from boatyard.build.copying.content import SMALL, copy_hashing, copy_large, copy_small
from boatyard.build.copying.destination import Destination
from boatyard.build.copying.reuse import Copied, Reuse
from boatyard.build.tree.layers import LayerNode
from boatyard.build.tree.lookup import walk
from boatyard.build.tree.node import Node, Reader, Tree, join
from boatyard.build.tree.reading import FEW, THREADS
from boatyard.build.tree.scan import ClientReader, ClientTree
from boatyard.errors import BoatyardError, ConflictError, InvalidError
from boatyard.image.interruption import Stop
from boatyard.image.snapshot.disk import storage_error

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SLICE = 256
"""Files of one directory that a thread takes at a time."""
_ONE_BY_ONE = 16
_NOT_LINKED = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOENT, errno.ENOTDIR)

_Inode = tuple[int, int, bytes]
"""Device, number, and the layer it is in."""
Links = dict[tuple[int, int], Node]
"""Inodes of layers that a snapshot shares, and for which file."""


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """`owner`, `mode` (takes and gives mode bits) and `time` (nanoseconds): None keeps the source's. `replace`: what is
    of another kind at the destination is replaced instead of refused."""

    owner: tuple[int, int] | None = None
    mode: Callable[[int], int] | None = None
    time: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: bool = False


@dataclass(slots=True)
class _Job:
    """Files that are made in one directory."""

    target: str
    nodes: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class Copier:
    """Copies from one tree; made anew for each action. `linked`: inodes that layers share with this snapshot by way of
    earlier actions: a second link would make one file of two. `noted` collects what was copied, for `reuse`."""

    def __init__(
        self,
        tree: Tree,
        destination: Destination,
        options: CopyOptions,
        stop: Stop,
        *,
        linked: Links | None = None,
        reuse: Reuse | None = None,
    ) -> None:
        self.noted: dict[str, Copied] = {}
        self.planned: set[str] = set()
        """The real paths of all files."""
        self._tree = tree
        self._destination = destination
        self.options = options
        self.stop = stop
        self.own = (os.geteuid(), os.getegid())
        self.umask = current_umask()
        self._linked: Links = {} if linked is None else linked
        self._reuse = reuse
        self.given = tree if isinstance(tree, ClientTree) and tree.given else None
        self.reuse_files = reuse.files if reuse else {}
        self._jobs: list[_Job] = []
        self._current: dict[str, _Job] = {}
        self._fresh: set[str] = set()
        """Directories that this copier made: only what it planned itself can be in the way there."""
        self._asked: dict[str, int] = {}
        self._taken: dict[str, frozenset[str]] = {}
        self._first: dict[_Inode, str] = {}
        """Where a file with several names was made first."""
        self._links: list[tuple[str, str]] = []
        """What is linked when all files are made: from, to."""

    # Planning

    def add(self, top: Node, target: str) -> None:
        """Plan to copy a file to a real path, or a directory's content into the directory there. What is above
        exists."""
        if not top.is_directory:
            self._add_file(top, target)
            return
        selected = list(walk(self._tree, top, self.options.include, self.options.exclude))
        self._tree.learn([each.node for each in selected if each.node.is_directory])
        place = target
        try:
            for path, node, implied in selected:
                place = join(target, path) if path else target
                if node.is_directory:
                    self._add_directory(node, place, implied=implied, top=not path)
                else:
                    self._add_file(node, place)
        except OSError as error:
            raise translated(error, place) from error

    def _add_directory(self, node: Node, place: str, *, implied: bool, top: bool) -> None:
        destination, options = self._destination, self.options
        if place in self.planned:
            self.run()
        entry = destination.entry(place)
        if entry is not None and not entry.is_directory:
            if not options.replace or implied:
                raise ConflictError(f"can't copy a directory to /{place}: it exists and is no directory")
            self.run()
            destination.remove(place)
            entry = None
        time = node.mtime_ns if options.time is None else options.time
        mode = self._mode(node)
        if entry is None:
            destination.make_directory(place, mode, self._owner(node))
            self._fresh.add(place)
            destination.set_directory(place, xattrs=self._xattrs(node), time=time)
        elif top:
            destination.set_directory(place, time=time)
        elif implied:
            destination.set_directory(place, mode=stat.S_IMODE(node.mode))
        else:
            destination.set_directory(place, mode=mode, owner=self._owner(node), xattrs=self._xattrs(node), time=time)

    def _add_file(self, node: Node, place: str) -> None:
        above, _, name = place.rpartition("/")
        if place in self.planned or place in self._fresh or (above not in self._fresh and self._may_exist(above, name)):
            self._make_room(place)
        self.planned.add(place)
        if node.nlink > 1 and node.is_regular:
            inode = _inode(node)
            if (first := self._first.get(inode)) is not None:
                self._links.append((first, place))
                return
            self._first[inode] = place
        job = self._current.get(above)
        if job is None or len(job.nodes) >= _SLICE:
            job = self._current[above] = _Job(above)
            self._jobs.append(job)
        job.nodes.append(node)
        job.names.append(name)

    def _may_exist(self, above: str, name: str) -> bool:
        """Whether there might be something under a name, in a directory that was there before. A few are looked up one
        by one later; for more it pays to know all names in the directory, since a chain may be long."""
        asked = self._asked[above] = self._asked.get(above, 0) + 1
        if asked <= _ONE_BY_ONE:
            return True
        taken = self._taken.get(above)
        if taken is None:
            taken = self._taken[above] = self._destination.taken(above)
        return name in taken

    def _make_room(self, place: str) -> None:
        if place in self.planned:
            self.run()
        entry = self._destination.entry(place)
        if entry is not None and entry.is_directory:
            if not self.options.replace:
                raise ConflictError(f"can't replace the directory /{place} with a file")
            self.run()
            self._destination.remove(place)
        self._destination.make_room(place)

    def _owner(self, node: Node) -> tuple[int, int]:
        return (node.uid, node.gid) if self.options.owner is None else self.options.owner

    def _mode(self, node: Node) -> int:
        return stat.S_IMODE(node.mode) if self.options.mode is None else self.options.mode(node.mode)

    def _xattrs(self, node: Node) -> Mapping[str, bytes]:
        return node.xattrs if self.options.mode is None else _without_access(node.xattrs)

    # Making

    def run(self) -> None:
        """Make the files. Raises what the first failing one failed with."""
        jobs = self._jobs
        if len(jobs) == 1 or sum(len(job.nodes) for job in jobs) <= FEW or THREADS == 1:
            for job in jobs:
                self._run(job)
        else:
            with ThreadPoolExecutor(min(THREADS, len(jobs)), thread_name_prefix="copy") as pool:
                for _ in pool.map(self._run, jobs):
                    pass
        for first, place in self._links:
            self._link_names(first, place)
        self._jobs, self._links, self._current = [], [], {}

    def may_link(self, node: LayerNode) -> bool:
        """Whether a file of a layer can be linked: nobody may see its inode twice in what this makes."""
        inode = _inode(node)
        layer = inode[2].rstrip(b"/")
        return layer not in self._destination.layers and self._linked.setdefault(inode[:2], node) is node

    def _link_names(self, first: str, place: str) -> None:
        source, _, source_name = first.rpartition("/")
        target, _, target_name = place.rpartition("/")
        with self._opened(source) as source_directory, self._opened(target) as target_directory:
            os.link(source_name, target_name, src_dir_fd=source_directory, dst_dir_fd=target_directory)

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        descriptor = self._destination.open_directory(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _run(self, job: _Job) -> None:
        name = ""
        earlier = self._reuse.open_directory(job.target) if self._reuse else None
        try:
            with self._opened(job.target) as directory, self._tree.reader() as reader:
                maker = _Maker(self, job.target, directory, earlier, reader)
                for node, name in zip(job.nodes, job.names, strict=True):
                    self.stop.check()
                    maker.make(node, name)
                self.noted.update(maker.noted)
        except OSError as error:
            raise translated(error, join(job.target, name)) from error
        finally:
            if earlier is not None:
                os.close(earlier)


class _Maker:
    """Makes the files of one job; `directory` and `earlier` are open. Belongs to one thread."""

    def __init__(self, copier: Copier, above: str, directory: int, earlier: int | None, reader: Reader) -> None:
        self.noted: dict[str, Copied] = {}
        self._copier = copier
        self._above = above
        self._directory = directory
        self._earlier = earlier
        self._reader = reader
        self._exact = _is_exact(directory)

    def make(self, node: Node, name: str) -> None:
        copier = self._copier
        options = copier.options
        owner = (node.uid, node.gid) if options.owner is None else options.owner
        time = node.mtime_ns if options.time is None else options.time
        if node.is_regular:
            mode = stat.S_IMODE(node.mode) if options.mode is None else options.mode(node.mode)
            self._make_file(node, name, Copied(node.digest, mode, *owner, time))
            return
        if node.is_link:
            os.symlink(node.link, name, dir_fd=self._directory)
        else:
            mode = stat.S_IMODE(node.mode) if options.mode is None else options.mode(node.mode)
            kind = stat.S_IFREG if stat.S_ISSOCK(node.mode) else stat.S_IFMT(node.mode)
            os.mknod(name, kind | mode, node.rdev, dir_fd=self._directory)
            os.chmod(name, mode, dir_fd=self._directory)
        if self._exact or owner != copier.own:
            os.chown(name, *owner, dir_fd=self._directory, follow_symlinks=False)
        os.utime(name, ns=(time, time), dir_fd=self._directory, follow_symlinks=False)

    def _make_file(self, node: Node, name: str, wanted: Copied) -> None:
        path = join(self._above, name)
        notable = node.learned and node.nlink == 1 and not node.xattrs
        if notable and self._earlier is not None and self._copier.reuse_files.get(path) == wanted:
            try:
                os.link(name, name, src_dir_fd=self._earlier, dst_dir_fd=self._directory, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NOT_LINKED:
                    raise
            else:
                self.noted[path] = wanted
                return
        if isinstance(node, LayerNode) and self._link_from_layer(node, name, wanted):
            return
        if notable and self._take(node, name, wanted):
            self.noted[path] = wanted
            return
        self._copy(node, name, wanted)
        if node.learned and node.nlink == 1 and not node.xattrs:
            self.noted[path] = wanted if notable else wanted._replace(digest=node.digest)

    def _link_from_layer(self, node: LayerNode, name: str, wanted: Copied) -> bool:
        """Link a file of an immutable layer if nothing of it is to change."""
        kept = (wanted.mode, wanted.uid, wanted.gid, wanted.mtime_ns)
        if kept != (stat.S_IMODE(node.mode), node.uid, node.gid, node.mtime_ns) or not self._copier.may_link(node):
            return False
        try:
            os.link(node.layers[0], name, dst_dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_LINKED:
                raise
            return False
        return True

    def _take(self, node: Node, name: str, wanted: Copied) -> bool:
        """Link a file of a directory that was made for this build, if nothing of it is to change."""
        given, reader = self._copier.given, self._reader
        if given is None or not isinstance(reader, ClientReader):
            return False
        above, _, source = node.path.rpartition("/")
        directory = reader.directory(above)
        # A link brings its owner along, and attributes that don't belong into an image.
        owner = os.stat(source, dir_fd=directory, follow_symlinks=False)
        kept = (stat.S_IMODE(node.mode), owner.st_uid, owner.st_gid, node.mtime_ns)
        if wanted[1:] != kept or os.listxattr(f"/proc/self/fd/{directory}/{source}", follow_symlinks=False):
            return False
        if not given.take(node):
            return False
        try:
            os.link(source, name, src_dir_fd=directory, dst_dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_LINKED:
                raise
            return False
        return True

    def _copy(self, node: Node, name: str, wanted: Copied) -> None:
        source = self._reader.open(node)
        try:
            target = os.open(name, _CREATE, wanted.mode & 0o777, dir_fd=self._directory)
            try:
                hashing = self._reader.wants_digest(node)
                if node.size <= SMALL:
                    digest = copy_small(source, target, node.size, digest=hashing)
                elif hashing:
                    digest = copy_hashing(source, target, self._copier.stop.check)
                else:
                    digest = b""
                    copy_large(source, target, node.size, self._copier.stop.check)
                xattrs = self._reader.confirm(node, source, digest)
                if self._exact or (wanted.uid, wanted.gid) != self._copier.own:
                    os.fchown(target, wanted.uid, wanted.gid)
                if self._exact or wanted.mode & (self._copier.umask | 0o7000):
                    os.fchmod(target, wanted.mode)
                if xattrs:
                    _set_xattrs(target, xattrs, self._copier.options.mode is not None)
                os.utime(target, ns=(wanted.mtime_ns, wanted.mtime_ns))
            finally:
                os.close(target)
        finally:
            os.close(source)


def _inode(node: Node) -> _Inode:
    """The same inode in two layers is two files: one of them was linked from the other to save space."""
    layer = node.layers[0][: -len(os.fsencode(node.path))] if isinstance(node, LayerNode) else b""
    return (node.device, node.inode, layer)


def _without_access(xattrs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """A mode that is set takes the place of the list that says the same in more detail."""
    return {name: value for name, value in xattrs.items() if name != "system.posix_acl_access"}


def _set_xattrs(target: int, xattrs: Mapping[str, bytes], mode_is_set: bool) -> None:
    for name, value in (_without_access(xattrs) if mode_is_set else xattrs).items():
        try:
            os.setxattr(target, name, value)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # a file system without this namespace loses the attribute
                raise


def _is_exact(directory: int) -> bool:
    """Whether files made in it take group or permissions from the directory, so that both must be set."""
    if os.fstat(directory).st_mode & stat.S_ISGID:
        return True
    try:
        os.getxattr(directory, "system.posix_acl_default")
    except OSError:
        return False
    return True


def current_umask() -> int:
    """Without setting it, which other threads would notice."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777


_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)


def translated(error: OSError, path: str) -> BoatyardError:
    """What the kernel said when something was to be made at a path."""
    if error.errno in _STORAGE:
        return storage_error(error, f"can't write /{path}")
    if error.errno == errno.ENAMETOOLONG:
        return InvalidError(
            f"can't make /{path[:100]}...: the name or path is too long",
            hint="a name has at most 255 bytes, a path 4,095",
        )
    # Whose files are others', devices, some attributes: only root may make them.
    hint = "start the daemon as root" if isinstance(error, PermissionError) and os.geteuid() != 0 else None
    return InvalidError(f"can't make /{path}: {error.strerror or error}", hint=hint)
