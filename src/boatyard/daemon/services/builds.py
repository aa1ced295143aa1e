"""Builds and their history."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Any, NoReturn

from boatyard.api.native.services import LinkedRequester
from boatyard.build import debug
from boatyard.build import request as requests
from boatyard.build.cache.travel import CachePlace
from boatyard.build.history import BuildRecord
from boatyard.build.llb.graph import ProxyEnv
from boatyard.build.policy.verdict import Verifier
from boatyard.build.requester import WHOLE, ClientDirectory, Progress, Requester, Wanted
from boatyard.build.service import BuildService, Planned
from boatyard.build.tree.report import ContextReport as TreeReport
from boatyard.client.documents.builds import (
    BuildDelete,
    BuildDetail,
    BuildRequest,
    BuildResult,
    BuildStep,
    BuildSummary,
    ContextFile,
    ContextReport,
    DebugRequest,
    Export,
)
from boatyard.client.documents.envelope import ErrorDocument
from boatyard.daemon import policies
from boatyard.errors import InvalidError, UnavailableError, UnsupportedError
from boatyard.image.digest import Digest
from boatyard.image.interruption import run_settled
from boatyard.image.platform import Platform
from boatyard.progress import Emit, Event, ExplainEvent, VertexEvent, WarningEvent
from boatyard.runtime.container import ContainerSpec, Executor, Stdio, TerminalReceiver


class Builds:
    """Implements `BuildService` of the native API and of Docker's. `trust_host_ca` and `proxy` are the
    configuration's."""

    def __init__(
        self,
        service: BuildService,
        executor: Executor,
        *,
        trust_host_ca: bool,
        proxy: Mapping[str, str],
    ) -> None:
        self._service = service
        self._executor = executor
        self._trust_host_ca = trust_host_ca
        self._proxy = proxy

    async def build(
        self, request: BuildRequest, requester: LinkedRequester, emit: Emit, terminal: TerminalReceiver | None
    ) -> BuildResult:
        _check_supported(request)
        started = time.time()
        last: dict[str, VertexEvent] = {}
        warnings = 0

        def tell(event: Event) -> None:
            nonlocal warnings
            if isinstance(event, VertexEvent):
                last[event.digest] = event
            warnings += isinstance(event, WarningEvent)
            emit(event)

        async def failed(spec: ContainerSpec, message: str) -> None:
            assert terminal is not None
            await self._executor.run(_shell(spec, debug.SHELL, terminal), terminal)

        reply = await self._service.build(
            self._request(request, requester), requester, tell, failed=failed if terminal is not None else None
        )
        return BuildResult(
            ref=reply.ref,
            response=dict(reply.response),
            metadata={name: value.decode("utf-8", "replace") for name, value in reply.metadata.items()},
            warnings=warnings,
            steps=len(last),
            cached_steps=sum(event.cached for event in last.values()),
            duration=time.time() - started,
            context_reports=tuple(_report(name, report) for name, report in reply.context_reports),
        )

    async def run(
        self,
        request: requests.BuildRequest,
        requester: Requester,
        emit: Emit,
        *,
        planned: Planned | None = None,
        verifier: Verifier | None = None,
    ) -> requests.BuildReply:
        """A request in the builder's own terms, for faces that don't know this daemon's settings."""
        request = replace(request, trust_host_ca=self._trust_host_ca, proxy=proxy_environment(self._proxy))
        return await self._service.build(request, requester, emit, planned=planned, verifier=verifier)

    def cancel(self, ref: str) -> None:
        self._service.cancel(ref)

    def _request(self, request: BuildRequest, requester: LinkedRequester) -> requests.BuildRequest:
        proxy = request.proxy if request.proxy is not None else self._proxy
        context = request.locals.get("context")
        return requests.BuildRequest(
            ref=request.ref or os.urandom(12).hex(),
            options=request.frontend_attrs,
            exports=[requests.Export(export.type, export.attrs) for export in request.exports],
            entitlements=frozenset(request.entitlements),
            source_policies=tuple(map(policies.from_document, request.source_policies)),
            cache_from=tuple(CachePlace(each.type, each.attrs) for each in request.cache_from),
            cache_to=tuple(CachePlace(each.type, each.attrs) for each in request.cache_to),
            scope=context.identity.split(":", 2)[-1] if context else request.frontend_attrs.get("context", ""),
            explain=request.explain,
            keep_failed=request.on_error == "shell",
            context_report=request.context_report,
            trust_host_ca=self._trust_host_ca if request.trust_host_ca is None else request.trust_host_ca,
            proxy=proxy_environment(proxy),
            label=request.label,
            group=request.group,
            linked={
                id: requests.LinkedRequest(build.frontend_attrs, requester.linked[id])
                for id, build in request.linked.items()
            },
            secrets_offered=frozenset({f"secret:{id}" for id in request.secrets} | {f"ssh:{id}" for id in request.ssh}),
        )

    async def list_builds(self, *, limit: int, status: str) -> Sequence[BuildSummary]:
        records = await asyncio.to_thread(self._service.history.records)
        found = [_summary(record) for record in records if not status or record.status == status]
        return found[:limit] if limit else found

    async def inspect_build(self, ref: str) -> BuildDetail:
        return await asyncio.to_thread(self._inspect, ref)

    def _inspect(self, ref: str) -> BuildDetail:
        record = self._service.history.get(ref)
        explained, warned = [], []
        for event in self._service.history.events(record.ref):
            if isinstance(event, ExplainEvent):
                explained.append(event)
            elif isinstance(event, WarningEvent):
                warned.append(event)
        return BuildDetail(
            **_summary_fields(record),
            frontend_attrs=record.options,
            locals={"context": record.scope} if record.scope else {},
            exports=tuple(
                Export(type=export["type"], attrs={name: value for name, value in export.items() if name != "type"})
                for export in record.exports
            ),
            response=record.response,
            step_list=tuple(self._steps(record)),
            explain=tuple(explained),
            warning_list=tuple(warned),
        )

    def _steps(self, record: BuildRecord) -> list[BuildStep]:
        return [
            BuildStep(
                number=step.number,
                vertex=step.event.digest,
                name=step.event.name,
                started=step.event.started,
                completed=step.event.completed,
                cached=step.event.cached,
                skipped=step.event.skipped,
                error=step.event.error,
                debuggable=step.vertex is not None,
            )
            for step in debug.steps(self._service, record.ref)
        ]

    async def build_logs(self, ref: str, *, follow: bool) -> AsyncIterator[Event]:
        history = self._service.history
        record = await asyncio.to_thread(history.get, ref)
        batches = history.follow(record.ref) if follow else history.replay(record.ref)
        async with aclosing(batches):
            async for events in batches:
                for event in events:
                    yield event

    async def cancel_build(self, ref: str) -> BuildDetail:
        record = self._service.history.get(ref)
        self._service.cancel(record.ref)
        await self._service.until_ended(record.ref)
        return await self.inspect_build(record.ref)

    async def delete_builds(self, request: BuildDelete) -> Sequence[str]:
        if bool(request.refs) == request.all:
            raise InvalidError(
                "name builds, or all of them, not both", hint="`boat builder history --rm REF` or `--rm --all`"
            )
        return await run_settled(self._delete, request.refs)

    def _delete(self, refs: Sequence[str]) -> list[str]:
        """Without any refs, all builds that don't run."""
        history = self._service.history
        refs = refs or [record.ref for record in history.records() if record.ref not in self._service.running]
        return [history.delete(ref) for ref in refs]

    async def debug_build(self, ref: str, request: DebugRequest, stdio: Stdio | TerminalReceiver, emit: Emit) -> int:
        code = 0

        async def run(spec: ContainerSpec) -> None:
            nonlocal code
            code = await self._executor.run(_shell(spec, request.argv or debug.SHELL, stdio), stdio)

        await debug.open_shell(
            self._service,
            ref,
            request.step,
            AbsentRequester(),
            emit,
            run,
            after=request.after,
            proxy=proxy_environment(self._proxy),
        )
        return code


def _shell(spec: ContainerSpec, command: tuple[str, ...], stdio: Stdio | TerminalReceiver) -> ContainerSpec:
    """The step's container with another command. On a terminal, programs want to know its kind."""
    kind = () if isinstance(stdio, Stdio) or any(entry.startswith("TERM=") for entry in spec.env) else ("TERM=xterm",)
    return replace(spec, args=command, env=(*spec.env, *kind))


class AbsentRequester:
    """A build's client that has gone: what only it could give is unavailable. Implements `Requester`."""

    def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return _Gone(f"the directory {name!r}")

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return _Gone(f"the OCI layout {name!r}")

    async def secret(self, id: str) -> bytes | None:
        return None

    async def ssh_agent(self, id: str) -> str | None:
        return None

    async def upload(self, id: str) -> int | None:
        return None

    async def registry_credentials(self, host: str) -> None:
        return None

    async def output(self, index: int) -> None:
        return None


class _Gone(AbstractAsyncContextManager[ClientDirectory]):
    def __init__(self, what: str) -> None:
        self._what = what

    async def __aenter__(self) -> NoReturn:
        raise UnavailableError(
            f"{self._what} of the build's client is needed to bring this step back, and isn't here any more",
            hint="build again, then debug that build",
        )

    async def __aexit__(self, *error: object) -> None:
        return None


def proxy_environment(proxy: Mapping[str, str]) -> ProxyEnv | None:
    values = {name.lower(): value for name, value in proxy.items() if value}
    known = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    return (
        ProxyEnv(**{name: values.get(name, "") for name in known}) if any(values.get(name) for name in known) else None
    )


def _report(name: str, report: TreeReport) -> ContextReport:
    return ContextReport(
        name=name,
        files=report.files,
        bytes=report.bytes,
        largest=tuple(ContextFile(path=path, size=size) for path, size in report.largest),
        ignored_files=sum(each.files for each in report.left_out),
        ignored_bytes=sum(each.bytes for each in report.left_out),
        ignored=tuple(ContextFile(path=f"{each.path} ({each.pattern})", size=each.bytes) for each in report.left_out),
    )


def _check_supported(request: BuildRequest) -> None:
    for option, what in (
        (
            [each for each in request.cache_from if each.type != "registry"],
            "importing caches that are not in registries",
        ),
        (
            [each for each in request.cache_to if each.type != "registry"],
            "exporting caches that don't go to registries",
        ),
    ):
        if option:
            raise UnsupportedError(f"{what} is not supported yet", hint="use type=registry, or leave the option out")


def _summary(record: BuildRecord) -> BuildSummary:
    return BuildSummary(**_summary_fields(record))


def _summary_fields(record: BuildRecord) -> dict[str, Any]:
    return {
        "ref": record.ref,
        "name": record.name,
        "status": record.status,
        "started": record.created,
        "completed": record.completed,
        "steps": record.steps,
        "completed_steps": record.completed_steps,
        "cached_steps": record.cached_steps,
        "warnings": record.warnings,
        "error": ErrorDocument(kind=record.error_kind, message=record.error) if record.error else None,
    }
