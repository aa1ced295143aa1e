"""Snapshots that the kernel merges: overlayfs.

A writable mount gets the active snapshot's directory as its upper directory, with every feature off that would make it
more than a plain diff of the lowers (redirects, metacopy, index). `volatile` spares the sync of the whole file system
at unmount: what an active snapshot holds needn't survive a crash.

Chains longer than `SQUASH_ABOVE` are shortened: groups of layers, aligned so that growing chains share them, are
squashed into directories of hard links under ROOT/.flat.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from boatyard.image.snapshot.area import Area, remove_tree
from boatyard.image.snapshot.disk import storage_error
from boatyard.image.snapshot.merging import copy_attributes, link_merged
from boatyard.image.snapshot.mounting import (
    Overlay,
    layers_limit,
    mount_error,
    mount_overlay,
    mount_points_below,
    unmount,
)
from boatyard.image.snapshot.snapshotter import SnapshotId, Usage
from boatyard.image.snapshot.whiteout import USER, Flavour, native_flavour

SQUASH_ABOVE = 128
"""Each lookup of a missing name visits every layer that shares the directory, so long chains are slow before they are
impossible."""
SQUASH_GROUP = 64


class OverlaySnapshotter:
    """Owned by the daemon's wiring; one per `root`, which it keeps for itself. Thread-safe."""

    name = "overlay"

    def __init__(self, root: Path, *, flavour: Flavour | None = None) -> None:
        self.root = root
        self.flavour = flavour or native_flavour()
        self._area = Area(root)
        self._mounts = root / ".mounts"
        self._flat = root / ".flat"
        self._empty = (os.fsencode(root / ".empty" / "0"), os.fsencode(root / ".empty" / "1"))
        self._lock = threading.Lock()
        self._squashing: dict[str, threading.Lock] = {}
        self._free_points: list[str] = []
        self._next_point = 0
        self._limit = min(SQUASH_ABOVE, layers_limit(len("0123456789/fs")) - 2)
        try:
            for path in (self._mounts, self._flat, *(Path(os.fsdecode(path)) for path in self._empty)):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, f"can't keep snapshots in {root}") from error

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

    def walk(self) -> Sequence[SnapshotId]:
        return self._area.walk()

    def mount(self, chain: Sequence[SnapshotId], *, active: SnapshotId | None = None) -> AbstractContextManager[Path]:
        return self._mounted(tuple(chain), active)

    @contextmanager
    def _mounted(self, chain: tuple[SnapshotId, ...], active: SnapshotId | None) -> Iterator[Path]:
        with self._area.used(chain, active):
            overlay = self._overlay(chain, active)
            point = self._take_point()
            try:
                mount_overlay(overlay, os.fsencode(point))
                try:
                    yield Path(point)
                finally:
                    gone = unmount(os.fsencode(point))
                    if gone and overlay.work is not None:
                        _remove_work(overlay.work)
            finally:
                with self._lock:
                    self._free_points.append(point)

    def _overlay(self, chain: tuple[SnapshotId, ...], active: SnapshotId | None) -> Overlay:
        """What is to be mounted, made ready."""
        try:
            lowers = self._lowers(chain)
            lowers.reverse()
            upper = work = None
            if active is not None:
                home = os.fsencode(self._area.home(active))
                upper, work = home + b"/fs", home + b"/work"
                _make_work(work)
                if lowers:
                    _inherit_root(lowers[0], upper)
        except OSError as error:
            raise mount_error(error) from error
        if len(lowers) + (upper is not None) < 2:
            lowers.extend(self._empty if not lowers else self._empty[:1])
        return Overlay(lowers, upper, work, self.flavour is USER)

    def _take_point(self) -> str:
        """Mount points are used again: making and removing one costs more than the rest of the bookkeeping."""
        with self._lock:
            if self._free_points:
                return self._free_points.pop()
            self._next_point += 1
            point = f"{self._mounts}/{self._next_point}"
        try:
            os.makedirs(point, 0o700, exist_ok=True)
        except OSError as error:
            raise mount_error(error) from error
        return point

    def remove(self, snapshot: SnapshotId) -> None:
        self._area.remove(snapshot)
        for key in os.listdir(self._flat):
            if snapshot in _members(self._flat, key):
                remove_tree(f"{self._flat}/{key}")

    def cleanup(self) -> None:
        for point in mount_points_below(self.root):
            unmount(os.fsencode(point), patience=0)
        for name in os.listdir(self._mounts):
            if f"{self._mounts}/{name}" not in self._free_points:
                os.rmdir(f"{self._mounts}/{name}")
        self._area.cleanup()
        there = set(self._area.walk())
        for key in os.listdir(self._flat):
            if key.startswith(".") or not there.issuperset(_members(self._flat, key)):
                remove_tree(f"{self._flat}/{key}")

    def _lowers(self, chain: tuple[SnapshotId, ...]) -> list[bytes]:
        """The directories to stack, the lowest first. Long chains are shortened."""
        root = os.fsencode(self.root)
        lowers = [_Lower((snapshot,), b"%b/%b/fs" % (root, snapshot.encode())) for snapshot in chain]
        while len(lowers) > self._limit:
            # The first group most likely holds a base image: squashing that would link many files for little.
            rest = lowers[SQUASH_GROUP:]
            full = len(rest) - len(rest) % SQUASH_GROUP
            groups = [rest[start : start + SQUASH_GROUP] for start in range(0, full, SQUASH_GROUP)]
            lowers = [*lowers[:SQUASH_GROUP], *map(self._squashed, groups), *rest[full:]]
        return [lower.path for lower in lowers]

    def _squashed(self, group: Sequence[_Lower]) -> _Lower:
        members = tuple(member for lower in group for member in lower.members)
        listing = " ".join(members)
        key = hashlib.sha256(listing.encode()).hexdigest()[:24]
        path = f"{self._flat}/{key}"
        with self._lock:
            turn = self._squashing.setdefault(key, threading.Lock())
        with turn:
            if not os.path.isdir(path):
                unfinished = f"{self._flat}/.{key}-{secrets.token_hex(4)}"
                try:
                    os.makedirs(f"{unfinished}/fs", 0o755)
                    layers = [lower.path for lower in reversed(group)]
                    link_merged(layers, os.fsencode(f"{unfinished}/fs"), self.flavour, squash=True)
                    Path(unfinished, "members").write_text(listing, encoding="ascii")
                    os.rename(unfinished, path)
                except OSError as error:
                    remove_tree(unfinished)
                    raise storage_error(error, f"can't squash {len(members)} layers") from error
        with self._lock:
            self._squashing.pop(key, None)
        return _Lower(members, os.fsencode(f"{path}/fs"))


class _Lower(NamedTuple):
    members: tuple[SnapshotId, ...]
    path: bytes


def _members(flat: Path, key: str) -> frozenset[str]:
    try:
        return frozenset((flat / key / "members").read_text(encoding="ascii").split())
    except FileNotFoundError:
        return frozenset()


def _inherit_root(lower: bytes, upper: bytes) -> None:
    """The root directory of the top layer is the one that shows. An untouched one takes after the layer below."""
    below, own = os.lstat(lower), os.lstat(upper)
    if (below.st_mode, below.st_uid, below.st_gid) != (own.st_mode, own.st_uid, own.st_gid) and not os.listdir(upper):
        copy_attributes(lower, below, upper)


def _make_work(work: bytes) -> None:
    try:
        os.mkdir(work, 0o700)
    except FileExistsError:  # a mount that had to be detached; its `volatile` mark would refuse another mount
        remove_tree(os.fsdecode(work))
        os.mkdir(work, 0o700)


def _remove_work(work: bytes) -> None:
    """What a volatile mount leaves is known; anything else takes the slow way."""
    try:
        os.unlink(work + b"/work/incompat/volatile/dirty")
        for name in (b"/work/incompat/volatile", b"/work/incompat", b"/work", b""):
            os.rmdir(work + name)
    except OSError:
        remove_tree(os.fsdecode(work))
