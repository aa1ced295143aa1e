"""The forms in which lines leave memlogd: LinuxKit's JSON and its text, and frames."""

from __future__ import annotations

from boatyard.logs import frames, jsonlines, wording
from boatyard.logs.events import Gap
from boatyard.logs.frames import Frame
from boatyard.logs.memlogd.chunk import Held
from boatyard.logs.wording import OWN_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would be a tenth of memlogd's start
    from typing import Protocol

    class Form(Protocol):
        """Each method gives the bytes to send: none where a form has no words for it."""

        def hello(self, identity: str, orphan: bool) -> bytes: ...
        def lines(self, held: Held) -> bytes: ...
        def gap(self, source: bytes, number: int, count: int, time: int) -> bytes: ...
        def state(self, source: bytes, base: int, number: int, is_open: bool) -> bytes: ...
        def caught_up(self) -> bytes: ...
        def stopped(self) -> bytes: ...


_RECENT = 8


class LineForm:
    """JSON or text, for any number of readers. Those that keep pace ask for the same chunks: the last few are
    kept."""

    def __init__(self, *, text: bool) -> None:
        self._write = jsonlines.texts if text else jsonlines.objects
        self._recent: dict[int, bytes] = {}

    def hello(self, identity: str, orphan: bool) -> bytes:
        return b""

    def lines(self, held: Held) -> bytes:
        chunk = held.chunk
        if held.skip:
            return self._write(chunk.time, chunk.source.name, held.data())
        written = self._recent.get(chunk.index)
        if written is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            written = self._recent[chunk.index] = self._write(chunk.time, chunk.source.name, chunk.data)
        return written

    def gap(self, source: bytes, number: int, count: int, time: int) -> bytes:
        """A line like any other, because LinuxKit's readers know nothing else."""
        return self._write(time, OWN_NAME, wording.gap(Gap(source, number, count, wording.SLOW)))

    def state(self, source: bytes, base: int, number: int, is_open: bool) -> bytes:
        return b""

    def caught_up(self) -> bytes:
        return b""

    def stopped(self) -> bytes:
        return b""


class FrameForm:
    """`states`: whether the reader wants to know how sources are."""

    def __init__(self, states: bool) -> None:
        self._states = states

    def hello(self, identity: str, orphan: bool) -> bytes:
        return Frame(frames.HELLO, flags=frames.ORPHAN if orphan else 0, payload=identity.encode()).encode()

    def lines(self, held: Held) -> bytes:
        chunk = held.chunk
        return Frame(
            frames.LINES,
            flags=frames.GOES_ON if chunk.goes_on else 0,
            name=chunk.source.name,
            payload=held.data(),
            count=chunk.count - held.skip,
            number=chunk.number + held.skip,
            time=chunk.time,
        ).encode()

    def gap(self, source: bytes, number: int, count: int, time: int) -> bytes:
        return Frame(frames.GAP, name=source, count=count, number=number, time=time).encode()

    def state(self, source: bytes, base: int, number: int, is_open: bool) -> bytes:
        if not self._states:
            return b""
        flags = frames.OPEN if is_open else 0
        return Frame(frames.SOURCE, flags=flags, name=source, number=number, time=base).encode()

    def caught_up(self) -> bytes:
        return Frame(frames.CAUGHT_UP).encode()

    def stopped(self) -> bytes:
        return Frame(frames.STOPPED).encode()
