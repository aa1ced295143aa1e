"""The builder, as a frontend sees it: solve graphs, read what came out, look up images, warn.

One `Bridge` per build, over one gRPC channel: a frontend's standard input and output, or a connection to a daemon.

Specification: moby/buildkit `frontend/gateway/pb/gateway.proto`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from boatyard._pb import gateway_pb2 as pb
from boatyard._pb import ops_pb2, status_pb2
from boatyard._pb.gateway_grpc import LLBBridgeStub
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, OpMetadata, SourceOp
from boatyard.errors import UnavailableError
from boatyard.frontend import problem
from boatyard.frontend.reference import Entry, Reference, Solution, entry
from boatyard.frontend.result import Answer, Image, Result
from boatyard.frontend.state import NAME, State
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig
from boatyard.progress import WarningEvent
from boatyard.wire.grpc.limits import GrpcLimits
from boatyard.wire.http2.limits import Http2Limits

T = TypeVar("T")

LIMITS = GrpcLimits(http2=Http2Limits(handshake_timeout=120.0, header_bytes=1 << 20))
"""For the channel. A busy machine may take its time to answer; and a failure is told in headers, with the whole of the
file that it points into."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that was looked up: its environment, directory and user are the state's. `reference` and `digest` pin
    it; what a request gives in an image's place has a name only."""

    state: State
    config: ImageConfig
    reference: str
    digest: Digest | None = None


def based(state: State, config: ImageConfig | None, reference: str, digest: Digest | None = None) -> BaseImage:
    """Files, and the config that came with them. Plain files have none: steps on them begin from nothing."""
    platform = state.platform or platforms.host_platform()
    known = config or ImageConfig(architecture=platform.architecture, os=platform.os, variant=platform.variant)
    state = replace(
        state,
        environment=dict(entry.partition("=")[::2] for entry in known.config.env),
        directory=known.config.working_dir or "/",
        user=known.config.user,
        steps=() if config else None,
    )
    return BaseImage(state, known, reference, digest)


class Bridge:
    """Owned by whoever opened the channel. Its methods raise BridgeError for what the builder refuses or fails at, and
    UnavailableError when it has gone."""

    def __init__(self, channel: Channel, pong: pb.PongResponse, metadata: Mapping[str, str] | None = None) -> None:
        """Made by `connect`."""
        self._stub = LLBBridgeStub(channel)
        self._metadata = dict(metadata or {})
        self.capabilities = frozenset(cap.ID for cap in pong.FrontendAPICaps if cap.Enabled)
        self.graph_capabilities = frozenset(cap.ID for cap in pong.LLBCaps if cap.Enabled)
        offered = [_platform(each) for worker in pong.Workers for each in worker.platforms]
        self.platforms: tuple[Platform, ...] = tuple(offered) or (platforms.host_platform(),)
        """Those that steps can be run for; the builder's own is the first."""

    @property
    def platform(self) -> Platform:
        """The builder's own."""
        return self.platforms[0]

    @classmethod
    async def connect(cls, channel: Channel, metadata: Mapping[str, str] | None = None) -> Bridge:
        pong = await _called(lambda: LLBBridgeStub(channel).Ping(pb.PingRequest(), metadata=dict(metadata or {})))
        return cls(channel, pong, metadata)

    # -- solving

    async def solve(self, state: State, *, evaluate: bool = False) -> Reference:
        """A handle on a state's files. Nothing is built before they are asked for, unless `evaluate`. Solving the same
        again costs nothing."""
        definition = ops_pb2.Definition.FromString(codec.encode(state.graph))
        solved = await self._solve(pb.SolveRequest(Definition=definition, Evaluate=evaluate))
        return solved.reference or Reference("", self)

    async def frontend(
        self, name: str, options: Mapping[str, str], inputs: Mapping[str, State] | None = None
    ) -> Solution:
        """What another frontend makes of a request (`dockerfile.v0`, `gateway.v0` with the option `source`). It may
        take files of `inputs` where a request names contexts (`input:NAME`)."""
        given = {
            each: ops_pb2.Definition.FromString(codec.encode(state.graph)) for each, state in (inputs or {}).items()
        }
        return await self._solve(pb.SolveRequest(Frontend=name, FrontendOpt=options, FrontendInputs=given))

    async def _solve(self, request: pb.SolveRequest) -> Solution:
        request.allowResultReturn = request.allowResultArrayRef = True
        result = (await self._call(self._stub.Solve, request)).result
        kind = result.WhichOneof("result")
        one: Reference | None = None
        many: dict[str, Reference] = {}
        if kind == "ref":
            one = Reference(result.ref.id, self)
        elif kind == "refs":
            many = {name: Reference(ref.id, self) for name, ref in result.refs.refs.items()}
        elif kind == "refDeprecated":
            one = Reference(result.refDeprecated, self)
        elif kind == "refsDeprecated":
            many = {name: Reference(id, self) for name, id in result.refsDeprecated.refs.items()}
        return Solution(one, many, dict(result.metadata))

    # -- reading; what `Reference` asks

    async def read(self, id: str, path: str, offset: int, length: int | None) -> bytes:
        request = pb.ReadFileRequest(Ref=id, FilePath=path)
        if offset or length is not None:
            request.Range.Offset = offset
            request.Range.Length = length or 0
        return (await self._call(self._stub.ReadFile, request)).Data

    async def list(self, id: str, path: str, pattern: str) -> Sequence[Entry]:
        request = pb.ReadDirRequest(Ref=id, DirPath=path, IncludePattern=pattern)
        return [entry(each) for each in (await self._call(self._stub.ReadDir, request)).entries]

    async def stat(self, id: str, path: str) -> Entry:
        return entry((await self._call(self._stub.StatFile, pb.StatFileRequest(Ref=id, Path=path))).stat)

    async def evaluate(self, id: str) -> None:
        await self._call(self._stub.Evaluate, pb.EvaluateRequest(Ref=id))

    # -- sources

    async def image(
        self, reference: str, platform: Platform | None = None, *, mode: str = "default", name: str = ""
    ) -> BaseImage:
        """Look an image up, pin it by its digest, and take over its environment, directory and user. `mode`: default
        (what the builder has, then the registry), pull or local."""
        platform = platform or self.platform
        full = str(references.parse(reference).with_default_tag())
        pinned, digest, data = await self.resolve(full, platform, mode=mode)
        config = documents.parse_config(data)
        vertex = codec.vertex(
            SourceOp(f"docker-image://{pinned}", {} if mode == "default" else {"image.resolvemode": mode}),
            (),
            platform,
            OpMetadata(description={NAME: name or f"FROM {pinned}"}),
        )
        return based(State(Edge(vertex), platform=platform), config, pinned, digest)

    async def resolve(
        self, reference: str, platform: Platform, *, mode: str = "default", store: str = ""
    ) -> tuple[str, Digest, bytes]:
        """The pinned name, the digest and the config document of an image; with `store`, of an OCI layout that the
        client offers under that name."""
        request = pb.ResolveImageConfigRequest(
            Ref=reference,
            Platform=ops_pb2.Platform(OS=platform.os, Architecture=platform.architecture, Variant=platform.variant),
            ResolveMode=mode,
            LogName=f"[internal] load metadata for {reference}",
            ResolverType=1 if store else 0,
            StoreID=store,
        )
        found = await self._call(self._stub.ResolveImageConfig, request)
        digest = digests.parse(found.Digest)
        pinned = str(references.parse(found.Ref or reference).with_digest(digest))
        return pinned, digest, found.Config

    async def inputs(self) -> dict[str, State]:
        """What the caller of this frontend gives it to work on, by name."""
        if "frontend.inputs" not in self.capabilities:
            return {}
        found = await self._call(self._stub.Inputs, pb.InputsRequest())
        states = {}
        for name, definition in found.Definitions.items():
            graph = codec.decode(definition.SerializeToString())
            states[name] = State(graph.root, texts=graph.files, steps=None)
        return states

    # -- telling

    async def warn(self, warning: WarningEvent, *, text: str = "") -> None:
        """A remark beside the build. `text` is the file that it points into (`Place.warning`)."""
        request = pb.WarnRequest(
            digest=warning.vertex,
            level=1,
            short=warning.short.encode(),
            detail=[warning.detail.encode()] if warning.detail else [],
            url=warning.url,
        )
        if warning.code:
            request.short = f"{warning.code}: {warning.short}".encode()
        if warning.filename:
            request.info.filename = warning.filename
            request.info.data = text.encode()
        if warning.range is not None:
            request.ranges.add(
                start=ops_pb2.Position(line=warning.range.start), end=ops_pb2.Position(line=warning.range.end)
            )
        await self._call(self._stub.Warn, request)

    # -- the end

    async def give(self, result: Result | Image | Answer | Solution) -> None:
        """The build's result. Afterwards there is nothing more to ask."""
        message = pb.Result()
        if isinstance(result, Answer):
            message.metadata.update(result.metadata())
        elif isinstance(result, Solution):
            _forward(result, message)
        else:
            await self._fill(Result((result,)) if isinstance(result, Image) else result, message)
        await self._call(self._stub.Return, pb.ReturnRequest(result=message))

    async def _fill(self, result: Result, message: pb.Result) -> None:
        solved = [(image, await self.solve(image.state)) for image in result.images]
        message.metadata.update(result.metadata)
        if not result.multi_platform and len(solved) == 1:
            image, reference = solved[0]
            message.ref.id = reference.id
            message.metadata["containerimage.config"] = _encoded(image.config)
            return
        listed = []
        message.refs.SetInParent()
        for image, reference in solved:
            id = str(image.platform)
            message.refs.refs[id].id = reference.id
            message.metadata[f"containerimage.config/{id}"] = _encoded(image.config)
            listed.append({"ID": id, "Platform": image.platform})
        message.metadata["refs.platforms"] = _json({"Platforms": listed})

    async def fail(self, status: status_pb2.Status) -> None:
        """The build's end without a result."""
        await self._call(self._stub.Return, pb.ReturnRequest(error=status))

    async def _call(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        return await _called(lambda: method(request, metadata=self._metadata))


async def _called(call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    except GRPCError as error:
        told = problem.of_call(error)
        raise told from told.reason
    except (ConnectionError, OSError) as error:
        raise UnavailableError(f"the builder has gone: {error}") from error


def _forward(solution: Solution, message: pb.Result) -> None:
    message.metadata.update(solution.metadata)
    if solution.references:
        message.refs.SetInParent()
        for name, reference in solution.references.items():
            message.refs.refs[name].id = reference.id
    elif solution.reference is not None:
        message.ref.id = solution.reference.id


def _platform(message: ops_pb2.Platform) -> Platform:
    return platforms.normalise(message.OS, message.Architecture, message.Variant, message.OSVersion, message.OSFeatures)


def _encoded(config: ImageConfig) -> bytes:
    return spec.encode(config)


def _json(document: object) -> bytes:
    return msgspec.json.encode(document)
