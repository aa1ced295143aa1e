"""The chunked transfer coding, taken off: bytes in, the bytes that were meant out. Pure.

Specification: RFC 9112, 7.1. Extensions and trailers are read over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LONGEST_LINE = 4096
_MOST_TRAILERS = 100
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?")


class MalformedChunkError(ValueError):
    """The bytes are no chunked body."""


class Chunks:
    """The state between two pieces of a body."""

    def __init__(self) -> None:
        self._line = bytearray()
        """A line of the framing that hasn't ended yet."""
        self._left = 0
        """Bytes of the chunk's data that are to come."""
        self._after_data = False
        self._trailers = -1
        """Lines of trailers; -1: not there yet."""
        self.complete = False
        self.rest = b""
        """What came after the end."""

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """Views of `data`. MalformedChunkError."""
        at = 0
        while at < len(data):
            if self.complete:
                self.rest += bytes(data[at:])
                return
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                self._after_data = not self._left
                yield piece
                continue
            window = bytes(data[at : at + _LONGEST_LINE])
            end = window.find(b"\n")
            self._line += window if end < 0 else window[: end + 1]
            at += len(window) if end < 0 else end + 1
            if len(self._line) > _LONGEST_LINE:
                raise MalformedChunkError("a chunk's header is too long")
            if end >= 0:
                self._end_line()

    def _end_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise MalformedChunkError("a chunk's header doesn't end as a line")
        line = line[:-2]
        if self._after_data:
            if line:
                raise MalformedChunkError("a chunk is longer than its header says")
            self._after_data = False
        elif self._trailers >= 0:
            self._trailers += 1
            self.complete = not line
            if self._trailers > _MOST_TRAILERS:
                raise MalformedChunkError("there are too many trailers")
        else:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise MalformedChunkError("a chunk's header has no length")
            self._left = int(match[1], 16)
            if not self._left:
                self._trailers = 0
