"""No line twice, and none missing without a word: frames of one connection after the other in, events out.

A source's lines are numbered as long as one memlogd knows its name. After a lost connection to the same memlogd,
what was seen is dropped, and what fell out of its memory meanwhile is a gap. Another memlogd counts anew: what the
one before had taken and not handed on is lost, and so is what was written to it when it had stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from boatyard.logs import frames
from boatyard.logs.events import CaughtUp, Event, Gap, Hello, Known, Lines, Lost, Stopped
from boatyard.logs.frames import Frame
from boatyard.logs.wording import GONE, OWN_NAME, SLOW

DOUBT = 20.0
"""Seconds after a memlogd was killed in which a source may come back that nobody heard of."""
NAMES = 20_000
"""Sources that are remembered beside those that are open; the ones that were quiet the longest are forgotten
first."""


class Continuity:
    """One per reader; it has to ask for states. `complete`: the reader wants every line from a source's first on,
    so those that were gone before it came are a gap, too. `identity` and `open` (the sources that had not ended)
    are where an earlier reader stopped, `numbers` the last lines it had, by the memlogd that counted them."""

    def __init__(
        self,
        *,
        complete: bool = False,
        identity: str | None = None,
        numbers: Mapping[str, Mapping[bytes, int]] | None = None,
        open: Iterable[bytes] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._complete = complete
        self._identity = identity
        self._earlier = dict(numbers or {})
        self._numbers: dict[bytes, int] = dict(self._earlier.get(identity or "", {}))
        self._open: set[bytes] = set(open)
        self._awaited: dict[bytes, int] = {}
        """Until caught up: the last number each source should have by then."""
        self._before: set[bytes] = set()
        """Sources that were open when the connection was lost."""
        self._caught_up = False
        self._doubtful: set[bytes] | None = None
        """After a memlogd was killed: the sources whose loss was told. Others may have lost lines, too, which nobody
        knows: that they existed wasn't handed on."""
        self._doubtful_until = 0.0
        self._clock = clock

    def take(self, frame: Frame) -> Iterator[Event]:
        """What a frame means; to be iterated to the end."""
        if frame.kind == frames.LINES:
            yield from self._lines(frame)
        elif frame.kind == frames.GAP:
            yield from self._missing(frame.name, frame.number, frame.number + frame.count - 1, SLOW)
        elif frame.kind == frames.SOURCE:
            yield from self._state(frame.name, frame.time, frame.number, bool(frame.flags & frames.OPEN))
        elif frame.kind == frames.HELLO:
            yield from self._hello(frame.payload.decode("ascii", "replace"), bool(frame.flags & frames.ORPHAN))
        elif frame.kind == frames.CAUGHT_UP:
            for name, number in self._awaited.items():
                if name in self._numbers:
                    yield from self._missing(name, number, number, GONE)
                else:
                    self._numbers[name] = number
            # memlogd doesn't know them any more, and how many lines they had after those that were seen.
            yield from [Lost(name, self._numbers.get(name, 0)) for name in sorted(self._before - self._awaited.keys())]
            self._awaited.clear()
            self._caught_up = True
            self._forget()
            yield CaughtUp()
        elif frame.kind == frames.STOPPED:
            yield Stopped()

    def _hello(self, identity: str, orphan: bool) -> Iterator[Event]:
        another = identity != self._identity
        self._before = set() if another else self._open
        if self._identity is not None and another:
            # Even one that stopped in order has closed what was still being written to.
            yield from [Lost(name, self._numbers.get(name, 0)) for name in sorted(self._open)]
            self._numbers = dict(self._earlier.get(identity, {}))
            self._complete = True
        if another and orphan:
            self._doubtful, self._doubtful_until = set(self._open), self._clock() + DOUBT
        self._open = set()
        self._awaited.clear()
        self._caught_up = False
        self._identity = identity
        self._earlier.clear()
        if another:
            yield Hello(identity)

    def _state(self, name: bytes, base: int, number: int, is_open: bool) -> Iterator[Event]:
        last = self._numbers.get(name)
        if self._doubtful is not None and last is None and name not in self._doubtful and name != OWN_NAME:
            if self._clock() < self._doubtful_until:
                yield Lost(name, 0)
            else:
                self._doubtful = None
        if last is None:
            # Complete, or it appeared before our eyes: seen from its first line. Else from the first that is told.
            if self._complete or self._caught_up:
                self._numbers[name] = base
        elif last < base:
            # memlogd had forgotten it. Who was connected all the time has had all of it.
            if not self._caught_up:
                yield Lost(name, last)
            self._numbers[name] = base
        if self._caught_up:
            yield from self._missing(name, number, number, GONE)
        else:
            self._awaited[name] = number
        if is_open:
            self._open.add(name)
        else:
            self._open.discard(name)
        yield Known(name, base, number, is_open)

    def _lines(self, frame: Frame) -> Iterator[Event]:
        name, data, number, count = frame.name, frame.payload, frame.number, frame.count
        if number:
            last = self._numbers.get(name, number - 1)
            if number + count - 1 <= last:
                return
            if number <= last:
                data = data[_line_offset(data, last + 1 - number) :]
                number, count = last + 1, count - (last + 1 - number)
            elif number > last + 1:
                yield from self._missing(name, number - 1, number - 1, GONE)
            self._numbers[name] = number + count - 1
        yield Lines(name, frame.time, number, count, data, bool(frame.flags & frames.GOES_ON))

    def _missing(self, name: bytes, first: int, last: int, why: str) -> Iterator[Event]:
        """Lines up to `last` won't come. `first` counts for a source that isn't known."""
        known = self._numbers.get(name, first - 1)
        if last > known:
            self._numbers[name] = last
            yield Gap(name, known + 1, last - known, why)

    def _forget(self) -> None:
        if len(self._numbers) > NAMES + len(self._open):
            for name in [name for name in self._numbers if name not in self._open][: NAMES // 2]:
                del self._numbers[name]


def _line_offset(data: bytes, lines: int) -> int:
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at
