"""Which snapshot has which file of a client's directory.

When a step copies from a client's directory, it leaves a note: the layer it made, and for each regular file in it the
digest of the bytes and the metadata. The next time the same step runs, a file with the same digest and metadata is
hard-linked from that layer's snapshot, which nobody ever changes, and isn't read at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from boatyard.errors import NotFoundError
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.paths.beneath import open_directory

VERSION = 1


class Copied(NamedTuple):
    """What counts of a file for another one to be a hard link of it."""

    digest: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int


class Note(msgspec.Struct, frozen=True):
    """`files`: by the path in the layer. Files with xattrs or several names aren't noted."""

    layer: str
    files: Mapping[str, Copied]


class _Saved(msgspec.Struct, array_like=True):
    version: int
    layer: str
    directories: dict[bytes, list[tuple[bytes, Copied]]]


_decoder = msgspec.msgpack.Decoder(_Saved)


def encode(note: Note) -> bytes:
    directories: dict[bytes, list[tuple[bytes, Copied]]] = {}
    for path, copied in note.files.items():
        above, _, name = path.encode("utf-8", "surrogateescape").rpartition(b"/")
        directories.setdefault(above, []).append((name, copied))
    return msgspec.msgpack.encode(_Saved(VERSION, note.layer, directories))


def decode(data: bytes) -> Note | None:
    """None for a note of another version, or a damaged one."""
    try:
        saved = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if saved.version != VERSION:
        return None
    files = {}
    for raw, entries in saved.directories.items():
        above = f"{raw.decode('utf-8', 'surrogateescape')}/" if raw else ""
        for name, copied in entries:
            files[above + name.decode("utf-8", "surrogateescape")] = copied
    return Note(saved.layer, files)


class Reuse:
    """The files of an earlier snapshot, to link from. Owned by one step."""

    def __init__(self, directory: Path, note: Note) -> None:
        self.files = note.files
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_directory(self, path: str) -> int | None:
        """The directory in the snapshot; the caller closes it."""
        try:
            return open_directory(self._descriptor, path)
        except OSError:
            return None

    def close(self) -> None:
        os.close(self._descriptor)


def open_reuse(store: LayerStore, note: Note | None) -> Reuse | None:
    """The snapshot that a note speaks of, if it is still there."""
    if note is None or not note.files:
        return None
    layer = LayerId(note.layer)
    try:
        if store.get(layer).snapshot is None:
            return None
        (directory,) = store.directories((layer,))
        return Reuse(directory, note)
    except (NotFoundError, FileNotFoundError):
        return None
