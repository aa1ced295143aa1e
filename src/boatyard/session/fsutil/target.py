"""A directory that a list of files is written to.

Paths are walked without following links, so nothing is written outside, whatever is in the directory already. What
stands in the place of something new is replaced at once (rename), when the new is complete. A file gets its time last:
one that isn't complete never looks like one of the list.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping

from boatyard.errors import DeniedError, StorageError
from boatyard.paths.beneath import open_directory
from boatyard.paths.xattrs import is_portable
from boatyard.session.fsutil.entry import Entry

_MOST_OPEN = 64
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = stat.S_ISUID | stat.S_ISGID
_ZERO = bytes(4096)


class Target:
    """Owned by one receiver, which closes it. All methods block, and raise OSError."""

    def __init__(self, root: int, owner: tuple[int, int] | None = None) -> None:
        """`root` stays the caller's. `owner`: everything is given to it, and without setuid and setgid bits unless it
        is root; otherwise entries say whose they are."""
        self._root = root
        self._owner = owner
        self._effective = (os.geteuid(), os.getegid())
        self._umask = _umask()
        self._open: OrderedDict[str, int] = OrderedDict()
        self._directories: dict[str, tuple[Entry, bool]] = {}
        """All that were named, and whether they are known to be so already."""
        self._touched: set[str] = set()
        """Directories in which something was made or removed, which changes their time."""

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    # Making things

    def make_directory(self, entry: Entry, known: Entry | None = None) -> None:
        """It may be there already. `known`: what is there, if that is known."""
        path = entry.path
        if known is not None and stat.S_ISDIR(known.mode):
            same = known.is_same(entry) and known.mtime_ns == entry.mtime_ns
            if self._effective[0] and known.mode & 0o700 != 0o700:
                parent, name = self._place(path)
                os.chmod(name, stat.S_IMODE(known.mode) | 0o700, dir_fd=parent)
                same = False
            self._directories[path] = entry, same
            return
        self._directories[path] = entry, False
        parent, name = self._place(path)
        mode = stat.S_IMODE(entry.mode) & 0o777 | 0o700
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._replace(parent, name, lambda new: os.mkdir(new, mode, dir_fd=parent))
            elif self._effective[0] and status.st_mode & 0o700 != 0o700:
                os.chmod(name, stat.S_IMODE(status.st_mode) | 0o700, dir_fd=parent)

    def make_link(self, entry: Entry) -> None:
        """A symbolic one."""
        parent, name = self._place(entry.path)

        def make(new: str) -> None:
            os.symlink(entry.link, new, dir_fd=parent)
            self._own(entry, new, parent)
            os.utime(new, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

        self._make(parent, name, make)

    def make_node(self, entry: Entry) -> None:
        """A pipe or a device. DeniedError where this process may make none."""
        parent, name = self._place(entry.path)

        def make(new: str) -> None:
            try:
                os.mknod(new, entry.mode, entry.rdev, dir_fd=parent)
            except PermissionError as error:
                raise DeniedError(f"can't make the device {entry.path[:200]!r}: only root may") from error
            self._own(entry, new, parent)
            os.chmod(f"/proc/self/fd/{parent}/{new}", stat.S_IMODE(entry.mode))
            os.utime(new, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

        self._make(parent, name, make)

    def make_hard_link(self, entry: Entry) -> None:
        """To what was made at `entry.link`."""
        parent, name = self._place(entry.path)
        source, first = self._place(entry.link)
        self._make(
            parent,
            name,
            lambda new: os.link(first, new, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
        )

    def adopt(self, entry: Entry, directory: int, name: str) -> None:
        """A file that is the same lies elsewhere on this disk: link it."""
        parent, own = self._place(entry.path)
        self._make(
            parent,
            own,
            lambda new: os.link(name, new, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False),
        )

    def write(self, entry: Entry, data: bytes) -> None:
        """A whole file."""
        file = self.create(entry)
        try:
            if data:
                file.write(data)
            file.finish()
        except BaseException:
            file.abandon()
            raise

    def create(self, entry: Entry) -> NewFile:
        parent, name = self._place(entry.path)
        mode = stat.S_IMODE(entry.mode) & 0o777
        try:
            return NewFile(self, entry, os.open(name, _CREATE, mode, dir_fd=parent), name)
        except FileExistsError:
            temporary = _temporary()
            return NewFile(self, entry, os.open(temporary, _CREATE, mode, dir_fd=parent), temporary)

    # Removing, and the end

    def remove(self, path: str) -> None:
        """Whatever is there, if anything is."""
        above, _, name = path.rpartition("/")
        try:
            parent = open_directory(self._root, above)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return
            raise
        try:
            self._touched.add(above)
            _remove(parent, name)
        finally:
            os.close(parent)

    def settle(self) -> None:
        """Nothing changes in directories any more: set their metadata, deepest first."""
        for path, (entry, same) in reversed(self._directories.items()):
            if same and path not in self._touched:
                continue
            descriptor = open_directory(self._root, path)
            try:
                self.apply(entry, descriptor, -1)
            finally:
                os.close(descriptor)
        self._directories.clear()

    def apply(self, entry: Entry, descriptor: int, made: int) -> None:
        """Owner, mode, xattrs and time of an open file or directory. `made`: the mode it was made with, or -1."""
        mode = stat.S_IMODE(entry.mode)
        if self._owner is not None:
            if self._owner != self._effective:
                os.fchown(descriptor, *self._owner)
            if self._owner[0]:
                mode &= ~_SPECIAL
        elif (entry.uid, entry.gid) != self._effective:
            _give(descriptor, entry, self._effective[0])
        if made < 0 or mode != made & ~self._umask:
            os.fchmod(descriptor, mode)
        if entry.xattrs:
            _set_xattrs(descriptor, entry.xattrs)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    # Inside

    def _place(self, path: str) -> tuple[int, str]:
        """The open directory that it lies in, and its name there."""
        above, _, name = path.rpartition("/")
        self._touched.add(above)
        return self.directory(above), name

    def directory(self, path: str) -> int:
        """Open; stays this object's."""
        known = self._open.get(path)
        if known is not None:
            return known
        descriptor = open_directory(self._root, path)
        while len(self._open) >= _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        self._open[path] = descriptor
        return descriptor

    def _make(self, parent: int, name: str, make: Callable[[str], None]) -> None:
        try:
            make(name)
        except FileExistsError:
            self._replace(parent, name, make)

    def _replace(self, parent: int, name: str, make: Callable[[str], None]) -> None:
        temporary = _temporary()
        make(temporary)
        self.put(parent, temporary, name)

    def put(self, parent: int, temporary: str, name: str) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY):
                raise
            _remove(parent, name)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def _own(self, entry: Entry, name: str, parent: int) -> None:
        owner = self._owner or (entry.uid, entry.gid)
        if owner != self._effective:
            try:
                os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
            except PermissionError:
                if not self._effective[0]:
                    raise


class NewFile:
    """A file that is being written. Finished or abandoned by whoever created it."""

    __slots__ = ("_descriptor", "_entry", "_hole", "_name", "_target")

    def __init__(self, target: Target, entry: Entry, descriptor: int, name: str) -> None:
        self._target = target
        self._entry = entry
        self._descriptor = descriptor
        self._name = name
        self._hole = False

    def write(self, data: bytes) -> None:
        """The next bytes. Long runs of zeros become holes."""
        if not data[0] and not data[-1] and len(data) >= len(_ZERO) and not data.strip(b"\0"):
            os.lseek(self._descriptor, len(data), os.SEEK_CUR)
            self._hole = True
            return
        written = os.write(self._descriptor, data)
        if written == len(data):
            return
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish(self) -> None:
        """The file is complete: it takes its place."""
        entry, target = self._entry, self._target
        if self._hole:
            os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR))
        target.apply(entry, self._descriptor, stat.S_IMODE(entry.mode) & 0o777)
        os.close(self._descriptor)
        self._descriptor = -1
        above, _, name = entry.path.rpartition("/")
        if self._name != name:
            target.put(target.directory(above), self._name, name)

    def abandon(self) -> None:
        """Nothing of it stays."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        above, _, _ = self._entry.path.rpartition("/")
        try:
            os.unlink(self._name, dir_fd=self._target.directory(above))
        except OSError:
            pass  # it failed, and now this: the first error is told


def storage_error(error: OSError, path: str) -> StorageError:
    return StorageError(f"can't write {path[:200]!r}: {error.strerror or error}")


def _remove(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=parent)


def _give(descriptor: int, entry: Entry, effective: int) -> None:
    try:
        os.fchown(descriptor, entry.uid, entry.gid)
    except PermissionError:
        if not effective:
            raise


def _set_xattrs(descriptor: int, xattrs: Mapping[str, bytes]) -> None:
    for name, value in xattrs.items():
        if is_portable(name):
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                    raise


def _temporary() -> str:
    return f".boat-{os.urandom(8).hex()}"


def _umask() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777  # unknown: modes are always set
