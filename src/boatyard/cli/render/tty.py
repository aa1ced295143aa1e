"""`--progress=tty`: what runs now, redrawn in place; what ended scrolls up and stays.

Steps that ended are printed once, with how they ended (nothing, CACHED, SKIPPED, ERROR, CANCELLED) and how long they
took. Below them lives the region: a header with the time and the counts, each running step with its elapsed time, its
transfers and the last lines it printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from boatyard.cli import units
from boatyard.cli.render import summary, transfer
from boatyard.cli.render.lines import LogTail, harmless, one_line
from boatyard.cli.render.region import LiveRegion, Row, Size
from boatyard.cli.render.steps import Step, Steps
from boatyard.cli.render.width import columns, cut
from boatyard.cli.style import Style
from boatyard.progress import Event, ExplainEvent, LogEvent, StatusEvent, VertexEvent, WarningEvent

FRAME_INTERVAL = 0.1
FIRST_FRAME = 0.15
"""A build that ends before this many seconds is never drawn live: it would only flash."""
LOG_LINES = 6
"""At most so many last lines of a running step are shown."""


class TtyRenderer:
    """Owns the terminal's lower part from the first frame to `close`."""

    interval: float | None = FRAME_INTERVAL

    def __init__(
        self,
        write: Callable[[str], object],
        style: Style,
        size: Callable[[], Size],
        *,
        details: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._style = style
        self._size = size
        self._details = details
        self._clock = clock
        self._steps = Steps()
        self._region = LiveRegion(write, size)
        self._ended: dict[str, Step] = {}
        self._begin = clock()
        self._drawn = self._begin + FIRST_FRAME - FRAME_INTERVAL
        self._closed = False

    def event(self, event: Event) -> None:
        match event:
            case VertexEvent():
                step = self._steps.vertex(event)
                if step.completed is not None:
                    step.log.finish()
                    self._ended[step.key] = step
                else:
                    self._ended.pop(step.key, None)
            case StatusEvent():
                self._steps.status(event)
            case LogEvent():
                self._steps.of(event.vertex).log.feed(event.data)
            case WarningEvent():
                self._steps.warnings.append(event)
            case ExplainEvent():
                self._steps.explanations.append(event)
        self.tick()

    def tick(self) -> None:
        now = self._clock()
        if self._closed or now - self._drawn < FRAME_INTERVAL:
            return
        self._drawn = now
        width, height = self._room()
        lasting = self._take_ended(width, now)
        self._region.draw(lasting, self._frame(width, height, now))

    def pause(self) -> None:
        """This process is about to be stopped (Ctrl-Z), or somebody else gets the terminal: leave it usable."""
        width, _ = self._room()
        self._region.close(self._take_ended(width, self._clock()))

    def log_of(self, vertex: str) -> LogTail | None:
        step = self._steps.find(vertex)
        return step.log if step else None

    def last_failure(self) -> Sequence[str]:
        return summary.failure(self._steps, self._style)

    def close(self, *, failed: bool = False) -> None:
        if self._closed:
            return
        self._closed = True
        now = self._clock()
        width, _ = self._room()
        lasting = self._take_ended(width, now)
        lasting += [self._step_row(step, width, now, mark="CANCELLED") for step in self._steps.running]
        lasting.append(self._final_row(width, now, failed=failed))
        self._region.close(lasting)
        for line in summary.lines(self._steps, self._style, details=self._details):
            self._write(line + "\n")

    def _room(self) -> Size:
        """Columns and rows that may be used: the last column and line stay free, so that nothing wraps or scrolls."""
        width, height = self._size()
        return max(width - 1, 1), max(height - 1, 2)

    def _take_ended(self, width: int, now: float) -> list[Row]:
        ended, self._ended = self._ended, {}
        return [self._step_row(step, width, now) for step in ended.values()]

    def _frame(self, width: int, height: int, now: float) -> list[Row]:
        running = self._steps.running
        elapsed, counts = units.seconds(now - self._begin), f"{len(self._steps.finished)}/{self._steps.total}"
        header = f"[+] Building {elapsed} ({counts})"
        if columns(header) > width:
            header = f"{elapsed} {counts}"
        rows = [self._row(header, width, self._style.strong)]
        spare = height - 1
        shown = running if len(running) <= spare else running[: max(spare - 1, 0)]
        extra = spare - len(shown) - (len(shown) < len(running))
        for place, step in enumerate(shown):
            below = self._below(step, width, extra // (len(shown) - place), now)
            extra -= len(below)
            rows.append(self._step_row(step, width, now))
            rows.extend(below)
        if len(shown) < len(running):
            rows.append(self._row(f" … {len(running) - len(shown)} more steps running", width, self._style.dim))
        return rows

    def _below(self, step: Step, width: int, room: int, now: float) -> list[Row]:
        """The transfers and last lines of a running step, in at most `room` rows."""
        moving = [status for status in step.transfers.values() if status.completed is None]
        texts = [f" => => {harmless(transfer.describe(status, now))}" for status in moving]
        if len(texts) > room:
            texts = texts[: max(room - 1, 0)] + [f" => => … {len(texts) - max(room - 1, 0)} more"][:room]
        logs = step.log.last(min(room - len(texts), LOG_LINES))
        return [
            *(self._row(text, width) for text in texts),
            *(self._row(f"    {harmless(line)}", width, self._style.dim) for line in logs),
        ]

    def _row(self, text: str, width: int, paint: Callable[[str], str] = str) -> Row:
        visible = cut(text, width)
        return Row(visible, paint(visible))

    def _step_row(self, step: Step, width: int, now: float, mark: str = "") -> Row:
        mark, paint = (mark, self._style.caution) if mark else self._mark(step)
        duration = units.seconds(step.elapsed(now))
        if step.running and not mark and step.log.seen > LOG_LINES:
            duration = f"{step.log.seen} lines  {duration}" if width >= 60 else duration
        room = width - len(" => ") - len(duration) - 1
        if room < 6:
            room, duration = width - len(" => "), ""
        prefix = f"{mark} " if mark else ""
        name = cut(prefix + one_line(step.name), room)
        gap = " " * (room - columns(name) + 1) if duration else ""
        return Row(f" => {name}{gap}{duration}", f" => {paint(name)}{gap}{self._style.dim(duration)}")

    def _mark(self, step: Step) -> tuple[str, Callable[[str], str]]:
        if step.completed is None:
            return "", str
        if step.cancelled:
            return "CANCELLED", self._style.caution
        if step.error:
            return "ERROR", self._style.bad
        if step.skipped:
            return "SKIPPED", self._style.dim
        if step.cached:
            return "CACHED", self._style.note
        return "", self._style.good

    def _final_row(self, width: int, now: float, *, failed: bool) -> Row:
        counts = self._steps.counts()
        told = [f"{counts[kind]} {kind}" for kind in ("cached", "skipped", "failed", "cancelled") if counts[kind]]
        total = self._steps.total
        detail = f"{len(self._steps.finished)}/{total} steps" if failed else f"{total} step{'s' if total != 1 else ''}"
        verb, paint = ("Failed after", self._style.bad) if failed else ("Built in", self._style.strong)
        if failed and not counts["failed"] and (counts["cancelled"] or self._steps.running):
            verb, paint = "Cancelled after", self._style.caution
        elapsed = units.seconds(now - self._begin)
        text = f"[+] {verb} {elapsed} ({', '.join([detail, *told])})"
        if columns(text) > width:
            text = f"{verb} {elapsed}"
        return self._row(text, width, paint)
