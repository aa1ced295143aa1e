"""Lines as logread prints them: LinuxKit's text and JSON, and one for people."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from boatyard.logs import jsonlines, moment
from boatyard.logs.events import Lines
from boatyard.logs.wording import one_line

Rendered = Callable[[Lines], bytes]

_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


def text(lines: Lines) -> bytes:
    return jsonlines.texts(lines.time, lines.source, lines.data)


def json(lines: Lines) -> bytes:
    return jsonlines.objects(lines.time, lines.source, lines.data)


def coloured(lines: Lines) -> bytes:
    """For a terminal: the time dim, each source in a colour of its own, and nothing in a line that would move the
    cursor or change the terminal's state."""
    colour = _COLOURS[sum(lines.source) % len(_COLOURS)]
    begin = b"\x1b[2m%b\x1b[0m \x1b[%dm%b\x1b[0m " % (
        moment.nano(lines.time).encode(),
        colour,
        _harmless(one_line(lines.source)),
    )
    return begin + _harmless(lines.data[:-1]).replace(b"\n", b"\n" + begin) + b"\n"


def messages(lines: Lines) -> bytes:
    """The lines alone."""
    return lines.data


_HARMLESS = bytes(63 if (code < 32 and code not in (9, 10)) or code == 127 else code for code in range(256))


def _harmless(data: bytes) -> bytes:
    return data.translate(_HARMLESS)


class Tail:
    """The last `count` lines only, of all that are put in. Chunks are kept whole, the first one's beginning is cut
    off at the end."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: deque[Lines] = deque()
        self._lines = 0

    def put(self, lines: Lines) -> None:
        self._held.append(lines)
        self._lines += lines.count
        while self._held and self._lines - self._held[0].count >= self._count:
            self._lines -= self._held.popleft().count

    def take(self) -> list[Lines]:
        """What is held, which is not held any longer."""
        held, self._held = list(self._held), deque()
        surplus, self._lines = self._lines - self._count, 0
        if held and surplus > 0:
            first = held[0]
            at = 0
            for _ in range(surplus):
                at = first.data.index(b"\n", at) + 1
            held[0] = Lines(first.source, first.time, 0, first.count - surplus, first.data[at:], first.goes_on)
        return held
