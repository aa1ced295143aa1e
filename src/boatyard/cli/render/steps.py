"""The state of a build as its events tell it: what every renderer but the raw ones draws from.

A *shown step* is a vertex, or all vertices of one group. Vertices are announced before they start, often all at once;
a step gets its number when something about it is first shown, so that numbers count what a person sees.
"""

from __future__ import annotations

from collections.abc import Iterator

from boatyard.cli.render.lines import LogTail
from boatyard.progress import ExplainEvent, StatusEvent, VertexEvent, WarningEvent


class Step:
    """One shown step. Owned by its `Steps`."""

    __slots__ = ("group", "key", "log", "members", "number", "transfers")

    def __init__(self, key: str, group: str) -> None:
        self.key = key
        self.group = group
        self.number = 0
        self.members: dict[str, VertexEvent] = {}
        self.transfers: dict[tuple[str, str], StatusEvent] = {}
        self.log = LogTail()

    @property
    def name(self) -> str:
        return self.group or next((member.name for member in self.members.values()), self.key)

    @property
    def started(self) -> float | None:
        return min((member.started for member in self.members.values() if member.started is not None), default=None)

    @property
    def completed(self) -> float | None:
        """When the last member ended; None while one of them has not."""
        ends = [member.completed for member in self.members.values()]
        return None if None in ends else max((end for end in ends if end is not None), default=None)

    @property
    def running(self) -> bool:
        return self.completed is None and self.started is not None

    @property
    def cached(self) -> bool:
        """Every member came from the cache, or was skipped because of it. Members that bear the group's name speak for
        it: with COPY --link, what is copied may be cached, and is only put on top of something else."""
        everyone = list(self.members.values())
        members = [member for member in everyone if member.name == self.group] or everyone
        return all(member.cached or member.skipped for member in members) and any(member.cached for member in members)

    @property
    def skipped(self) -> bool:
        return bool(self.members) and all(member.skipped for member in self.members.values())

    @property
    def error(self) -> str:
        return next((member.error for member in self.members.values() if member.error), "")

    @property
    def cancelled(self) -> bool:
        return is_cancellation(self.error)

    def elapsed(self, now: float) -> float:
        if self.started is None:
            return 0.0
        end = self.completed
        return (now if end is None else end) - self.started


def is_cancellation(error: str) -> bool:
    """Whether an error of a step only says that the build was ended: by the client, or because another step failed."""
    lowered = error.lower()
    return lowered.startswith(("cancelled", "canceled", "context canceled")) or lowered.endswith("context canceled")


class Steps:
    """Folds events. One per build, owned by a renderer."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._of_vertex: dict[str, Step] = {}
        self._running: dict[str, Step] = {}
        self._numbers = 0
        self.warnings: list[WarningEvent] = []
        self.explanations: list[ExplainEvent] = []
        self.finished: dict[str, VertexEvent] = {}
        """Vertices whose last event says that they ended, by digest."""

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps.values())

    def vertex(self, event: VertexEvent) -> Step:
        step = self._of_vertex.get(event.digest)
        if step is None:
            key = f"group {event.group}" if event.group else event.digest
            step = self._steps.setdefault(key, Step(key, event.group))
            self._of_vertex[event.digest] = step
        step.members[event.digest] = event
        if event.completed is None:
            self.finished.pop(event.digest, None)
        else:
            self.finished[event.digest] = event
        if step.running:
            self._running[step.key] = step
        else:
            self._running.pop(step.key, None)
        return step

    def status(self, event: StatusEvent) -> Step:
        step = self.of(event.vertex)
        step.transfers[event.vertex, event.id] = event
        return step

    def of(self, vertex: str) -> Step:
        """The step of a vertex; one that was never announced is made up, so that nothing said about it is lost."""
        step = self._of_vertex.get(vertex)
        return self.vertex(VertexEvent(digest=vertex, name=vertex or "build")) if step is None else step

    def find(self, vertex: str) -> Step | None:
        return self._of_vertex.get(vertex)

    def number(self, step: Step) -> int:
        """The step's number, given at the first call."""
        if not step.number:
            self._numbers += 1
            step.number = self._numbers
        return step.number

    @property
    def running(self) -> list[Step]:
        """Started and not ended, the longest running first."""
        return sorted(self._running.values(), key=lambda step: step.started or 0.0)

    @property
    def total(self) -> int:
        return len(self._of_vertex)

    def counts(self) -> dict[str, int]:
        """How many vertices ended, and how: done, cached, skipped, failed, cancelled."""
        counts = {"done": 0, "cached": 0, "skipped": 0, "failed": 0, "cancelled": 0}
        for event in self.finished.values():
            if event.error:
                counts["cancelled" if is_cancellation(event.error) else "failed"] += 1
            elif event.skipped:
                counts["skipped"] += 1
            elif event.cached:
                counts["cached"] += 1
            else:
                counts["done"] += 1
        return counts
