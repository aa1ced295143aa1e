"""How far a source's file goes: kept beside it, so that a logwrite that was killed goes on with the very next line.

Not written a line at a time. It says which line one place in the file belongs to, and what comes behind that place is
counted when it is needed. It changes when the file does (rotation), when memlogd does, and when the source ends.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

DIRECTORY = ".logwrite"
_SUFFIX = ".position"


class Position:
    """Behind `offset` in the file `inode`, lines go on with the one after `number`, counted by memlogd `identity`.
    `ended`: nothing comes after it. `born`: when the file's first line was written, seconds since 1970."""

    __slots__ = ("born", "ended", "identity", "inode", "number", "offset", "source")

    def __init__(
        self, source: bytes, identity: str, number: int, inode: int, offset: int, born: int, ended: bool
    ) -> None:
        self.source = source
        self.identity = identity
        self.number = number
        self.inode = inode
        self.offset = offset
        self.born = born
        self.ended = ended

    def encode(self) -> bytes:
        fields = (self.identity or "-", self.number, self.inode, self.offset, self.born, int(self.ended))
        return " ".join(str(field) for field in fields).encode() + b"\n" + self.source


def decode(data: bytes) -> Position | None:
    """None for what was damaged: the source is then new."""
    head, newline, source = data.partition(b"\n")
    try:
        identity, number, inode, offset, born, ended = head.decode("ascii").split(" ")
        if not newline:
            return None
        return Position(
            source,
            "" if identity == "-" else identity,
            int(number),
            int(inode),
            int(offset),
            int(born),
            ended == "1",
        )
    except ValueError:
        return None


class Positions:
    """All of a log directory. `sync`: an update survives a power cut, too."""

    def __init__(self, log_directory: Path, *, sync: bool) -> None:
        self._directory = log_directory / DIRECTORY
        self._sync = sync

    def load(self) -> list[Position]:
        found = []
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        for name in names:
            if name.endswith(_SUFFIX):
                position = decode((self._directory / name).read_bytes())
                if position is not None:
                    found.append(position)
        return found

    def read(self, stem: str) -> Position | None:
        try:
            return decode((self._directory / (stem + _SUFFIX)).read_bytes())
        except FileNotFoundError:
            return None

    def store(self, stem: str, position: Position) -> None:
        self._write(stem + _SUFFIX, position.encode())

    def remove(self, stem: str) -> None:
        (self._directory / (stem + _SUFFIX)).unlink(missing_ok=True)

    @property
    def identity(self) -> str | None:
        """Of the memlogd that was read last."""
        try:
            return (self._directory / "memlogd").read_text("ascii", "replace")
        except FileNotFoundError:
            return None

    def store_identity(self, identity: str) -> None:
        self._write("memlogd", identity.encode())

    def _write(self, name: str, data: bytes) -> None:
        draft = self._directory / f"{name}.draft"
        try:
            descriptor = _create(draft)
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = _create(draft)
        try:
            os.write(descriptor, data)
            if self._sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(draft, self._directory / name)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def last_number(data: bytes, number: int, source: bytes) -> int:
    """The number of the last line in `data`, which begins behind line `number`. Lines of somebody else don't count;
    what logwrite says about missing ones does."""
    gap_end = 0
    for match in _GAP.finditer(data):
        gap_end, number = match.end(), int(match[1])
    lines = re.compile(_MOMENT + rb" " + re.escape(source) + rb" ", re.MULTILINE)
    return number + sum(1 for _ in lines.finditer(data, gap_end))


_MOMENT = rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_GAP = re.compile(_MOMENT + rb" logwrite .* missing here, numbers \d+ to (\d+): .*\n", re.MULTILINE)
