"""What the builder has solved, or will when its files are asked for."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from boatyard._pb import fsutil_pb2

_GO_DIRECTORY = 1 << 31
_GO_LINK = 1 << 27


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or link in a result. `mode` are the permission bits, `modified` seconds since the epoch."""

    name: str
    size: int = 0
    mode: int = 0
    modified: float = 0.0
    is_directory: bool = False
    link: str = ""
    """What a symbolic link says."""

    @property
    def is_link(self) -> bool:
        return bool(self.link)


def entry(message: fsutil_pb2.Stat) -> Entry:
    """Modes travel as Go's numbers."""
    return Entry(
        name=posixpath.basename(message.path.rstrip("/")) or "/",
        size=message.size,
        mode=stat.S_IMODE(message.mode & 0o777),
        modified=message.modTime / 1e9,
        is_directory=bool(message.mode & _GO_DIRECTORY),
        link=message.linkname if message.mode & _GO_LINK else "",
    )


class Reader(Protocol):
    """What a reference asks of its bridge."""

    async def read(self, id: str, path: str, offset: int, length: int | None) -> bytes: ...
    async def list(self, id: str, path: str, pattern: str) -> Sequence[Entry]: ...
    async def stat(self, id: str, path: str) -> Entry: ...
    async def evaluate(self, id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Reference:
    """A result that the builder holds for this frontend. `id` "" is the empty tree."""

    id: str
    reader: Reader = field(repr=False)

    async def read_file(self, path: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """BridgeError, `missing`, when it isn't there."""
        return await self.reader.read(self.id, path, offset, length)

    async def read_dir(self, path: str, *, pattern: str = "") -> Sequence[Entry]:
        return await self.reader.list(self.id, path, pattern)

    async def stat(self, path: str) -> Entry:
        return await self.reader.stat(self.id, path)

    async def evaluate(self) -> None:
        """Return when it is built; raise what building it failed with."""
        if self.id:
            await self.reader.evaluate(self.id)


@dataclass(frozen=True, slots=True)
class Solution:
    """What another frontend gave: one result, or one for each platform, and what it says of them
    (`containerimage.config`, `result.json`, ...)."""

    reference: Reference | None = None
    references: Mapping[str, Reference] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)
