"""Snapshots, as a protocol: the files of one layer, unpacked.

A snapshot holds what *one* layer adds, changes and removes, in overlayfs form: a removed name is a character device
0/0, a directory that hides everything below it carries the xattr `trusted.overlay.opaque` = `y` (`user.overlay.opaque`
rootless). It has no parent: a root file system is a *chain* of snapshots, lowest first, and the same snapshot may stand
in many chains. That is what makes merges and `COPY --link` free (docs/adr/0002).

Life cycle: `prepare` gives an active snapshot that its owner may write to, through `directory` or through a writable
mount of a chain with it on top; `commit` makes it immutable and shareable; `remove` deletes it. Active snapshots don't
survive a restart of the daemon. All methods block.

A file that is hard-linked into an active snapshot shares its inode with others, and a writable mount writes to the
files of the active snapshot in place. So a snapshot with such files is committed as it is, and never mounted writable.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, NewType, Protocol

SnapshotId = NewType("SnapshotId", str)


class Usage(NamedTuple):
    bytes: int
    """Disk space of files, hard links counted once."""
    inodes: int


class Snapshotter(Protocol):
    name: str

    def prepare(self) -> SnapshotId:
        """A new, empty, active snapshot, its root directory 0755 root:root."""

    def directory(self, snapshot: SnapshotId) -> Path:
        """The directory with the snapshot's own files. Only the owner of an active snapshot writes there."""

    def mount(self, chain: Sequence[SnapshotId], *, active: SnapshotId | None = None) -> AbstractContextManager[Path]:
        """The merged tree of a chain (lowest first). Read-only, or writable with the changes going to `active`.
        An empty chain is an empty tree. Handles chains of any length."""

    def commit(self, snapshot: SnapshotId) -> None: ...
    def exists(self, snapshot: SnapshotId) -> bool:
        """Whether it is there and committed."""

    def usage(self, snapshot: SnapshotId) -> Usage: ...
    def remove(self, snapshot: SnapshotId) -> None:
        """Idempotent. ConflictError while a mount made here uses it."""

    def walk(self) -> Sequence[SnapshotId]:
        """Every committed snapshot on disk."""

    def cleanup(self) -> None:
        """At start: drop what a killed daemon left (active snapshots, mount points, flattened chains of removed
        ones)."""
