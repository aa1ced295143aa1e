"""The progress of a build as the classic builder told it: step by step, in the order of the Dockerfile.

Steps run side by side all the same. The one whose turn it is speaks at once; what others write meanwhile is kept until
all before them have ended, so that the text reads as if one had followed the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from boatyard.build.frontend.base import FrontendResult
from boatyard.build.llb.graph import ExecOp, SourceOp, Vertex
from boatyard.client.documents.envelope import StreamEvent
from boatyard.errors import ExitError, SolveError
from boatyard.progress import LogEvent, VertexEvent, WarningEvent

MOST_KEPT = 2 << 20
"""Characters kept of a step whose turn hasn't come; of more, the beginning is left out."""
MOST_IN_ALL = 32 << 20
"""Characters kept of all such steps; beyond that, those whose turn comes last lose theirs."""


@dataclass(slots=True)
class _Step:
    """`vertices`: what of it has not ended."""

    text: str
    vertices: set[str] = field(default_factory=set)
    digest: str = ""
    """Of the vertex that made it what it is, or of the base image."""
    output: deque[str] = field(default_factory=deque)
    kept: int = 0
    cut: bool = False
    ran: bool = False
    base: bool = False
    failed: bool = False

    def keep(self, text: str) -> None:
        self.output.append(text)
        self.kept += len(text)
        self.shorten(MOST_KEPT)

    def shorten(self, most: int) -> None:
        while self.kept > most and self.output:
            self.kept -= len(self.output.popleft())
            self.cut = True

    def taken(self) -> Iterator[str]:
        if self.cut:
            yield "[the beginning of this step's output is left out]\n"
            self.cut = False
        yield from self.output
        self.output.clear()
        self.kept = 0


class Steps:
    """Of one build; used on the event loop. All methods that yield give the next text to be shown."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._of: dict[str, int] = {}
        """The step that a vertex belongs to."""
        self._commands: dict[str, str] = {}
        self._turn = 0
        self._introduced = -1
        self._ended: dict[str, VertexEvent] = {}
        self._warnings: list[WarningEvent] = []
        self._line_open = False

    def plan(self, result: FrontendResult) -> None:
        """What will be built. Vertices that ended before (the base image, perhaps) count."""
        self._steps = [_Step(step.text) for step in result.steps]
        places = {step.location: number for number, step in enumerate(result.steps)}
        for vertex in _vertices(result):
            found = [places[location] for location in vertex.locations if location in places]
            if not found:
                continue
            number = self._of[vertex.digest] = found[0]
            step = self._steps[number]
            step.digest = vertex.digest
            if isinstance(vertex.op, SourceOp) and step.text[:4].upper() == "FROM":
                # The base image can be looked at by its digest, which that of the step is not.
                step.digest = vertex.op.identifier.rpartition("@")[2] or vertex.digest
                step.base = True
            if isinstance(vertex.op, ExecOp):
                self._commands[vertex.digest] = " ".join(vertex.op.meta.args)
            if (ended := self._ended.get(vertex.digest)) is None:
                step.vertices.add(vertex.digest)
            else:
                step.ran = step.ran or not (ended.cached or ended.skipped)

    def events(self, events: Sequence[StreamEvent]) -> Iterator[str]:
        kept: set[int] = set()
        for event in events:
            if isinstance(event, VertexEvent):
                self._vertex(event)
            elif isinstance(event, LogEvent):
                number = self._of.get(event.vertex)
                if number is not None:
                    self._steps[number].keep(event.data)
                    kept.add(number)
            elif isinstance(event, WarningEvent):
                self._warnings.append(event)
        yield from self._advance()
        if kept:
            self._bound()

    def _bound(self) -> None:
        excess = sum(step.kept for step in self._steps[self._turn :]) - MOST_IN_ALL
        for step in reversed(self._steps[self._turn :]):
            if excess <= 0:
                return
            before = step.kept
            step.shorten(max(0, before - excess))
            excess -= before - step.kept

    def _vertex(self, event: VertexEvent) -> None:
        if event.completed is None:
            return
        self._ended[event.digest] = event
        number = self._of.get(event.digest)
        if number is None:
            return
        step = self._steps[number]
        step.vertices.discard(event.digest)
        step.ran = step.ran or not (event.cached or event.skipped)
        step.failed = step.failed or bool(event.error)

    def _advance(self) -> Iterator[str]:
        while self._turn < len(self._steps):
            step = self._steps[self._turn]
            yield from self._introduce(self._turn)
            yield from self._output(step)
            if step.vertices or step.failed:
                return
            self._turn += 1
            if self._turn < len(self._steps):
                yield from self._close(step)

    def _introduce(self, number: int) -> Iterator[str]:
        if self._introduced != number:
            self._introduced = number
            yield from self._ended_line()
            yield f"Step {number + 1}/{len(self._steps)} : {self._steps[number].text}\n"

    def _output(self, step: _Step) -> Iterator[str]:
        for text in step.taken():
            if text:
                self._line_open = not text.endswith("\n")
                yield text

    def _ended_line(self) -> Iterator[str]:
        """What a program wrote last may lack the end of its line."""
        if self._line_open:
            self._line_open = False
            yield "\n"

    def _close(self, step: _Step, id: str = "") -> Iterator[str]:
        yield from self._ended_line()
        if step.digest and not step.ran and not step.base:
            yield " ---> Using cache\n"
        if id or step.digest:
            yield f" ---> {short(id or step.digest)}\n"

    def finish(self, id: str) -> Iterator[str]:
        """Everything ended well; `id` is the image's."""
        for step in self._steps:
            step.vertices.clear()
        yield from self._advance()
        if self._steps:
            yield from self._close(self._steps[-1], id)
        yield from self._remarks()

    def fail(self, error: BaseException) -> Iterator[str]:
        """What led to the failure is shown, whoever's turn it is."""
        number = self._of.get(error.vertex) if isinstance(error, SolveError) else None
        if number is not None and number >= self._turn:
            yield from self._introduce(number)
            yield from self._output(self._steps[number])
        yield from self._ended_line()
        yield from self._remarks()

    def _remarks(self) -> Iterator[str]:
        for warning in self._warnings:
            place = f"{warning.filename}:{warning.range.start}: " if warning.filename and warning.range else ""
            yield f"[Warning] {place}{warning.short}\n"
        self._warnings.clear()

    def told(self, error: BaseException) -> tuple[str, int]:
        """A failed command in the words that tools look for, and its exit code; ("", 0) for other errors."""
        cause = error.__cause__
        if isinstance(error, SolveError) and isinstance(cause, ExitError) and error.vertex in self._commands:
            command = self._commands[error.vertex]
            hint = f" ({cause.hint})" if cause.hint else ""
            return f"The command '{command}' returned a non-zero code: {cause.exit_code}{hint}", cause.exit_code
        return "", 0


def _vertices(result: FrontendResult) -> Iterator[Vertex]:
    """All of them, each after those it is made of."""
    seen: dict[str, None] = {}
    found: list[Vertex] = []
    stack: list[tuple[Vertex, bool]] = [(image.edge.vertex, False) for image in result.images if image.edge]
    while stack:
        vertex, done = stack.pop()
        if done:
            found.append(vertex)
        elif vertex.digest not in seen:
            seen[vertex.digest] = None
            stack.append((vertex, True))
            stack.extend((edge.vertex, False) for edge in vertex.inputs)
    return iter(found)


def short(id: str) -> str:
    return id.removeprefix("sha256:")[:12]
