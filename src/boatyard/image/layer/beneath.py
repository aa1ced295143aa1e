"""The directories of a layer, walked name by name from its root without following symbolic links.

Links are resolved here, beneath the root, as a chroot would: `..` at the root is the root, and an absolute link starts
there. What a layer doesn't have is looked up in the layers below. So nothing that is opened lies outside, whatever
names and links say.

Knows descriptors and overlay form; nothing of tar.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from boatyard.errors import LayerError
from boatyard.image.layer.tarstream import shown
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.disk import storage_error
from boatyard.image.snapshot.merging import Name, copy_attributes, lookup
from boatyard.image.snapshot.whiteout import Flavour, is_whiteout, make_opaque

_MAX_OPEN = 256
_MAX_LINKS = 40
_MAX_PATH = 4000
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Lowers = Sequence[Path] | Callable[[], Sequence[Path]]
"""The directories of the layers below, lowest first. A function is called only when they are needed, and may then wait
for them."""


class Directory:
    """An open directory; the descriptor lives as long as the object, because caches and callers share it.

    `canonical` is its path from the root, without links, "" for the root. `exact`: what is made in here takes group or
    permissions from the directory (setgid, a default ACL), so both must be set."""

    __slots__ = ("canonical", "descriptor", "exact")

    def __init__(self, descriptor: int, canonical: bytes) -> None:
        self.descriptor = descriptor
        self.canonical = canonical
        self.exact = is_exact(descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)


class Tree:
    """One layer while it is being made. Owned by one `apply`. Raises LayerError, and OSError for what the disk refuses.

    `times`: when each directory was changed, as it is to be in the end, by canonical path. `owner` gets what is made
    here unasked."""

    def __init__(self, directory: Path, lowers: Lowers, flavour: Flavour, owner: tuple[int, int] | None) -> None:
        self.path = os.fsencode(directory)
        self._lowers = lowers
        self._flavour = flavour
        self._owner = owner or (0, 0)
        self.times: dict[bytes, int] = {}
        self._open: dict[bytes, Directory] = {}
        self._covered: set[bytes] = set()
        """Directories that hide what the layers below have in their place."""
        self._below: dict[bytes, tuple[bytes, ...]] = {}
        try:
            descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, f"can't unpack to {directory}") from error
        self.root = Directory(descriptor, b"")

    def path_of(self, canonical: bytes) -> bytes:
        return self.path + b"/" + canonical if canonical else self.path

    def resolve(self, path: bytes, mtime_ns: int) -> Directory:
        """Open a directory of this layer by its cleaned path; make it, and what leads to it, if it isn't there."""
        if not path:
            return self.root
        known = self._open.get(path)
        if known is not None:
            return known
        names = path.split(b"/")
        # Start at the deepest directory that is open already.
        start = len(names) - 1
        here = self.root
        while start > 0:
            known = self._open.get(b"/".join(names[:start]))
            if known is not None:
                here = known
                break
            start -= 1
        pending = names[start:][::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name == b"..":
                here = self.resolve(here.canonical.rpartition(b"/")[0], mtime_ns)
                continue
            step = self._enter(here, name, mtime_ns)
            if isinstance(step, Directory):
                here = step
                continue
            links += 1
            if links > _MAX_LINKS:
                raise LayerError(f"{shown(path)} goes through too many symbolic links")
            if step.startswith(b"/"):
                here = self.root
            pending += [part for part in step.split(b"/") if part not in (b"", b".")][::-1]
        self._open[path] = here
        return here

    def _enter(self, here: Directory, name: bytes, mtime_ns: int) -> Directory | bytes:
        """A directory in an open one; or where it points to, if it is a symbolic link."""
        canonical = join(here.canonical, name)
        known = self._open.get(canonical)
        if known is not None and known.canonical == canonical:
            return known
        if len(canonical) > _MAX_PATH:
            raise LayerError(f"{shown(canonical)} is too long a path")
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=here.descriptor)
        except FileNotFoundError:
            below = self.lookup_below(here.canonical, name)
            if below is not None and stat.S_ISLNK(below.status.st_mode):
                return os.readlink(below.layers[0])
            descriptor = self._make_directory(here, name, below, mtime_ns)
        except NotADirectoryError:
            status = os.stat(name, dir_fd=here.descriptor, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return os.readlink(name, dir_fd=here.descriptor)
            if not is_whiteout(status):
                raise LayerError(f"{shown(canonical)} is no directory, but entries are to go into it") from None
            os.unlink(name, dir_fd=here.descriptor)
            descriptor = self._make_directory(here, name, None, mtime_ns)
            self.cover(canonical)
        if len(self._open) >= _MAX_OPEN:
            self.forget()
        parent = Directory(descriptor, canonical)
        self._open[canonical] = parent
        return parent

    def _make_directory(self, here: Directory, name: bytes, below: Name | None, mtime_ns: int) -> int:
        """A directory that no entry describes: as it is in the layers below, else root's."""
        canonical = join(here.canonical, name)
        if below is not None and not stat.S_ISDIR(below.status.st_mode):
            raise LayerError(f"{shown(canonical)} is no directory in the layers below, but entries are to go into it")
        os.mkdir(name, 0o755, dir_fd=here.descriptor)
        path = self.path_of(canonical)
        if below is not None:
            copy_attributes(below.layers[0], below.status, path, self._flavour)
            mtime_ns = below.status.st_mtime_ns
        else:
            os.chown(path, *self._owner)
            os.chmod(path, 0o755)
        self.times.setdefault(canonical, mtime_ns)
        return os.open(name, _DIRECTORY, dir_fd=here.descriptor)

    def lookup_below(self, canonical: bytes, name: bytes) -> Name | None:
        layers = self.layers_below(canonical)
        return lookup(layers, name, self._flavour) if layers else None

    def layers_below(self, canonical: bytes) -> tuple[bytes, ...]:
        """The directories of lower layers that show through a directory of this one, the highest first."""
        known = self._below.get(canonical)
        if known is not None:
            return known
        names = canonical.split(b"/") if canonical else []
        layers: tuple[bytes, ...] = ()
        if b"" not in self._covered and self._lowers:
            lowers = self._lowers() if callable(self._lowers) else self._lowers
            layers = tuple(os.fsencode(lower) for lower in reversed(lowers))
        path = b""
        for name in names:
            path = join(path, name)
            if not layers or path in self._covered:
                layers = ()
                break
            found = lookup(layers, name, self._flavour)
            layers = found.layers if found is not None and stat.S_ISDIR(found.status.st_mode) else ()
        self._below[canonical] = layers
        return layers

    def forget(self) -> None:
        """Too many are open, or one of them may have gone."""
        self._open.clear()

    def cover(self, canonical: bytes) -> None:
        """Let a directory of this layer hide what the layers below have in its place."""
        self._covered.add(canonical)
        self._below.clear()
        make_opaque(self.path_of(canonical), self._flavour)

    def remove(self, parent: Directory, base: bytes) -> None:
        """Make room for an entry that comes again. The last one wins."""
        status = os.stat(base, dir_fd=parent.descriptor, follow_symlinks=False)
        canonical = join(parent.canonical, base)
        if stat.S_ISDIR(status.st_mode):
            self.forget()
            remove_tree(os.fsdecode(self.path_of(canonical)))
            self.times = {
                path: time
                for path, time in self.times.items()
                if path != canonical and not path.startswith(canonical + b"/")
            }
            self._covered = {
                path for path in self._covered if path != canonical and not path.startswith(canonical + b"/")
            }
            self._below.clear()
        else:
            if stat.S_ISLNK(status.st_mode):
                self.forget()
            os.unlink(base, dir_fd=parent.descriptor)


def is_exact(descriptor: int) -> bool:
    if os.fstat(descriptor).st_mode & stat.S_ISGID:
        return True
    try:
        os.getxattr(b"/proc/self/fd/%d" % descriptor, "system.posix_acl_default")
    except OSError:
        return False
    return True


def join(canonical: bytes, name: bytes) -> bytes:
    return canonical + b"/" + name if canonical else name
