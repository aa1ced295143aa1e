"""`--progress=plain`: a line for everything that happens, each naming its step, for logs and for dumb terminals.

    #7 [2/5] RUN make
    #7 0.123 cc -c main.c
    #7 DONE 0.2s

Lines of steps that run side by side are interleaved as they come, never held back: the number at their start tells
them apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from boatyard.cli import units
from boatyard.cli.render import summary, transfer
from boatyard.cli.render.lines import LogTail, harmless, one_line
from boatyard.cli.render.steps import Step, Steps
from boatyard.cli.style import Style
from boatyard.progress import Event, ExplainEvent, LogEvent, StatusEvent, VertexEvent, WarningEvent

TRANSFER_INTERVAL = 3.0
"""Seconds between two lines about the same transfer."""
ENDED = float("inf")


class PlainRenderer:
    """`raw`: pass log lines on byte for byte (the output is a file or a pipe, not somebody's terminal)."""

    interval: float | None = None

    def __init__(
        self,
        write: Callable[[str], object],
        style: Style,
        *,
        raw: bool = True,
        details: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._style = style
        self._raw = raw
        self._details = details
        self._clock = clock
        self._steps = Steps()
        self._ended: dict[str, VertexEvent] = {}
        self._verdicts: dict[str, str] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._closed = False

    def event(self, event: Event) -> None:
        match event:
            case VertexEvent():
                self._vertex(event)
            case StatusEvent():
                self._status(event)
            case LogEvent():
                self._log(event)
            case WarningEvent():
                self._steps.warnings.append(event)
            case ExplainEvent():
                self._steps.explanations.append(event)

    def tick(self) -> None:
        pass

    def log_of(self, vertex: str) -> LogTail | None:
        step = self._steps.find(vertex)
        return step.log if step else None

    def last_failure(self) -> Sequence[str]:
        return ()

    def close(self, *, failed: bool = False) -> None:
        if self._closed:
            return
        self._closed = True
        for step in self._steps:
            self._flush(step)
        for line in summary.lines(self._steps, self._style, details=self._details):
            self._write(line + "\n")

    def _line(self, step: Step, text: str) -> None:
        self._write(f"#{self._number(step)} {text}\n")

    def _number(self, step: Step) -> int:
        if not step.number:
            number = self._steps.number(step)
            gap = "\n" if number > 1 else ""
            self._write(f"{gap}#{number} {self._style.strong(one_line(step.name))}\n")
        return step.number

    def _vertex(self, event: VertexEvent) -> None:
        step = self._steps.vertex(event)
        if event.started is None and event.completed is None:
            return
        self._number(step)
        if event.completed is None or self._ended.get(event.digest) == event:
            return
        self._ended[event.digest] = event
        if step.completed is None:
            # One of a group: the group's own end comes with its last member.
            if event.error or event.name != step.group:
                self._line(step, f"{one_line(event.name)} {self._outcome(event) if event.error else 'done'}")
            return
        self._flush(step)
        verdict = self._verdict(step)
        if self._verdicts.get(step.key) != verdict:  # a group may end, and be joined by another member
            self._verdicts[step.key] = verdict
            self._line(step, verdict)

    def _verdict(self, step: Step) -> str:
        if step.cancelled:
            return self._style.caution("CANCELLED")
        if step.error:
            return self._style.bad(f"ERROR: {one_line(step.error)}")
        if step.skipped:
            return self._style.dim("SKIPPED")
        if step.cached:
            return self._style.good("CACHED")
        return self._style.good(f"DONE {units.seconds(step.elapsed(self._clock()))}")

    def _outcome(self, event: VertexEvent) -> str:
        return self._style.bad(f"ERROR: {one_line(event.error)}")

    def _status(self, event: StatusEvent) -> None:
        step = self._steps.status(event)
        key = (event.vertex, event.id)
        now = self._clock()
        told = self._told.get(key, 0.0)
        if told == ENDED or (event.completed is None and now - told < TRANSFER_INTERVAL):
            return
        self._told[key] = now if event.completed is None else ENDED
        self._line(step, harmless(transfer.describe(event, now)))

    def _log(self, event: LogEvent) -> None:
        step = self._steps.of(event.vertex)
        started = event.time if step.started is None else step.started
        for line in step.log.feed(event.data):
            self._output(step, event.time - started, line)

    def _flush(self, step: Step) -> None:
        for line in step.log.finish():
            self._output(step, step.elapsed(self._clock()), line)

    def _output(self, step: Step, elapsed: float, line: str) -> None:
        text = line if self._raw else harmless(line, colour=self._style.colour)
        self._line(step, f"{max(elapsed, 0.0):.3f} {text}")
