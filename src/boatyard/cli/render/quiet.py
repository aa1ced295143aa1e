"""`--progress=quiet`: nothing while it runs. What failed is still told: the log's end is kept for the error message."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.cli.render import summary
from boatyard.cli.render.lines import LogTail
from boatyard.cli.render.steps import Steps
from boatyard.cli.style import Style
from boatyard.progress import Event, LogEvent, VertexEvent


class QuietRenderer:
    """Keeps the tails of logs, writes nothing."""

    interval: float | None = None

    def __init__(self) -> None:
        self._steps = Steps()

    def event(self, event: Event) -> None:
        if isinstance(event, VertexEvent):
            self._steps.vertex(event)
        elif isinstance(event, LogEvent):
            self._steps.of(event.vertex).log.feed(event.data)

    def tick(self) -> None:
        pass

    def log_of(self, vertex: str) -> LogTail | None:
        step = self._steps.find(vertex)
        return step.log if step else None

    def last_failure(self) -> Sequence[str]:
        return summary.failure(self._steps, Style(False))

    def close(self, *, failed: bool = False) -> None:
        pass
