"""Whole lines out of what was read, whatever pieces it came in.

Lines end with LF; one CR before it belongs to the end. Everything else is content: NUL, other controls, bytes that
are no UTF-8. Work is done a read at a time, not a line at a time: the common case (short lines, no CR) costs a few
scans in C.
"""

from __future__ import annotations

Piece = tuple[bytes, bool]
"""Whole lines, each with its newline, and whether the last one goes on in the next piece (`split` only)."""


class Cutter:
    """The state of one descriptor between two reads: the beginning of a line that isn't complete. It holds at most
    one byte more than a line may have."""

    __slots__ = ("_length", "_skipping", "_split", "_tail")

    def __init__(self, length: int, *, split: bool = False) -> None:
        self._length = length
        self._split = split
        self._tail = b""
        self._skipping = False
        """The line in `_tail` is too long: what comes before its end is dropped."""

    def cut(self, data: bytes) -> list[Piece]:
        """What is complete now that `data` (not empty) was read."""
        pieces: list[Piece] = []
        if self._skipping:
            end = data.find(b"\n")
            if end < 0:
                return pieces
            pieces.append((self._tail[: self._length] + b"\n", False))
            self._tail, self._skipping = b"", False
            data = data[end + 1 :]
        end = data.rfind(b"\n") + 1
        if end:
            whole = self._tail + data if end == len(data) else self._tail + data[:end]
            self._tail = data[end:]
            if b"\r" in whole:
                whole = whole.replace(b"\r\n", b"\n")
            if len(whole) > self._length + 1 and _any_longer(whole, self._length):
                pieces += _split(whole, self._length) if self._split else [(_truncated(whole, self._length), False)]
            else:
                pieces.append((whole, False))
        else:
            self._tail += data
        if len(self._tail) > self._length:
            self._shorten(pieces)
        return pieces

    def end(self) -> list[Piece]:
        """The descriptor ended: what it left without a newline is a line, too."""
        tail, self._tail, self._skipping = self._tail, b"", False
        if not tail:
            return []
        if self._split and len(tail) > self._length:
            return _split(tail + b"\n", self._length)
        return [(tail[: self._length] + b"\n", False)]

    def _shorten(self, pieces: list[Piece]) -> None:
        """The unfinished line is longer than a line may be. One byte more is kept than that: it may be the CR of its
        end."""
        if not self._split:
            self._skipping = len(self._tail) > self._length + 1
            self._tail = self._tail[: self._length + 1]
            return
        complete = (len(self._tail) - 1) // self._length
        if len(self._tail) == complete * self._length + 1 and self._tail.endswith(b"\r"):
            complete -= 1
        if complete > 0:
            cut = complete * self._length
            pieces.append((_lines_of(self._tail[:cut], self._length), True))
            self._tail = self._tail[cut:]


def _any_longer(whole: bytes, length: int) -> bool:
    """Whether any line is longer than `length`: one look backwards from where it would have to end."""
    at, last = 0, len(whole) - length - 1
    while at < last:
        newline = whole.rfind(b"\n", at, at + length + 1)
        if newline < 0:
            return True
        at = newline + 1
    return False


def _truncated(whole: bytes, length: int) -> bytes:
    return b"\n".join([line[:length] for line in whole.split(b"\n")])


def _split(whole: bytes, length: int) -> list[Piece]:
    pieces: list[Piece] = []
    short: list[bytes] = []
    for line in whole[:-1].split(b"\n"):
        if len(line) > length:
            if short:
                pieces.append((b"".join(short), False))
                short = []
            cut = (len(line) - 1) // length * length
            pieces.append((_lines_of(line[:cut], length), True))
            line = line[cut:]
        short.append(line + b"\n")
    pieces.append((b"".join(short), False))
    return pieces


def _lines_of(text: bytes, length: int) -> bytes:
    return b"".join([text[at : at + length] + b"\n" for at in range(0, len(text), length)])
