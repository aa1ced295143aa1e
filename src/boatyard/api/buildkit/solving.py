"""A solve request from its message to its answer. Read this page first.

    SolveRequest ─▶ BuildRequest ─▶ build.service ─▶ SolveResponse

A request without graph and frontend is one whose client is the frontend: it calls the gateway meanwhile (`gateway/`).
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from boatyard._pb.control_pb2 import CacheOptionsEntry, SolveRequest, SolveResponse
from boatyard._pb.wellknown import Any
from boatyard.api.buildkit import details, errors, values
from boatyard.api.buildkit.active import ActiveBuild
from boatyard.api.buildkit.backend import Backend
from boatyard.api.buildkit.choice import ClientChoice
from boatyard.api.buildkit.gateway.guest import Guest
from boatyard.api.buildkit.requester import SessionRequester
from boatyard.api.buildkit.verifier import SessionVerifier
from boatyard.build.cache.travel import CachePlace
from boatyard.build.exporter.options import flag, is_known
from boatyard.build.frontend.base import FrontendRequest, FrontendResult, GuestBridge
from boatyard.build.llb import codec
from boatyard.build.request import BuildReply, BuildRequest, Export
from boatyard.errors import BoatyardError, CancelledBuildError, InvalidError, UnsupportedError
from boatyard.image.interruption import settled
from boatyard.progress import Event, WarningEvent

DESCRIPTOR = "containerimage.descriptor"
_EPOCH = "source-date-epoch"
_EPOCH_ARGUMENT = "build-arg:SOURCE_DATE_EPOCH"
_DATED = frozenset({"image", "oci", "docker"})
"""Exporters that take the time of an image as an attribute."""
_FOR_CLIENTS = frozenset({"prefer-image-digest"})
"""Attributes that clients leave as notes to themselves."""
COMPATIBLE = (0, 10, 20, 30)
_REMOTE_CACHES = ("registry", "local", "gha", "s3", "azblob")


async def solve(request: SolveRequest, backend: Backend, active: ActiveBuild) -> SolveResponse:
    """Run a request to its end. GRPCError with all that is known of a failure; cancelling cancels the build."""
    async with AsyncExitStack() as stack:
        frontend: ClientFrontend | None = None
        is_guest = not request.Frontend and not getattr(request.Definition, "def")
        if is_guest:
            frontend = ClientFrontend(active)
            stack.push_async_callback(frontend.close)
        try:
            asked, warnings = build_request(request, frontend)
            requester = await stack.enter_async_context(
                SessionRequester(request.Session, backend.places, asked.exports)
            )
            choice = ClientChoice(requester) if request.EnableSessionExporter else None
            verifier = None
            if request.SourcePolicySession:
                verifier = SessionVerifier(backend.places.sessions, request.SourcePolicySession)
            asked = replace(asked, choose=choice, project=requester.shared_key)
            reply = await _run(active, backend, asked, requester, verifier, warnings)
            answer = response(reply)
            if choice is not None:
                await choice.finish(answer)
        except BoatyardError as error:
            raise errors.grpc_error(error, _frontend(request)) from error
        return SolveResponse(ExporterResponse=answer)


def _frontend(request: SolveRequest) -> list[Any]:
    return [details.frontend(request.Frontend, request.FrontendAttrs.get("source", ""))] if request.Frontend else []


async def _run(
    active: ActiveBuild,
    backend: Backend,
    request: BuildRequest,
    requester: SessionRequester,
    verifier: SessionVerifier | None,
    warnings: Sequence[WarningEvent],
) -> BuildReply:
    def ignore(event: Event) -> None:
        """Who wants to know follows the build."""

    building = asyncio.ensure_future(backend.builder.run(request, requester, ignore, verifier=verifier))
    active.work = building
    try:
        await asyncio.sleep(0)  # its first step is to be recorded
        active.begun.set()
        if recording := backend.history.running(active.ref):
            for warning in warnings:
                recording.add(warning)
        return await asyncio.shield(building)
    except asyncio.CancelledError:
        if building.cancelled():
            raise CancelledBuildError("the build was canceled") from None
        requester.abort()  # no thread of the build waits for the client any more
        building.cancel()
        await settled(asyncio.gather(building, return_exceptions=True))
        raise


class ClientFrontend:
    """The client as a frontend: it is given the bridge, and asks and returns over the gateway. One per build; closed at
    the end of the build, as what it made can still be looked at while the result is exported."""

    def __init__(self, active: ActiveBuild) -> None:
        self._active = active
        self._guest: Guest | None = None

    async def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult:
        self._guest = Guest(bridge, request)
        self._active.serve(self._guest)
        return await self._guest.returned()

    async def close(self) -> None:
        if self._guest is not None:
            await self._guest.close()


def build_request(request: SolveRequest, frontend: ClientFrontend | None) -> tuple[BuildRequest, list[WarningEvent]]:
    """In the builder's own terms, and what is to be said about what it leaves out. InvalidError, UnsupportedError."""
    if request.CompatibilityVersion not in COMPATIBLE:
        raise InvalidError(
            f"unsupported compatibility-version {request.CompatibilityVersion}", hint="known are 10, 20 and 30"
        )
    if request.ProxyNetwork:
        raise UnsupportedError("a proxy network for steps is not supported yet", hint="leave --proxy-network out")
    options = dict(request.FrontendAttrs)
    warnings = [*_check_cache(request), *_check_attestations(options)]
    graph = codec.from_message(request.Definition) if getattr(request.Definition, "def") else None
    if graph is not None and request.Frontend:
        raise InvalidError("a build is of a graph or by a frontend, not both")
    if request.Frontend:
        options = {**options, "frontend": request.Frontend}
    return (
        BuildRequest(
            ref=request.Ref,
            options=options,
            graph=graph,
            frontend=frontend,
            inputs={name: codec.from_message(definition) for name, definition in request.FrontendInputs.items()},
            exports=_exports(request, warnings),
            entitlements=frozenset(request.Entitlements),
            source_policies=values.policies([request.SourcePolicy], "the request's source policy"),
            cache_from=_places(_caches(request)[0]),
            cache_to=_places(_caches(request)[1]),
            scope=options.get("vcs:localdir:context") or options.get("context", ""),
            internal=request.Internal,
            keep_remains=frontend is not None,
        ),
        warnings,
    )


def _exports(request: SolveRequest, warnings: list[WarningEvent]) -> list[Export]:
    """Attributes that image exporters don't have are left out with a warning: clients that are newer than this have
    some, which change little."""
    asked = [(each.Type, dict(each.Attrs)) for each in request.Exporters]
    if not asked and request.ExporterDeprecated:
        asked = [(request.ExporterDeprecated, dict(request.ExporterAttrsDeprecated))]
    epoch = request.FrontendAttrs.get(_EPOCH_ARGUMENT, "")
    exports = []
    for type, attrs in asked:
        each = values.export(type, attrs)
        if each.type in _DATED:
            known = {name: value for name, value in each.attrs.items() if is_known(name)}
            warnings += [
                _warning(f"the exporter {type!r} has no attribute {name!r}: it has no effect")
                for name in each.attrs
                if name not in known and name not in _FOR_CLIENTS
            ]
            each = replace(each, attrs={**({_EPOCH: epoch} if epoch.isdigit() else {}), **known})
        exports.append(each)
    return exports


def _caches(request: SolveRequest) -> tuple[list[CacheOptionsEntry], list[CacheOptionsEntry]]:
    """What is asked to be imported and exported, in the forms of all times."""
    cache = request.Cache

    def old(reference: str, attrs: Mapping[str, str]) -> CacheOptionsEntry:
        return CacheOptionsEntry(Type="registry", Attrs={**attrs, "ref": reference})

    imports = [*cache.Imports, *(old(reference, {}) for reference in cache.ImportRefsDeprecated)]
    exports = [*cache.Exports]
    if cache.ExportRefDeprecated:
        exports.append(old(cache.ExportRefDeprecated, dict(cache.ExportAttrsDeprecated)))
    return imports, exports


def _places(entries: Sequence[CacheOptionsEntry]) -> tuple[CachePlace, ...]:
    return tuple(CachePlace(each.Type, dict(each.Attrs)) for each in entries if each.Type == "registry")


def _check_cache(request: SolveRequest) -> list[WarningEvent]:
    """Caches outside of registries are not supported yet. A build is the same without one to import; one that should be
    exported is missed."""
    imports, exports = _caches(request)
    warnings = [
        _warning(f"importing a build cache ({each.Type}) is not supported yet")
        for each in imports
        if each.Type != "registry"
    ]
    for each in exports:
        if each.Type == "registry":
            continue
        text = f"exporting the build cache ({each.Type}) is not supported yet"
        if each.Type not in (*_REMOTE_CACHES, "inline"):
            raise InvalidError(f"unknown cache exporter: {each.Type!r}")
        if each.Type != "inline" and not flag(each.Attrs, "ignore-error"):
            raise UnsupportedError(text, hint="leave --cache-to out, or add ignore-error=true")
        warnings.append(_warning(text))
    return warnings


def _check_attestations(options: Mapping[str, str]) -> list[WarningEvent]:
    warnings = []
    for name, value in options.items():
        kind = name.removeprefix("attest:").removeprefix("build-arg:BUILDKIT_ATTEST_").lower()
        if kind == name.lower() or "disabled=true" in value:
            continue
        text = f"attestations ({kind}) are not supported yet"
        if "inline-only=true" not in value:
            raise UnsupportedError(text, hint="build without them: `--provenance=false --sbom=false`")
        warnings.append(_warning(text))
    return warnings


def _warning(text: str) -> WarningEvent:
    return WarningEvent(code="NotSupported", short=text)


def response(reply: BuildReply) -> dict[str, str]:
    """In the form that clients read: a descriptor is JSON in base64."""
    told = dict(reply.response)
    if DESCRIPTOR in told:
        told[DESCRIPTOR] = b64encode(told[DESCRIPTOR].encode()).decode()
    for name, value in reply.metadata.items():
        if name.startswith("frontend."):
            told[name] = value.decode("utf-8", "replace")
    return told
