"""The stream that Boatyard's own readers ask memlogd for: chunks of lines as they are, with numbers, and what is
missing.

A client of LinuxKit's protocol writes one byte and reads JSON. Ours writes that byte and, with the same call, a
request (`request.py`). LinuxKit's memlogd reads the byte only, and answers in JSON; ours sees the rest, and answers
with frames. So one connection finds out whom it talks to, and never waits for it.

A frame is a header, a source's name, and a payload. All integers are big-endian.

    byte     kind, one of the letters below
    byte     flags
    uint16   bytes of the name
    uint32   bytes of the payload
    uint32   count of lines
    uint64   number of the first line: a source's lines are numbered one by one as long as memlogd knows its name
    uint64   moment, nanoseconds since 1970

    H  hello, the first frame: the payload is this memlogd's name for itself, another one after each start. Flag 1: the
       one before was killed
    L  lines: whole, each with its newline. Flag 1: the last one goes on in the source's next line
    G  gap: `count` lines from `number` on were dropped, because this reader was too slow
    S  a source: its last line so far has `number`, its first the one after `moment`'s. Flag 1: a descriptor is open.
       Sent behind the hello for all that are known, and later in its place when the first descriptor comes or the last
       goes
    C  caught up: everything before was there when the reader came, what follows is new
    Z  memlogd was told to stop, and has handed on all that it had
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HELLO = ord("H")
LINES = ord("L")
GAP = ord("G")
SOURCE = ord("S")
CAUGHT_UP = ord("C")
STOPPED = ord("Z")

GOES_ON = 1
OPEN = 1
ORPHAN = 1

MAGIC = b"H\x00"
"""What a stream of frames begins with; LinuxKit's begins with `{`."""

_HEADER = struct.Struct(">BBHIIQQ")
MAX_PAYLOAD = 1 << 24


class Frame:
    """One of the above, decoded."""

    __slots__ = ("count", "flags", "kind", "name", "number", "payload", "time")

    def __init__(
        self,
        kind: int,
        *,
        flags: int = 0,
        name: bytes = b"",
        payload: bytes = b"",
        count: int = 0,
        number: int = 0,
        time: int = 0,
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.name = name
        self.payload = payload
        self.count = count
        self.number = number
        self.time = time

    def encode(self) -> bytes:
        return (
            _HEADER.pack(self.kind, self.flags, len(self.name), len(self.payload), self.count, self.number, self.time)
            + self.name
            + self.payload
        )


class Decoder:
    """Bytes in whatever pieces, frames out. ValueError when it can't be a stream of frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now; to be iterated to the end."""
        if self._rest:
            data = self._rest + data
        at = 0
        while len(data) - at >= _HEADER.size:
            kind, flags, name_size, size, count, number, time = _HEADER.unpack_from(data, at)
            if size > MAX_PAYLOAD:
                raise ValueError(f"a frame of {size} bytes")
            name_end = at + _HEADER.size + name_size
            end = name_end + size
            if end > len(data):
                break
            name, payload = data[at + _HEADER.size : name_end], data[name_end:end]
            at = end
            yield Frame(kind, flags=flags, name=name, payload=payload, count=count, number=number, time=time)
        self._rest = data[at:]

    def __bool__(self) -> bool:
        """Whether something incomplete is left."""
        return bool(self._rest)
