"""What shows the progress of a build, as a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from boatyard.cli.render.lines import LogTail
from boatyard.progress import Event


class Renderer(Protocol):
    """One per build. Calls come from one thread, or under one lock. After `close` nothing more is called; closing
    twice is harmless."""

    @property
    def interval(self) -> float | None:
        """How often `tick` should be called, in seconds; None is never."""

    def event(self, event: Event) -> None: ...

    def tick(self) -> None:
        """Time has passed: redraw what shows times."""

    def log_of(self, vertex: str) -> LogTail | None:
        """The last output of a step, if this renderer keeps it."""

    def last_failure(self) -> Sequence[str]:
        """The name and the last output of the step that failed last, for somebody who is about to look at it. Empty
        when it was shown already.
        """

    def close(self, *, failed: bool = False) -> None:
        """The build is over: print what is left to say and leave the terminal as it was."""
