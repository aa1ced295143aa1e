"""Snapshots without overlayfs, for hosts and file systems where none can be mounted.

A read-only tree is made of hard links: whoever writes into one damages the layers, so it may only be read. A writable
tree is a copy (a reflink where the file system can); when its user is done, it is compared with what it was, and the
changes become the active snapshot, in overlay form as every other one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from boatyard.errors import NotFoundError
from boatyard.image.snapshot.area import Area, remove_tree
from boatyard.image.snapshot.disk import storage_error
from boatyard.image.snapshot.merging import Name, copy_attributes, link_merged, merged_names
from boatyard.image.snapshot.snapshotter import SnapshotId, Usage
from boatyard.image.snapshot.whiteout import (
    Flavour,
    is_opaque,
    is_whiteout,
    make_opaque,
    mark_whiteouts,
    native_flavour,
)

_Identity = tuple[int, int]
"""Inode number and change time. No program can set the latter, so an equal pair means an untouched file."""


class CopyingSnapshotter:
    """Owned by the daemon's wiring; one per `root`, which it keeps for itself. Thread-safe."""

    name = "copy"

    def __init__(self, root: Path, *, flavour: Flavour | None = None) -> None:
        self.root = root
        self.flavour = flavour or native_flavour()
        self._area = Area(root)
        self._trees = root / ".mounts"
        self._trees.mkdir(mode=0o700, exist_ok=True)

    def prepare(self) -> SnapshotId:
        return self._area.prepare()

    def directory(self, snapshot: SnapshotId) -> Path:
        return self._area.directory(snapshot)

    def commit(self, snapshot: SnapshotId) -> None:
        self._area.commit(snapshot)

    def exists(self, snapshot: SnapshotId) -> bool:
        return self._area.exists(snapshot)

    def usage(self, snapshot: SnapshotId) -> Usage:
        return self._area.usage(snapshot)

    def remove(self, snapshot: SnapshotId) -> None:
        self._area.remove(snapshot)

    def walk(self) -> Sequence[SnapshotId]:
        return self._area.walk()

    def cleanup(self) -> None:
        for name in os.listdir(self._trees):
            remove_tree(f"{self._trees}/{name}")
        self._area.cleanup()

    def mount(self, chain: Sequence[SnapshotId], *, active: SnapshotId | None = None) -> AbstractContextManager[Path]:
        return self._mounted(tuple(chain), active)

    @contextmanager
    def _mounted(self, chain: tuple[SnapshotId, ...], active: SnapshotId | None) -> Iterator[Path]:
        with self._area.used(chain, active):
            holder = self._area.prepare()  # for a name that nobody else has
            tree = self._trees / holder
            try:
                tree.mkdir(mode=0o755)
                layers = [os.fsencode(self._area.directory(snapshot)) for snapshot in reversed(chain)]
                own = os.fsencode(self._area.directory(active)) if active is not None else b""
                try:
                    if active is not None or layers:
                        stack = [own, *layers] if active is not None else layers
                        link_merged(stack, os.fsencode(tree), self.flavour, squash=False, copy=active is not None)
                        if active is not None and layers and not os.listdir(own):
                            copy_attributes(layers[0], os.lstat(layers[0]), os.fsencode(tree))
                    before = _identities(os.fsencode(tree)) if active is not None else {}
                except FileNotFoundError as error:
                    raise NotFoundError(f"the directory of a layer is gone: {error}") from error
                except OSError as error:
                    raise storage_error(error, f"can't copy {len(chain)} layers") from error
                yield tree
                if active is not None:
                    try:
                        changed = _Changes(os.fsencode(tree), before, own, self.flavour)
                        changed.store(layers)
                    except OSError as error:
                        raise storage_error(error, f"can't keep the changes of snapshot {active}") from error
            finally:
                remove_tree(str(tree))
                self._area.remove(holder)


def _identities(tree: bytes) -> dict[bytes, _Identity]:
    found: dict[bytes, _Identity] = {}
    pending = [tree]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found[entry.path] = (status.st_ino, status.st_ctime_ns)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
    return found


class _Changes:
    """What was done to `tree` since `before`, moved into a new directory that takes the place of the active snapshot's
    `own`."""

    def __init__(self, tree: bytes, before: dict[bytes, _Identity], own: bytes, flavour: Flavour) -> None:
        self._tree = tree
        self._before = before
        self._own = own
        self._new = own + b".new"
        self._flavour = flavour
        self._made: dict[bytes, os.stat_result] = {}

    def store(self, layers: Sequence[bytes]) -> None:
        os.mkdir(self._new, 0o755)
        status = os.lstat(self._tree)
        copy_attributes(self._tree, status, self._new)
        self._made[b""] = status
        self._walk(b"", tuple(layers), ())
        for relative, status in self._made.items():
            os.utime(self._new + relative, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.rename(self._own, self._own + b".old")
        os.rename(self._new, self._own)
        remove_tree(os.fsdecode(self._own + b".old"))

    def _walk(
        self, relative: bytes, layers: tuple[bytes, ...], above: tuple[tuple[bytes, os.stat_result], ...]
    ) -> None:
        """`above`: the directories from the root to this one, for when something in here must be kept."""
        below = {item.name: item for item in merged_names(layers, self._flavour)} if layers else {}
        own = _own_names(self._own + relative)
        with os.scandir(self._tree + relative) as entries:
            now = {entry.name: entry.stat(follow_symlinks=False) for entry in sorted(entries, key=lambda e: e.name)}
        for name, status in now.items():
            path = relative + b"/" + name
            if stat.S_ISDIR(status.st_mode):
                self._directory(path, status, below.get(name), own.get(name), above)
                continue
            kept = own.get(name)
            untouched = self._before.get(self._tree + path) == (status.st_ino, status.st_ctime_ns)
            if not untouched or (kept is not None and not is_whiteout(kept)):
                self._make(above)
                os.rename(self._tree + path, self._new + path)
        gone = {name for name, status in own.items() if is_whiteout(status)}.union(below).difference(now)
        if gone:
            self._make(above)
            for name in gone:
                os.mknod(self._new + relative + b"/" + name, stat.S_IFCHR, 0)
            mark_whiteouts(self._new + relative, self._flavour)

    def _directory(
        self,
        path: bytes,
        status: os.stat_result,
        below: Name | None,
        kept: os.stat_result | None,
        above: tuple[tuple[bytes, os.stat_result], ...],
    ) -> None:
        old = self._before.get(self._tree + path)
        above = (*above, (path, status))
        was_kept = kept is not None and stat.S_ISDIR(kept.st_mode)
        replaced = old is None or old[0] != status.st_ino or (kept is not None and is_whiteout(kept))
        opaque = replaced and below is not None
        if was_kept and not replaced:
            opaque = is_opaque(self._own + path, self._flavour)
        if was_kept or old != (status.st_ino, status.st_ctime_ns):
            self._make(above)
        if opaque:
            make_opaque(self._new + path, self._flavour)
        merges = below is not None and not opaque and stat.S_ISDIR(below.status.st_mode)
        self._walk(path, below.layers if below is not None and merges else (), above)

    def _make(self, directories: tuple[tuple[bytes, os.stat_result], ...]) -> None:
        for path, status in directories:
            if path not in self._made:
                os.mkdir(self._new + path)
                copy_attributes(self._tree + path, status, self._new + path)
                self._made[path] = status


def _own_names(directory: bytes) -> dict[bytes, os.stat_result]:
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}
