"""One build's gate: every source passes here before anything looks at it, whichever way it came.

Policies of the request are asked first, then those of the frontend that solves, then the daemon's; the client's own
judgement, where it has one, comes last and starts all of it again when it puts another source in the place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from boatyard.build.llb.graph import Edge, SourceOp, Vertex
from boatyard.build.policy import identifier
from boatyard.build.policy.engine import Conversion, PolicyEngine
from boatyard.build.policy.rewrite import source_vertices, with_sources
from boatyard.build.policy.rule import Action, Policy
from boatyard.build.policy.verdict import Verdict, Verifier
from boatyard.build.source.meta import MetaQuestion, SourceMeta
from boatyard.errors import BoatyardError, InvalidError, SolveError, SourceDeniedError
from boatyard.image.digest import Digest
from boatyard.image.interruption import all_settled
from boatyard.image.platform import Platform
from boatyard.progress import Emit, VertexEvent

MAX_QUESTIONS = 10
"""That the client may ask, and conversions it may make, on the way to its judgement of one source."""

Describe = Callable[[MetaQuestion], Awaitable[SourceMeta]]
"""Answers a question without asking the gate."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Those that hold for one build beside its frontend's. `verifier` is the client's own judgement."""

    request: Sequence[Policy] = ()
    daemon: Sequence[Policy] = ()
    verifier: Verifier | None = None


class SourceGate:
    """One per build, used on the event loop. `describe` is needed where there is a verifier."""

    def __init__(
        self, policies: Policies, tell: Emit, *, clock: Callable[[], float], describe: Describe | None = None
    ) -> None:
        self._policies = policies
        self._engine = PolicyEngine([*policies.request, *policies.daemon])
        self._verifier = policies.verifier
        self._describe = describe
        self._tell = tell
        self._clock = clock
        self._passed: dict[tuple[object, ...], SourceOp] = {}
        self._told: set[str] = set()

    async def pass_source(self, source: SourceOp, platform: Platform | None, extra: Sequence[Policy] = ()) -> SourceOp:
        """What is used in a source's place: itself, as a rule. SourceDeniedError. `extra` are the frontend's."""
        engine = self._engine if not extra else self._with(extra)
        if not engine and self._verifier is None:
            return source
        key = (source.identifier, tuple(sorted(source.attrs.items())), platform)
        if not extra and key in self._passed:
            return self._passed[key]
        spelled = identifier.normalised(source)
        passed = identifier.keeping_tag(await self._judged(spelled, platform, engine), spelled)
        if passed == spelled:
            passed = source
        if not extra:
            self._passed[key] = passed
        return passed

    async def pass_edge(self, edge: Edge, extra: Sequence[Policy] = ()) -> Edge:
        """The graph below an edge with all its sources judged. SolveError names the vertex of one that is denied."""
        if not (self._engine or extra or self._verifier is not None):
            return edge
        vertices = source_vertices(edge.vertex)
        passed = await all_settled(*(self._pass_vertex(vertex, extra) for vertex in vertices.values()))
        changed = {
            digest: source
            for (digest, vertex), source in zip(vertices.items(), passed, strict=True)
            if source is not vertex.op
        }
        return with_sources(edge, changed) if changed else edge

    def _with(self, extra: Sequence[Policy]) -> PolicyEngine:
        return PolicyEngine([*self._policies.request, *extra, *self._policies.daemon])

    async def _pass_vertex(self, vertex: Vertex, extra: Sequence[Policy]) -> SourceOp:
        assert isinstance(vertex.op, SourceOp)
        try:
            return await self.pass_source(vertex.op, vertex.platform, extra)
        except BoatyardError as error:
            name = vertex.name or vertex.op.identifier
            now = self._clock()
            self._tell(VertexEvent(digest=vertex.digest, name=name, started=now, completed=now, error=str(error)))
            raise SolveError(
                f"{name}: {error.message}", vertex=vertex.digest, vertex_name=name, hint=error.hint
            ) from error

    async def _judged(self, source: SourceOp, platform: Platform | None, engine: PolicyEngine) -> SourceOp:
        questions = 0
        while True:
            evaluation = engine.evaluate(source)
            for conversion in evaluation.conversions:
                self._tell_conversion(str(conversion))
            source = evaluation.source
            if self._verifier is None:
                return source
            known = SourceMeta(source)
            while True:
                questions += 1
                if questions > MAX_QUESTIONS:
                    raise InvalidError(
                        f"too many policy requests: no decision of the client's on {source.identifier}",
                        hint=f"it asked {MAX_QUESTIONS} times",
                    )
                verdict = await self._verifier.check(known, platform)
                if isinstance(verdict, Verdict):
                    break
                known = await self._answered(verdict, source)
            if verdict.action is not Action.CONVERT:
                return _allowed(source, verdict)
            if verdict.update is None:
                raise InvalidError(f"the client's policy converts {source.identifier}, but doesn't say into what")
            updated = identifier.normalised(verdict.update)
            if updated != source:
                self._tell_conversion(str(Conversion(source, updated, "the client's policy")))
            source = updated

    async def _answered(self, question: MetaQuestion, source: SourceOp) -> SourceMeta:
        if question.source != source:
            raise InvalidError(
                f"the client's policy asks about {question.source.identifier} to judge {source.identifier}"
            )
        assert self._describe is not None
        return await self._describe(question)

    def _tell_conversion(self, text: str) -> None:
        """A step of its own, so that it stands in the build's log and in the history."""
        if text in self._told:
            return
        self._told.add(text)
        digest = Digest(f"sha256:{hashlib.sha256(f'source policy {text}'.encode()).hexdigest()}")
        now = self._clock()
        self._tell(VertexEvent(digest=digest, name=f"[internal] source policy: {text}", started=now, completed=now))


def _allowed(source: SourceOp, verdict: Verdict) -> SourceOp:
    if verdict.action is Action.ALLOW:
        return source
    why = "; ".join(verdict.messages)
    raise SourceDeniedError(
        f"source {source.identifier} not allowed by policy: the client's own{f', {why}' if why else ''}",
        messages=verdict.messages,
    )
