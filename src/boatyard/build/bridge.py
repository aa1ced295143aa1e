"""What a frontend is given to work with: `frontend.base.Bridge` over this build's solver job."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol, runtime_checkable

from boatyard.build.frontend.base import FileReader, Frontend, FrontendRequest, FrontendResult, ResolvedImage
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Graph, SourceOp, Vertex
from boatyard.build.ops.container import BuildContainer, ContainerRequest, open_container
from boatyard.build.ops.worker import BuildContext, StepRemains, Worker
from boatyard.build.policy.gate import SourceGate
from boatyard.build.policy.rule import Policy
from boatyard.build.result import Result
from boatyard.build.solver.scheduler import Job
from boatyard.build.solver.step import SharedStep, ShownStep
from boatyard.build.solver.types import OpResolver
from boatyard.build.source import oci_layout
from boatyard.build.source.image import FoundImage, check_digest
from boatyard.build.source.meta import Described, MetaQuestion, SourceMeta
from boatyard.errors import InvalidError, SourceExcerpt, UnsupportedError
from boatyard.image import reference as references
from boatyard.image.platform import Platform
from boatyard.progress import Emit, VertexEvent, WarningEvent

DEEPEST = 16
"""Frontends that wait for each other."""


@runtime_checkable
class Dated(Protocol):
    """A source that knows how old it is, once it was looked up."""

    async def source_time(self) -> int | None: ...


class Learning(Protocol):
    """What a build remembers of the graphs and source files it meets."""

    def learn(self, graph: Graph) -> None: ...
    def learn_files(self, files: Mapping[str, str]) -> None: ...
    def learn_request(self, frontend: str, options: Mapping[str, str]) -> None: ...
    def excerpt(self, digest: str) -> SourceExcerpt | None: ...


class JobBridge:
    """One per build; implements `frontend.base.GuestBridge`. What is solved is `known` before, so that the build can
    tell where its steps come from. All sources pass the gate; `policies` are those that a frontend brings along for
    one call."""

    def __init__(
        self,
        job: Job,
        worker: Worker,
        context: BuildContext,
        emit: Emit,
        known: Learning,
        gate: SourceGate,
        resolve: OpResolver,
        frontends: Mapping[str, Frontend],
    ) -> None:
        self.platform = worker.platform
        self.entitlements = context.entitlements.names
        self._job = job
        self._worker = worker
        self._context = context
        self._emit = emit
        self._known = known
        self._gate = gate
        self._resolve_op = resolve
        self._frontends = frontends
        self._resolved: dict[tuple[str, str, str], ResolvedImage] = {}
        self._numbers = itertools.count()
        self._depth = 0

    async def resolve_image(self, reference: str, platform: Platform, *, mode: str = "default") -> ResolvedImage:
        key = (reference, str(platform), mode)
        if key not in self._resolved:
            self._resolved[key] = await self._resolve(reference, platform, mode)
        return self._resolved[key]

    async def _resolve(self, reference: str, platform: Platform, mode: str) -> ResolvedImage:
        async with self.shown(f"[internal] load metadata for {reference}"):
            found = await self._find(reference, platform, mode)
        return ResolvedImage(str(found.reference.with_digest(found.digest)), found.digest, found.config)

    @asynccontextmanager
    async def shown(self, name: str) -> AsyncIterator[ShownStep]:
        """A step that is no vertex of the graph."""
        text = f"{next(self._numbers)} {name}"
        step = ShownStep(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", name, time.time)
        step.join(step.digest, self._emit)
        started = time.time()

        def tell(completed: float | None = None, error: str = "") -> None:
            self._emit(VertexEvent(digest=step.digest, name=name, started=started, completed=completed, error=error))

        tell()
        try:
            yield step
        except BaseException as error:
            step.end()
            tell(time.time(), "canceled" if isinstance(error, asyncio.CancelledError) else str(error))
            raise
        step.end()
        tell(time.time())

    async def _find(self, reference: str, platform: Platform, mode: str) -> FoundImage:
        images = self._worker.images
        asked = SourceOp(reference if reference.startswith("oci-layout://") else f"docker-image://{reference}")
        source = await self._gate.pass_source(asked, platform)
        scheme, _, name = source.identifier.partition("://")
        if scheme != asked.identifier.partition("://")[0]:
            raise UnsupportedError(
                f"a source policy turns the image {reference} into {source.identifier}, which is not supported yet",
                hint="turn images into images (docker-image://NAME)",
            )
        if scheme == "oci-layout":
            found = await oci_layout.take(source, platform, self._context.requester, images, self._worker.layers)
        else:
            mode = source.attrs.get("image.resolvemode", mode)
            found = await images.find(
                references.parse(name).with_default_tag(), platform, self._context.requester, mode
            )
        check_digest(source, found)
        return found

    async def source_meta(self, question: MetaQuestion, policies: Sequence[Policy] = ()) -> SourceMeta:
        """What is known of a source, or of the one that policies put in its place."""
        name = question.log_name or f"[internal] resolve {question.source.identifier}"
        source = await self._gate.pass_source(question.source, question.platform, policies)
        async with self.shown(name):
            return await describe(self._resolve_op, replace(question, source=source))

    async def source_time(self, vertex: Vertex) -> int | None:
        """Seconds since the epoch: of a git source's commit, of a download's last change; None when it isn't known."""
        edge = await self._gate.pass_edge(Edge(vertex))
        await self._job.settle(edge)
        op = self._job.op(edge.vertex)
        return await op.source_time() if isinstance(op, Dated) else None

    async def solve(self, graph: Graph, policies: Sequence[Policy] = ()) -> FileReader:
        if graph.root is None:
            raise InvalidError("there is nothing to solve: the graph is empty")
        passed = await self.passed(graph, policies)
        assert passed.root is not None
        return await self.result(passed.root)

    async def result(self, edge: Edge) -> Result:
        """Of a graph that has passed."""
        result: Result = await self._job.solve(edge)
        return result

    async def passed(self, graph: Graph, policies: Sequence[Policy] = ()) -> Graph:
        """The graph as policies let it be built. It is known to the build from here on."""
        self._known.learn(graph)
        if graph.root is None or (edge := await self._gate.pass_edge(graph.root, policies)) == graph.root:
            return graph
        passed = Graph(edge, graph.files)
        self._known.learn(passed)
        return passed

    async def run_frontend(self, name: str, request: FrontendRequest) -> FrontendResult:
        frontend = self._frontends.get(name)
        if frontend is None:
            raise InvalidError(f"unknown frontend {name!r}", hint=f"known: {', '.join(sorted(self._frontends))}")
        if self._depth >= DEEPEST:
            raise InvalidError(
                f"frontends call each other {DEEPEST} deep", hint="does one of them name itself as the frontend to use?"
            )
        if not self._depth:
            self._known.learn_request(name, request.options)
        deeper = copy.copy(self)
        deeper._depth += 1
        result = await frontend(deeper, request)
        self._known.learn_files(result.files)
        return result

    def container(self, request: ContainerRequest) -> AbstractAsyncContextManager[BuildContainer]:
        return open_container(request, self._worker, self._context)

    def excerpt(self, vertex: str) -> SourceExcerpt | None:
        return self._known.excerpt(vertex)

    def remains(self, vertex: str) -> StepRemains | None:
        return (self._context.remains or {}).get(vertex)

    def learn(self, files: Mapping[str, str]) -> None:
        self._known.learn_files(files)

    def warn(self, warning: WarningEvent) -> None:
        self._emit(warning)


async def describe(resolve: OpResolver, question: MetaQuestion) -> SourceMeta:
    """Ask a source's own op, without executing it."""
    attrs = question.source.attrs
    if question.mode and question.source.identifier.startswith("docker-image://"):
        attrs = {**attrs, "image.resolvemode": question.mode}
    op = resolve(codec.vertex(replace(question.source, attrs=attrs), platform=question.platform))
    if not isinstance(op, Described):
        return SourceMeta(question.source)
    await op.cache_map(SharedStep(time.time))
    return replace(await op.describe(question), source=question.source)
