"""LLBBridge: what a frontend outside of the builder may call, one method a question.

The guest that a call is for is found by whoever serves it: by the build's ref in the call's metadata on the daemon's
sockets, or it is the one at the other end of a container's standard input and output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from boatyard._pb import gateway_pb2 as pb
from boatyard._pb import worker_pb2
from boatyard._pb.gateway_grpc import LLBBridgeBase
from boatyard.api.buildkit import capabilities, details, errors, values
from boatyard.api.buildkit.gateway import answer, files
from boatyard.api.buildkit.gateway.guest import Guest
from boatyard.api.buildkit.gateway.processes import Processes
from boatyard.build.frontend.base import FrontendRequest
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Graph, NetMode, SourceOp
from boatyard.build.ops.container import ContainerRequest
from boatyard.build.result import Result
from boatyard.build.source.meta import MetaQuestion, SourceMeta
from boatyard.errors import BoatyardError, InvalidError
from boatyard.image.platform import Platform
from boatyard.progress import Range, WarningEvent

FindGuest = Callable[[Any], Awaitable[Guest]]
"""Of a call: raises NotFoundError when there is no such build."""

_ALGORITHMS = {0: "sha256", 1: "sha384", 2: "sha512"}
_FRONTENDS = "the frontend"


class LLBBridge(LLBBridgeBase):
    """Serves any number of guests. `workers`: what Ping tells of this daemon's worker."""

    def __init__(self, find: FindGuest, workers: Callable[[], Awaitable[Sequence[worker_pb2.WorkerRecord]]]) -> None:
        self._find = find
        self._workers = workers

    # Graphs and results

    async def Ping(self, stream: Any) -> None:  # noqa: N802
        await _asked(stream)
        await self._find(stream)
        await stream.send_message(
            pb.PongResponse(
                FrontendAPICaps=capabilities.messages(capabilities.FRONTEND),
                LLBCaps=capabilities.messages(capabilities.LLB),
                Workers=await self._workers(),
            )
        )

    async def Solve(self, stream: Any) -> None:  # noqa: N802
        request: pb.SolveRequest = await _asked(stream)
        guest = await self._find(stream)
        graph = codec.from_message(request.Definition) if getattr(request.Definition, "def") else None
        if graph is not None and request.Frontend:
            raise InvalidError("a solve is of a graph or by a frontend, not both")
        if graph is not None:
            message = await self._solve_graph(guest, graph, request)
        elif request.Frontend:
            message = await self._solve_frontend(guest, request)
        else:
            message = answer.message_of_reference(guest.hold(Graph(None)), refs=request.allowResultArrayRef)
        if request.Final:
            _return_finally(guest, message, request.ExporterAttr)
        # Clients of old don't know results, only the one ref.
        ref = "" if request.allowResultReturn else message.refDeprecated or message.ref.id
        await stream.send_message(pb.SolveResponse(ref=ref, result=message))

    async def _solve_graph(self, guest: Guest, graph: Graph, request: pb.SolveRequest) -> pb.Result:
        policies = values.policies(request.SourcePolicies, _FRONTENDS)
        passed = await guest.solved(graph.root, lambda: guest.bridge.passed(graph, policies))
        reference = guest.hold(passed)
        if request.Evaluate and passed.root is not None:
            await guest.result(reference.id)
        return answer.message_of_reference(reference, refs=request.allowResultArrayRef)

    async def _solve_frontend(self, guest: Guest, request: pb.SolveRequest) -> pb.Result:
        options = dict(request.FrontendOpt)
        inputs = {name: await _input(guest, definition) for name, definition in request.FrontendInputs.items()}
        extra = [details.frontend(request.Frontend, options.get("source", ""))]
        try:
            asked = FrontendRequest(options, inputs)
            result = await guest.bridge.run_frontend(request.Frontend, asked)
            images = []
            for image in result.images:
                graph = await guest.bridge.passed(Graph(image.edge, result.files))
                images.append(replace(image, edge=graph.root))
        except BoatyardError as error:
            raise guest.failure(error, extra=extra) from error
        message = answer.message_of(guest, replace(result, images=tuple(images)), refs=request.allowResultArrayRef)
        if request.Evaluate:
            await asyncio.gather(*(guest.result(id) for id in answer.ids(message).values() if id))
        return message

    async def Evaluate(self, stream: Any) -> None:  # noqa: N802
        request: pb.EvaluateRequest = await _asked(stream)
        await (await self._find(stream)).result(request.Ref)
        await stream.send_message(pb.EvaluateResponse())

    async def Return(self, stream: Any) -> None:  # noqa: N802
        request: pb.ReturnRequest = await _asked(stream)
        guest = await self._find(stream)
        if request.HasField("error"):
            guest.give_up(errors.restore(request.error))
        else:
            guest.give(answer.result_of(guest, request.result))
        await stream.send_message(pb.ReturnResponse())

    async def Inputs(self, stream: Any) -> None:  # noqa: N802
        await _asked(stream)
        guest = await self._find(stream)
        definitions = {name: codec.to_message(Graph(edge)) for name, edge in guest.request.inputs.items()}
        await stream.send_message(pb.InputsResponse(Definitions=definitions))

    async def Warn(self, stream: Any) -> None:  # noqa: N802
        request: pb.WarnRequest = await _asked(stream)
        guest = await self._find(stream)
        if request.HasField("info") and request.info.filename:
            guest.bridge.learn({request.info.filename: request.info.data.decode("utf-8", "replace")})
        places = tuple(Range(item.start.line, max(item.start.line, item.end.line)) for item in request.ranges)
        guest.bridge.warn(
            WarningEvent(
                vertex=request.digest,
                level=request.level or 1,
                short=request.short.decode("utf-8", "replace"),
                detail="\n".join(line.decode("utf-8", "replace") for line in request.detail),
                url=request.url,
                filename=request.info.filename,
                range=places[0] if places else None,
                ranges=places[1:],
            )
        )
        await stream.send_message(pb.WarnResponse())

    # Sources

    async def ResolveImageConfig(self, stream: Any) -> None:  # noqa: N802
        """Of old clients: ResolveSourceMeta for images alone."""
        request: pb.ResolveImageConfigRequest = await _asked(stream)
        guest = await self._find(stream)
        source = SourceOp(f"docker-image://{request.Ref}")
        if request.ResolverType == 1:
            attrs = {"oci.session": request.SessionID, "oci.store": request.StoreID}
            source = SourceOp(f"oci-layout://{request.Ref}", {name: value for name, value in attrs.items() if value})
        question = MetaQuestion(
            source,
            values.platform(request.Platform) if request.HasField("Platform") else guest.bridge.platform,
            mode=request.ResolveMode,
            log_name=request.LogName,
        )
        meta = await guest.bridge.source_meta(question, values.policies(request.SourcePolicies, _FRONTENDS))
        if meta.image is None:
            raise InvalidError(f"{meta.source.identifier} is no image, and has no config")
        await stream.send_message(
            pb.ResolveImageConfigResponse(
                Ref=meta.source.identifier.partition("://")[2], Digest=meta.image.digest, Config=meta.image.config
            )
        )

    async def ResolveSourceMeta(self, stream: Any) -> None:  # noqa: N802
        request: pb.ResolveSourceMetaRequest = await _asked(stream)
        guest = await self._find(stream)
        question = question_of(request, guest.bridge.platform)
        meta = await guest.bridge.source_meta(question, values.policies(request.SourcePolicies, _FRONTENDS))
        await stream.send_message(source_meta_message(meta))

    # Files

    async def ReadFile(self, stream: Any) -> None:  # noqa: N802
        request: pb.ReadFileRequest = await _asked(stream)
        result = await self._result(stream, request.Ref)
        await stream.send_message(pb.ReadFileResponse(Data=await files.read_file(result, request)))

    async def ReadDir(self, stream: Any) -> None:  # noqa: N802
        request: pb.ReadDirRequest = await _asked(stream)
        result = await self._result(stream, request.Ref)
        await stream.send_message(pb.ReadDirResponse(entries=await files.read_dir(result, request)))

    async def StatFile(self, stream: Any) -> None:  # noqa: N802
        request: pb.StatFileRequest = await _asked(stream)
        result = await self._result(stream, request.Ref)
        await stream.send_message(pb.StatFileResponse(stat=await files.stat_file(result, request)))

    async def _result(self, stream: Any, id: str) -> Result:
        return await (await self._find(stream)).result(id)

    # Containers

    async def NewContainer(self, stream: Any) -> None:  # noqa: N802
        request: pb.NewContainerRequest = await _asked(stream)
        guest = await self._find(stream)
        results: list[Result] = []
        mounts = []
        for message in request.Mounts:
            message.input = -1
            if message.resultID:
                message.input = len(results)
                results.append(await guest.result(message.resultID))
            message.output = -1
            mounts.append(codec.mount(message, len(results)))
        await guest.open_container(
            request.ContainerID,
            ContainerRequest(
                mounts=tuple(mounts),
                results=tuple(results),
                network=_network(request.Network),
                extra_hosts=values.hosts(request.extraHosts),
                hostname=request.hostname,
            ),
        )
        await stream.send_message(pb.NewContainerResponse())

    async def ReleaseContainer(self, stream: Any) -> None:  # noqa: N802
        request: pb.ReleaseContainerRequest = await _asked(stream)
        await (await self._find(stream)).release(request.ContainerID)
        await stream.send_message(pb.ReleaseContainerResponse())

    async def ExecProcess(self, stream: Any) -> None:  # noqa: N802
        guest = await self._find(stream)
        await stream.send_initial_metadata()
        await Processes(guest, stream).run()

    async def ReadFileContainer(self, stream: Any) -> None:  # noqa: N802
        request: pb.ReadFileRequest = await _asked(stream)
        place = (await self._find(stream)).container(request.Ref).place(request.MountIndex)
        data = await asyncio.to_thread(files.read_mounted, place, request)
        await stream.send_message(pb.ReadFileResponse(Data=data))

    async def ReadDirContainer(self, stream: Any) -> None:  # noqa: N802
        request: pb.ReadDirRequest = await _asked(stream)
        place = (await self._find(stream)).container(request.Ref).place(request.MountIndex)
        entries = await asyncio.to_thread(files.list_mounted, place, request)
        await stream.send_message(pb.ReadDirResponse(entries=entries))

    async def StatFileContainer(self, stream: Any) -> None:  # noqa: N802
        request: pb.StatFileRequest = await _asked(stream)
        place = (await self._find(stream)).container(request.Ref).place(request.MountIndex)
        stat = await asyncio.to_thread(files.stat_mounted, place, request)
        await stream.send_message(pb.StatFileResponse(stat=stat))


def question_of(request: pb.ResolveSourceMetaRequest, platform: Platform | None) -> MetaQuestion:
    """`platform`: where the request names none."""
    return MetaQuestion(
        values.source(request.Source),
        values.platform(request.Platform) if request.HasField("Platform") else platform,
        mode=request.ResolveMode,
        log_name=request.LogName,
        no_config=request.Image.NoConfig,
        attestation_chain=request.Image.AttestationChain,
        attestations=tuple(request.Image.ResolveAttestations),
        objects=request.Git.ReturnObject,
        checksum=_algorithm(request.HTTP),
        suffix=request.HTTP.ChecksumRequest.Suffix,
    )


def source_meta_message(meta: SourceMeta) -> pb.ResolveSourceMetaResponse:
    message = pb.ResolveSourceMetaResponse(Source=values.source_message(meta.source))
    if meta.image is not None:
        message.Image.CopyFrom(pb.ResolveSourceImageResponse(Digest=meta.image.digest, Config=meta.image.config))
    if meta.git is not None:
        git = meta.git
        message.Git.CopyFrom(
            pb.ResolveSourceGitResponse(
                Checksum=git.checksum,
                Ref=git.ref,
                CommitChecksum=git.commit_checksum,
                CommitObject=git.commit_object,
                TagObject=git.tag_object,
            )
        )
    if meta.http is not None:
        http = meta.http
        message.HTTP.CopyFrom(
            pb.ResolveSourceHTTPResponse(
                Checksum=http.checksum, Filename=http.filename, LastModified=values.timestamp(http.last_modified)
            )
        )
        if http.asked:
            message.HTTP.ChecksumResponse.CopyFrom(pb.ChecksumResponse(Digest=http.asked, Suffix=http.suffix))
    return message


async def _asked(stream: Any) -> Any:
    request = await stream.recv_message()
    if request is None:
        raise InvalidError("the call has no request")
    return request


async def _input(guest: Guest, definition: Any) -> Edge | None:
    return (await guest.bridge.passed(codec.from_message(definition))).root


def _return_finally(guest: Guest, message: pb.Result, attributes: bytes) -> None:
    """Clients of old return with their last solve."""
    try:
        metadata = msgspec.json.decode(attributes or b"{}", type=dict[str, bytes])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidError(f"the exporter attributes can't be read: {error}") from error
    final = pb.Result()
    final.CopyFrom(message)
    final.metadata.clear()
    final.metadata.update({**metadata, **message.metadata})
    guest.give(answer.result_of(guest, final))


def _algorithm(request: pb.ResolveSourceHTTPRequest) -> str:
    if not request.HasField("ChecksumRequest"):
        return ""
    found = _ALGORITHMS.get(request.ChecksumRequest.Algo)
    if found is None:
        raise InvalidError(f"{request.ChecksumRequest.Algo} is no checksum algorithm")
    return found


def _network(number: int) -> NetMode:
    try:
        return NetMode(number)
    except ValueError:
        raise InvalidError(f"{number} is no network mode") from None
