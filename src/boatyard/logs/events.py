"""What a reader learns, whichever memlogd it talks to and however often the connection was lost."""

from __future__ import annotations


class Lines:
    """Whole lines of one source that were complete at one moment, each with its newline. `number`: of the first, 0
    when memlogd doesn't count (LinuxKit's). `goes_on`: the source's next line continues the last one."""

    __slots__ = ("count", "data", "goes_on", "number", "source", "time")

    def __init__(self, source: bytes, time: int, number: int, count: int, data: bytes, goes_on: bool = False) -> None:
        self.source = source
        self.time = time
        self.number = number
        self.count = count
        self.data = data
        self.goes_on = goes_on


class Gap:
    """Lines that will never come: `count` of them, from `number` on. `why` goes into a sentence."""

    __slots__ = ("count", "number", "source", "why")

    def __init__(self, source: bytes, number: int, count: int, why: str) -> None:
        self.source = source
        self.number = number
        self.count = count
        self.why = why


class Lost:
    """memlogd was killed, or ended. What it had not handed on of this source, after the line `number`, is lost, and
    nobody knows how much that was. `number` 0: perhaps there was something."""

    __slots__ = ("number", "source")

    def __init__(self, source: bytes, number: int) -> None:
        self.source = source
        self.number = number


class Known:
    """How a source is: its lines are numbered from `base` + 1 on, up to `number` so far; whether a descriptor is
    open."""

    __slots__ = ("base", "number", "open", "source")

    def __init__(self, source: bytes, base: int, number: int, open: bool) -> None:
        self.source = source
        self.base = base
        self.number = number
        self.open = open


class Hello:
    """Another memlogd than before answers (or the first one). `identity` is empty for one that has none."""

    __slots__ = ("identity",)

    def __init__(self, identity: str) -> None:
        self.identity = identity


class CaughtUp:
    """What was there when the reader came has been told."""

    __slots__ = ()


class Stopped:
    """memlogd was told to stop, and has handed on everything."""

    __slots__ = ()


Event = Lines | Gap | Lost | Known | Hello | CaughtUp | Stopped
