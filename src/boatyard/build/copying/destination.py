"""Where files are written to: the directory of an active snapshot, seen together with the layers below it.

Nothing is mounted. What is looked up is found in the snapshot's own directory first and then in those of the layers.
What is written goes to the snapshot's own, in overlay form: a directory that exists below is made again with its
metadata before something is put into it, and what exists below is removed by a whiteout.

Paths are *real*: cleaned, and without links, as `resolve` gives them; "" is the root.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from boatyard.errors import InvalidError
from boatyard.image.snapshot.merging import copy_attributes, lookup, merged_names
from boatyard.image.snapshot.whiteout import (
    Flavour,
    is_opaque,
    is_whiteout,
    make_opaque,
    make_whiteout,
    native_flavour,
)
from boatyard.paths.beneath import open_directory
from boatyard.paths.spelling import MOST_LINKS


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path now. `own`: it is in the snapshot itself. `lowers`: of a directory, those of the layers below
    that show through it, the highest first. `source`: where it is."""

    status: os.stat_result
    own: bool
    lowers: tuple[bytes, ...]
    source: bytes

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class Destination:
    """Owned by one step, as the snapshot is. `below`: the directories of the layers below, the lowest first. `finish`
    comes last."""

    def __init__(self, directory: Path, below: Sequence[Path] = (), *, flavour: Flavour | None = None) -> None:
        self._root = os.fsencode(directory)
        self._flavour = flavour or native_flavour()
        self._directories: dict[str, Entry] = {}
        self._times: dict[str, int] = {}
        lowers = tuple(os.fsencode(each) for each in reversed(below))
        self.layers = frozenset(lowers)
        if lowers:
            status = os.lstat(lowers[0])
            copy_attributes(lowers[0], status, self._root, self._flavour)
            self._times[""] = status.st_mtime_ns
        self._directories[""] = Entry(os.lstat(self._root), True, lowers, self._root)
        self._descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # Looking

    def entry(self, path: str) -> Entry | None:
        """What is at a real path. None as well below something that is no directory."""
        known = self._directories.get(path)
        if known is not None:
            return known
        above, _, name = path.rpartition("/")
        directory = self.entry(above)
        if directory is None or not directory.is_directory:
            return None
        found = self._look(directory, path, os.fsencode(name))
        if found is not None and found.is_directory:
            self._directories[path] = found
        return found

    def _look(self, directory: Entry, path: str, name: bytes) -> Entry | None:
        if directory.own:
            own = self._path(path)
            try:
                status = os.lstat(own)
            except FileNotFoundError:
                pass
            else:
                if is_whiteout(status):
                    return None
                if not stat.S_ISDIR(status.st_mode):
                    return Entry(status, True, (), own)
                below = None if is_opaque(own, self._flavour) else lookup(directory.lowers, name, self._flavour)
                shows = below is not None and stat.S_ISDIR(below.status.st_mode)
                return Entry(status, True, below.layers if below is not None and shows else (), own)
        found = lookup(directory.lowers, name, self._flavour)
        if found is None:
            return None
        return Entry(found.status, False, found.layers if stat.S_ISDIR(found.status.st_mode) else (), found.layers[0])

    def resolve(self, path: str, *, follow: bool = True) -> str:
        """The real path for any spelling of one: links are followed inside the root, the last one only with `follow`;
        names that don't exist are taken as they are. InvalidError for a loop."""
        todo = [part for part in reversed(path.split("/")) if part and part != "."]
        real: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if real:
                    real.pop()
                continue
            real.append(part)
            if not todo and not follow:
                break
            entry = self.entry("/".join(real))
            if entry is not None and stat.S_ISLNK(entry.status.st_mode):
                links += 1
                if links > MOST_LINKS:
                    raise InvalidError(f"{path!r} has too many levels of symbolic links", hint="is there a loop?")
                real.pop()
                link = os.fsdecode(os.readlink(entry.source))
                if link.startswith("/"):
                    real.clear()
                todo.extend(part for part in reversed(link.split("/")) if part and part != ".")
        return "/".join(real)

    def is_bare(self, path: str) -> bool:
        """Whether a directory of the snapshot has nothing below, so that names in it only have to be looked for in the
        snapshot itself."""
        entry = self._directories[path]
        return entry.own and not entry.lowers

    # Directories

    def open_directory(self, path: str) -> int:
        """A descriptor of a directory in the snapshot itself; the caller closes it."""
        return open_directory(self._descriptor, path)

    def own(self, path: str) -> Entry:
        """Have a directory that exists in the snapshot itself, as it is below. It keeps its time."""
        entry = self._directories.get(path) or self.entry(path)
        assert entry is not None
        if entry.own:
            return entry
        self.own(path.rpartition("/")[0])
        own = self._path(path)
        os.mkdir(own, 0o700)
        copy_attributes(entry.source, entry.status, own, self._flavour)
        self._times[path] = entry.status.st_mtime_ns
        made = Entry(entry.status, True, entry.lowers, own)
        self._directories[path] = made
        return made

    def make_directory(self, path: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        """A new directory where there is nothing, in one that exists."""
        above, _, name = path.rpartition("/")
        directory = self.own(above)
        own = self._path(path)
        hidden = self._clear(directory, path, name)
        os.mkdir(own, 0o700)
        os.chown(own, *owner)  # also to undo what a setgid directory hands on
        os.chmod(own, mode)
        if hidden:
            make_opaque(own, self._flavour)
        self._directories[path] = Entry(os.lstat(own), True, (), own)

    def set_directory(
        self,
        path: str,
        *,
        mode: int | None = None,
        owner: tuple[int, int] | None = None,
        xattrs: Mapping[str, bytes] | None = None,
        time: int | None = None,
    ) -> None:
        """Change what is known of a directory. Its time is set by `finish`, when nothing is put into it any more."""
        own = self.own(path).source
        if owner is not None:
            os.chown(own, *owner)
        if mode is not None:
            os.chmod(own, mode)
        for name, value in (xattrs or {}).items():
            os.setxattr(own, name, value)
        if time is not None:
            self._times[path] = time
        self._directories[path] = Entry(os.lstat(own), True, self._directories[path].lowers, own)

    # Files

    def make_room(self, path: str) -> None:
        """Nothing is left in the snapshot itself under the name, so that a file can be made there; what the layers
        below have is hidden by that file. The directory it is in exists."""
        above, _, name = path.rpartition("/")
        self._clear(self.own(above), path, name)

    def _clear(self, directory: Entry, path: str, name: str) -> bool:
        """Take the name out of the snapshot itself. Whether a directory made there now would show what isn't meant to
        be seen any more."""
        own = self._path(path)
        try:
            status = os.lstat(own)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(status.st_mode):
            self._forget(path)
            shutil.rmtree(own)
        else:
            os.unlink(own)
        below = lookup(directory.lowers, os.fsencode(name), self._flavour)
        return below is not None and stat.S_ISDIR(below.status.st_mode)

    def remove(self, path: str) -> None:
        """Whatever is at a real path is gone, with all below it. Nothing happens when nothing is there."""
        entry = self.entry(path)
        if entry is None:
            return
        if not path:
            raise InvalidError("the root directory can't be removed")
        above, _, name = path.rpartition("/")
        directory = self.own(above)
        self._clear(directory, path, name)
        self._forget(path)
        if lookup(directory.lowers, os.fsencode(name), self._flavour) is not None:
            descriptor = self.open_directory(above)
            try:
                make_whiteout(os.fsencode(name), dir_fd=descriptor, flavour=self._flavour)
            finally:
                os.close(descriptor)

    def _forget(self, path: str) -> None:
        self._directories = _without(self._directories, path)
        self._times = _without(self._times, path)

    def forget_below(self, path: str) -> None:
        """Somebody else has written into a directory of the snapshot, and set the times of what is in it: look
        again."""
        entry, time = self.own(path), self._times.get(path)
        self._forget(path)
        self._directories[path] = Entry(os.lstat(entry.source), True, entry.lowers, entry.source)
        if time is not None:
            self._times[path] = time

    def finish(self) -> None:
        """Set the times of directories, and close."""
        for path, time in self._times.items():
            os.utime(self._path(path), ns=(time, time))
        self.close()

    def _path(self, path: str) -> bytes:
        return self._root + b"/" + os.fsencode(path) if path else self._root

    def taken(self, path: str) -> frozenset[str]:
        """The names in a directory that exists, and those that only a whiteout has; it is then in the snapshot
        itself."""
        return frozenset((*self.names(path), *os.listdir(os.fsdecode(self.own(path).source))))

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        entry = self.entry(path)
        assert entry is not None
        layers = (entry.source, *entry.lowers) if entry.own else entry.lowers
        return [os.fsdecode(found.name) for found in merged_names(layers, self._flavour)]


T = TypeVar("T")


def _without(known: dict[str, T], path: str) -> dict[str, T]:
    inside = path + "/" if path else ""
    return {each: value for each, value in known.items() if each != path and not each.startswith(inside)}
