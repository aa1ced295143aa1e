"""One build from request to result. Read this page first.

    request ─▶ frontend ─▶ graph ─▶ solver job ─▶ images ─▶ exporters ─▶ reply

`BuildService.build` is the whole way; everything it uses was handed to it by `daemon.wiring`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial

from boatyard.build import entitlements
from boatyard.build.ahead import DescribeAhead
from boatyard.build.bridge import JobBridge, Learning, describe
from boatyard.build.cache.travel import Caches, Imported, open_all
from boatyard.build.exporter.base import BuiltImage, Exporter, ExportRequest
from boatyard.build.frontend.base import DEFAULT_FRONTEND, Frontend, FrontendRequest, FrontendResult, PlatformResult
from boatyard.build.history import History, Recording
from boatyard.build.known import Known
from boatyard.build.lineage import lineage
from boatyard.build.linked import Bridges, LinkedBuilds, labelled, passed, relabel, told_apart
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Graph, SourceOp, Vertex
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.policy.engine import PolicyEngine
from boatyard.build.policy.gate import Policies, SourceGate
from boatyard.build.policy.rule import Policy
from boatyard.build.policy.verdict import Verifier
from boatyard.build.request import BuildReply, BuildRequest, Export
from boatyard.build.requester import Requester
from boatyard.build.solver.scheduler import Job, Solver
from boatyard.build.solver.step import SharedStep
from boatyard.build.source.local import LocalTree
from boatyard.build.tree.report import ContextReport
from boatyard.errors import BoatyardError, ConflictError, InvalidError, SolveError
from boatyard.image.interruption import all_settled
from boatyard.image.spec import ImageConfig
from boatyard.progress import Emit, Event, ExplainEvent, LogEvent, VertexEvent, WarningEvent
from boatyard.runtime.container import ContainerSpec

log = logging.getLogger(__name__)

IMAGES = ("image", "oci", "docker")
"""Exporters that need the layers of the result."""

FailedStep = Callable[[ContainerSpec, str], Awaitable[None]]
"""Offers a failed step's state to the requester (a shell in it) and returns when it is done with it."""

Planned = Callable[[FrontendResult], None]
"""Is told what the frontend made of the request, before any of it is solved."""


class BuildService:
    """One per daemon. `frontends` and `exporters` are by name; `granted` are the entitlements the daemon may give,
    `source_policies` hold for every build. With `log_output`, what steps print goes to the daemon's log, too."""

    def __init__(
        self,
        worker: Worker,
        solver: Solver,
        frontends: Mapping[str, Frontend],
        exporters: Mapping[str, Exporter],
        history: History,
        *,
        granted: frozenset[str] = frozenset(),
        source_policies: Sequence[Policy] = (),
        log_output: bool = False,
        ended: Callable[[], None] = lambda: None,
        caches: Caches,
    ) -> None:
        """`ended` is called whenever a build has ended, however it did."""
        PolicyEngine(source_policies)  # a malformed one is told before the first build
        self.source_policies = source_policies
        self._log_output = log_output
        self.worker = worker
        self.solver = solver
        self.history = history
        self._frontends = frontends
        self._exporters = exporters
        self._entitlements = granted
        self._tell_ended = ended
        self._caches = caches
        self._running: dict[str, asyncio.Task[object]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def build(
        self,
        request: BuildRequest,
        requester: Requester,
        emit: Emit,
        *,
        failed: FailedStep | None = None,
        verifier: Verifier | None = None,
        planned: Planned | None = None,
    ) -> BuildReply:
        """Run a request to its end. Raises what it failed with; cancelling the task cancels the build and leaves
        nothing. `verifier` is a client that judges the sources for itself."""
        self._check(request)
        recording = self._record(request)
        known = Known(files=recording.sources)

        def record(event: Event) -> None:
            recording.add(event)
            if self._log_output and isinstance(event, LogEvent):
                log.info("build %s, step %s: %s", request.ref, event.vertex[:19], event.data.rstrip("\n"))
            # The reasons for misses are for who asks, now or later.
            if request.explain or not isinstance(event, ExplainEvent):
                emit(event)

        tell = labelled(record, request.label, known.owners) if request.label or request.linked else record
        self._running[request.ref] = _current_task()
        self._ends[request.ref] = asyncio.Event()
        try:
            policies = Policies(request.source_policies, self.source_policies, verifier)
            imported = await self._imported(request, requester, tell)
            async with self._job(request, requester, tell, known, failed, policies, imported) as (
                job,
                context,
                ahead,
                bridges,
            ):
                result = await self._frontend(request, bridges, known)
                if planned is not None:
                    planned(result)
                if any(export.type in IMAGES for export in request.exports):
                    ahead.want(digest for image in result.images for digest in lineage(image.edge))
                images = await self._solve(result, job)
                if request.choose is not None:
                    chosen = await request.choose(result)
                    self._check_exports(chosen)
                    request = replace(request, exports=[*request.exports, *chosen])
                exported, cached = await all_settled(
                    self._export(request, requester, images, result.multi_platform, tell),
                    self._export_caches(request, requester, result, job, tell),
                )
                response = {**exported, **cached}
                job.finish()
                _warn_unused(request, context, tell)
                reports = await _context_reports(job) if request.context_report else []
            self._end(recording, "completed", known, response=response)
            return BuildReply(request.ref, response, result.metadata, reports)
        except asyncio.CancelledError:
            self._end(recording, "cancelled", known)
            raise
        except Exception as error:
            if isinstance(error, SolveError):
                error.source = error.source or known.excerpt(error.vertex)
                relabel(error, request.label, known.owners)
            self._end(recording, "failed", known, error=error)
            raise
        finally:
            del self._running[request.ref]
            # A question that was answered (lint, outline) is no build of the past.
            answered = "requestid" in request.options and recording.record.status == "completed"
            self.history.ended(request.ref, forget=answered)
            self._ends.pop(request.ref).set()
            self._tell_ended()

    def cancel(self, ref: str) -> None:
        """Cancel a running build."""
        task = self._running.get(ref)
        if task is None:
            raise ConflictError(f"build {ref!r} is not running")
        task.cancel()

    async def until_ended(self, ref: str) -> None:
        if ref in self._ends:
            await self._ends[ref].wait()

    @property
    def running(self) -> Sequence[str]:
        return tuple(self._running)

    # The way, step by step

    def _check(self, request: BuildRequest) -> None:
        if request.ref in self._running:
            raise ConflictError(f"a build with the ref {request.ref!r} is running")
        self._check_exports(request.exports)
        entitlements.grant(request.entitlements, self._entitlements)

    def _check_exports(self, exports: Sequence[Export]) -> None:
        for export in exports:
            exporter = self._exporters.get(export.type)
            if exporter is None:
                raise InvalidError(
                    f"unknown output type {export.type!r}", hint=f"known: {', '.join(sorted(self._exporters))}"
                )
            exporter.check(export.attrs)

    def _record(self, request: BuildRequest) -> Recording:
        exports = [{"type": export.type, **export.attrs} for export in request.exports]
        named = next((export.attrs["name"] for export in request.exports if export.attrs.get("name")), "")
        name = named or (f"{request.label} in {request.scope}" if request.label else request.scope)
        return self.history.begin(
            request.ref,
            name,
            request.options,
            exports,
            request.scope,
            frontend=_frontend_name(request),
            trust_host_ca=request.trust_host_ca,
            internal=request.internal,
        )

    @asynccontextmanager
    async def _job(
        self,
        request: BuildRequest,
        requester: Requester,
        tell: Emit,
        known: Known,
        failed: FailedStep | None,
        policies: Policies,
        imported: Sequence[Imported],
    ) -> AsyncIterator[tuple[Job, BuildContext, DescribeAhead, Bridges]]:
        """The solver's view of this build, what its ops are given, what is done ahead, and what frontends are given.
        Nothing of it runs any more at the end."""

        async def solve(edge: Edge) -> object:
            return await job.solve(await gate.pass_edge(edge))

        context = BuildContext(
            requester=requester,
            solve=solve,
            entitlements=entitlements.grant(request.entitlements, self._entitlements),
            trust_host_ca=request.trust_host_ca,
            proxy=request.proxy,
            failed=failed if request.keep_failed else None,
            remains={} if request.keep_remains else None,
        )
        ahead = DescribeAhead(self.worker.layers)
        linked = LinkedBuilds(request.linked, self.worker, context, known.owners)
        resolve = linked.resolve
        gate = SourceGate(policies, tell, clock=self.solver.clock, describe=partial(describe, resolve))
        job = self.solver.job(
            resolve,
            tell,
            slot_of=lambda vertex: slot(request.scope or request.project, vertex.name),
            explain_files=request.explain,
            made=ahead.made,
            group=request.group,
            elsewhere=lambda key: next((record for cache in imported if (record := cache.find(key))), None),
        )

        def bridge(context: BuildContext, known: Learning, tell: Emit) -> JobBridge:
            return JobBridge(job, self.worker, context, tell, known, gate, resolve, self._frontends)

        try:
            yield job, context, ahead, Bridges(bridge, context, linked, known, tell)
        finally:
            await linked.close()
            await job.close()
            await ahead.close()
            known.results.update(job.recorded())

    async def _frontend(self, request: BuildRequest, bridges: Bridges, known: Known) -> FrontendResult:
        bridge = bridges.own()
        if request.graph is not None:
            platform = self.worker.platform
            config = ImageConfig(architecture=platform.architecture, os=platform.os, variant=platform.variant)
            image = PlatformResult(platform=platform, edge=request.graph.root, config=config)
            result = FrontendResult(images=(image,), files=request.graph.files)
        else:
            options = told_apart(request.options, request.label) if request.label else request.options
            inputs = {name: (await bridge.passed(graph)).root for name, graph in request.inputs.items()}
            if request.frontend is not None:
                # What its options name as inputs, it brings along itself, when it asks.
                result = await request.frontend(bridge, FrontendRequest(options, inputs))
            else:
                opened = await bridges.opened(options, inputs)
                asked = FrontendRequest(opened.options, {**inputs, **opened.edges})
                result = await bridge.run_frontend(_frontend_name(request), asked)
        result = await passed(bridge, result)
        known.graphs.extend((image.platform, Graph(image.edge, result.files)) for image in result.images if image.edge)
        return result

    async def _solve(self, result: FrontendResult, job: Job) -> list[BuiltImage]:
        """All platforms at once."""

        async def one(number: int) -> BuiltImage:
            image = result.images[number]
            return BuiltImage(
                platform=image.platform,
                result=await job.solve(image.edge) if image.edge else None,
                config=image.config,
                epoch=result.epoch,
                base_digest=image.base,
                base_name=image.base_name,
            )

        return await all_settled(*map(one, range(len(result.images))))

    async def _export(
        self,
        request: BuildRequest,
        requester: Requester,
        images: Sequence[BuiltImage],
        multi_platform: bool,
        tell: Emit,
    ) -> dict[str, str]:
        """All exporters at once; their answers in one dictionary."""

        async def one(number: int, export: Export) -> Mapping[str, str]:
            target = await requester.output(number)
            async with self._exporting(request, number, export, tell) as step:
                exported = await self._exporters[export.type](
                    step, ExportRequest(images, export.attrs, target, multi_platform, requester)
                )
                if target is not None and target.finish is not None:
                    await target.finish()
            return exported.response

        if not images:
            return {}
        answers = await all_settled(*(one(number, export) for number, export in enumerate(request.exports)))
        return {key: value for answer in answers for key, value in answer.items()}

    async def _imported(self, request: BuildRequest, requester: Requester, tell: Emit) -> Sequence[Imported]:
        """The caches that the build reads. What is wrong with one is no reason to fail."""
        if not request.cache_from:
            return ()

        def warn(short: str, detail: str) -> None:
            tell(WarningEvent(code="CacheImport", short=short, detail=detail))

        names = ", ".join(place.name for place in request.cache_from)
        async with self._shown(f"{request.ref} import", f"importing cache manifest from {names}", tell):
            return await open_all(self._caches, request.cache_from, requester, warn)

    async def _export_caches(
        self, request: BuildRequest, requester: Requester, result: FrontendResult, job: Job, tell: Emit
    ) -> dict[str, str]:
        """Beside the exporters. With `mode=max` every step that was looked at is in the cache, else those whose layers
        are in the result."""
        answers: dict[str, str] = {}
        for number, place in enumerate(request.cache_to):
            found = job.records()
            if place.attrs.get("mode", "min") != "max":
                wanted = {digest for image in result.images for digest in lineage(image.edge)}
                found = {digest: record for digest, record in found.items() if digest in wanted}
            name = f"exporting cache to {place.type} {place.name}"
            try:
                async with self._shown(f"{request.ref} cache {number}", name, tell) as step:
                    answers.update(await self._caches.export(place, found.values(), requester, step))
            except BoatyardError as error:
                if place.attrs.get("ignore-error") not in ("true", "1", ""):
                    raise
                tell(WarningEvent(code="CacheExport", short=f"the cache was not exported to {place.name}: {error}"))
        return answers

    def _exporting(
        self, request: BuildRequest, number: int, export: Export, tell: Emit
    ) -> AbstractAsyncContextManager[SharedStep]:
        """An exporter shown as a step of the build."""
        name = {
            "image": "exporting to image",
            "oci": "exporting to OCI archive",
            "docker": "exporting to docker archive",
        }.get(export.type, f"exporting to {export.type}")
        return self._shown(f"{request.ref} {number}", name, tell)

    @asynccontextmanager
    async def _shown(self, identity: str, name: str, tell: Emit) -> AsyncIterator[SharedStep]:
        """Something that the build does besides its graph, as a step."""
        digest = f"sha256:{hashlib.sha256(identity.encode()).hexdigest()}"
        clock = self.solver.clock
        step = SharedStep(clock)
        step.join(digest, tell)
        started = clock()
        tell(VertexEvent(digest=digest, name=name, started=started))
        try:
            yield step
        except BaseException as error:
            message = "canceled" if isinstance(error, asyncio.CancelledError) else str(error)
            tell(VertexEvent(digest=digest, name=name, started=started, completed=clock(), error=message))
            raise
        tell(VertexEvent(digest=digest, name=name, started=started, completed=clock()))

    def _end(
        self,
        recording: Recording,
        status: str,
        known: Known,
        *,
        response: Mapping[str, str] | None = None,
        error: Exception | None = None,
    ) -> None:
        recording.end(
            status,
            error=error,
            response=response,
            graphs=[(str(platform), codec.encode(graph)) for platform, graph in known.graphs],
            results=known.results,
            # One that the request names is in the record already.
            requests=known.requests if not recording.record.frontend else (),
        )


def _warn_unused(request: BuildRequest, context: BuildContext, tell: Emit) -> None:
    for unused in sorted(request.secrets_offered - context.used):
        kind, _, id = unused.partition(":")
        what = "secret" if kind == "secret" else "SSH agent"
        tell(WarningEvent(code="Unused", short=f"the {what} {id!r} was given, but no step that ran asked for it"))


async def _context_reports(job: Job) -> list[tuple[str, ContextReport]]:
    """What the build saw of the client's directories."""
    reports: dict[str, ContextReport] = {}
    for vertex, result in job.loaded():
        if isinstance(result, LocalTree) and isinstance(vertex, Vertex) and isinstance(vertex.op, SourceOp):
            name = vertex.op.identifier.partition("://")[2]
            report = await result.report()
            # A directory may be looked at twice: once for its ignore file alone.
            if name not in reports or report.files > reports[name].files:
                reports[name] = report
    return list(reports.items())


def slot(scope: str, name: str) -> str:
    """The place of a step in a project: the bracketed beginning of its name ("[build 2/5]") where it has one. The two
    halves of a COPY --link are told apart."""
    place, bracket, text = name.partition("]")
    if not bracket or not name.startswith("["):
        return f"{scope}\0{name}"
    return f"{scope}\0{place}{' LINK' if text.startswith(' LINK ') else ''}"


def _frontend_name(request: BuildRequest) -> str:
    """ "" for a graph, and for a frontend that the requester brings along."""
    if request.graph is not None or request.frontend is not None:
        return ""
    return request.options.get("frontend", DEFAULT_FRONTEND)


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task
