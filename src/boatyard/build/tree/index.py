"""What is known of a client's directory from the last time it was looked at: each file's status and the digest of its
bytes. As long as the status is the same, the file isn't read again; git's index works alike.

A digest is trusted only if the file was last changed well before it was read: a file changed twice within one tick of
the file system's clock has the same status and other bytes. Nobody can set the change time (ctime), so programs that
put back the modification time are seen, too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from boatyard.build.tree.node import NO_XATTRS, Node, join

log = logging.getLogger(__name__)

VERSION = 1
TICK_NS = 20_000_000
"""The clock of local file systems is read at timer interrupts."""
COARSE_TICK_NS = 2_000_000_000
"""Of file systems that keep whole seconds."""
SAVE_AFTER = 4 << 20
"""Bytes read anew (plus some for each file) that make it worth writing the index to disk."""
FILE_COST = 4096
MOST_INDEXES = 8
"""Kept in memory."""
MOST_FILES = 64
"""Kept on disk."""


class LocalNode(Node, gc=False):
    """A name in a client's directory. Owners are not what they are there: see `scan`."""

    changed_ns: int = 0
    """ctime"""
    racy: bool = False
    """It was changed so shortly before it was read that the next change may not show in its status."""


def is_racy(node: LocalNode, now_ns: int) -> bool:
    """Whether a change after `now_ns` could leave the status as it is."""
    tick = TICK_NS if node.changed_ns % 1_000_000_000 else COARSE_TICK_NS
    return node.changed_ns > now_ns - tick


_Row = tuple[bytes, int, int, int, int, int, int, int, int, bytes, dict[str, bytes]]
"""Name, mode, size, mtime, ctime, links, device, inode, rdev, digest, xattrs. Only of regular files."""


class _Saved(msgspec.Struct, array_like=True):
    version: int
    directories: dict[bytes, list[_Row]]


_decoder = msgspec.msgpack.Decoder(_Saved)
_encoder = msgspec.msgpack.Encoder()


class StatIndex:
    """Of one directory. `lock` is held while it is looked at or changed; nodes that were handed out don't change but
    for what is learned."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self.directories: dict[str, dict[str, LocalNode]] = _load(path)
        self._path = path
        self._unsaved = 0

    def keep(self, directory: str, found: dict[str, LocalNode], *, whole: bool) -> None:
        """What a directory holds now; not `whole`: only some of its names were looked at."""
        if whole:
            self.directories[directory] = found
        else:
            self.directories[directory] = {**self.directories.get(directory, {}), **found}

    def drop_others(self, directories: Mapping[str, object]) -> None:
        """The whole tree was looked at: what isn't in it is gone."""
        for directory in self.directories.keys() - directories.keys():
            del self.directories[directory]

    def was_read(self, size: int) -> None:
        self._unsaved += size + FILE_COST

    def save(self, *, always: bool = False) -> None:
        """Write it to disk if enough has changed: losing some of it costs reading some files again."""
        if not self._unsaved or (self._unsaved < SAVE_AFTER and not always):
            return
        with self.lock:
            saved = _Saved(
                VERSION,
                {
                    directory.encode("utf-8", "surrogateescape"): [
                        _row(name, node)
                        for name, node in names.items()
                        if node.learned and not node.racy and node.is_regular
                    ]
                    for directory, names in self.directories.items()
                },
            )
            self._unsaved = 0
        temporary = self._path.with_suffix(f".{os.urandom(4).hex()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_encoder.encode(saved))
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning("can't keep what is known of a context: %s", error)
            temporary.unlink(missing_ok=True)


def _row(name: str, node: LocalNode) -> _Row:
    return (
        name.encode("utf-8", "surrogateescape"),
        node.mode,
        node.size,
        node.mtime_ns,
        node.changed_ns,
        node.nlink,
        node.device,
        node.inode,
        node.rdev,
        node.digest,
        dict(node.xattrs),
    )


def _load(path: Path) -> dict[str, dict[str, LocalNode]]:
    try:
        saved = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        log.warning("what was known of a context is unreadable and is gathered again: %s", error)
        return {}
    if saved.version != VERSION:
        return {}
    directories = {}
    for raw, rows in saved.directories.items():
        directory = raw.decode("utf-8", "surrogateescape")
        directories[directory] = {node.name: node for node in (_of_row(directory, row) for row in rows)}
    return directories


def _of_row(directory: str, row: _Row) -> LocalNode:
    name, mode, size, mtime, changed, links, device, inode, rdev, digest, xattrs = row
    return LocalNode(
        join(directory, name.decode("utf-8", "surrogateescape")),
        mode,
        0,
        0,
        size,
        mtime,
        links,
        device,
        inode,
        rdev,
        digest=digest,
        xattrs=xattrs or NO_XATTRS,
        changed_ns=changed,
        learned=True,
    )


class StatIndexes:
    """The indexes of all directories, below `directory`. One per daemon; thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._indexes: dict[str, StatIndex] = {}

    def of(self, identity: str) -> StatIndex:
        """Of the directory that a client names so."""
        with self._lock:
            index = self._indexes.pop(identity, None)
            if index is None:
                name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
                index = StatIndex(self._directory / f"{name}.index")
                drop_oldest(self._directory, MOST_FILES, ".index")
            self._indexes[identity] = index
            while len(self._indexes) > MOST_INDEXES:
                self._indexes.pop(next(iter(self._indexes)))
            return index


def drop_oldest(directory: Path, most: int, suffix: str) -> None:
    """Keep the youngest files with that suffix of a directory in which others are at work, too."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if os.path.splitext(entry.name)[1] != suffix:
                    continue
                try:
                    found.append((entry.stat().st_mtime_ns, entry.path))
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        return
    for _, path in sorted(found)[: max(len(found) - most, 0)]:
        with suppress(FileNotFoundError):
            os.unlink(path)
