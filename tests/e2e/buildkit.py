"""A BuildKit client made of grpcio, which shares nothing with the daemon but the messages: calls of Control and the
gateway, and a session with directories, secrets and outputs."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from boatyard._pb import control_pb2 as control
from boatyard._pb import exporter_pb2, filesync_pb2, policysession_pb2, secrets_pb2
from boatyard._pb import gateway_pb2 as gateway
from boatyard._pb.fsutil_pb2 import Packet, Stat
from boatyard._pb.status_pb2 import Status
from e2e.yard import Yard

CONTROL = "/moby.buildkit.v1.Control/"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
CONTENT = "/containerd.services.content.v1.Content/"
BUILD = "buildkit-controlapi-buildid"
LARGE = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
PATIENCE = 120.0
_ID = "x-docker-expose-session-uuid"
_METHOD = "x-docker-expose-session-grpc-method"


class FailedError(AssertionError):
    """A call that failed: its code, its message and the status it came with."""

    def __init__(self, error: Any) -> None:
        self.code: grpc.StatusCode = error.code()
        self.message: str = error.details()
        trailers = dict(error.trailing_metadata() or ())
        self.status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
        super().__init__(f"{self.code.name}: {self.message}")

    @property
    def kinds(self) -> list[str]:
        """Of its details: the ends of their types' names."""
        return [detail.type_url.rpartition("/")[2].removesuffix("+json") for detail in self.status.details]

    def detail(self, kind: str) -> bytes:
        return next(
            detail.value for detail in self.status.details if detail.type_url.rpartition("/")[2] == f"{kind}+json"
        )


@dataclass
class Session:
    """What the client offers. `directories`: by name, files by path (a directory's text is None). Outputs arrive in
    `outputs`, by the number of the exporter: an archive's bytes."""

    directories: Mapping[str, Mapping[str, str | bytes | None]] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    """Paths of files whose bytes travelled."""
    chosen: Callable[[Mapping[str, bytes]], Sequence[tuple[str, Mapping[str, str]]]] | None = None
    """Says by a result's metadata which outputs are wanted of it."""
    finished: dict[str, str] = field(default_factory=dict)
    """What came of them."""
    judged: Callable[[Any], Any] | None = None
    """Answers a CheckPolicyRequest."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def methods(self) -> dict[str, Any]:
        both = {"request_deserializer": Packet.FromString, "response_serializer": Packet.SerializeToString}
        found = {
            "/moby.filesync.v1.FileSync/DiffCopy": grpc.stream_stream_rpc_method_handler(self._send, **both),
            "/moby.filesync.v1.FileSend/DiffCopy": grpc.stream_stream_rpc_method_handler(
                self._receive,
                request_deserializer=filesync_pb2.BytesMessage.FromString,
                response_serializer=filesync_pb2.BytesMessage.SerializeToString,
            ),
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": grpc.unary_unary_rpc_method_handler(
                self._secret,
                request_deserializer=secrets_pb2.GetSecretRequest.FromString,
                response_serializer=secrets_pb2.GetSecretResponse.SerializeToString,
            ),
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(lambda request, _: b"\x08\x01"),
        }
        if self.chosen is not None:
            found["/moby.exporter.v1.Exporter/FindExporters"] = grpc.unary_unary_rpc_method_handler(
                self._choose,
                request_deserializer=exporter_pb2.FindExportersRequest.FromString,
                response_serializer=exporter_pb2.FindExportersResponse.SerializeToString,
            )
            found["/moby.exporter.v1.Exporter/FinalizeExport"] = grpc.unary_unary_rpc_method_handler(
                self._finish,
                request_deserializer=exporter_pb2.FinalizeExportRequest.FromString,
                response_serializer=exporter_pb2.FinalizeExportResponse.SerializeToString,
            )
        if self.judged is not None:
            judge = self.judged
            found["/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"] = (
                grpc.unary_unary_rpc_method_handler(
                    lambda request, _: judge(request),
                    request_deserializer=policysession_pb2.CheckPolicyRequest.FromString,
                    response_serializer=policysession_pb2.CheckPolicyResponse.SerializeToString,
                )
            )
        return found

    def _choose(self, request: Any, context: Any) -> Any:
        assert self.chosen is not None
        wanted = [exporter_pb2.ExporterRequest(Type=type, Attrs=attrs) for type, attrs in self.chosen(request.metadata)]
        return exporter_pb2.FindExportersResponse(exporters=wanted)

    def _finish(self, request: Any, context: Any) -> Any:
        self.finished.update(request.exporter_response)
        return exporter_pb2.FinalizeExportResponse()

    def _send(self, packets: Iterator[Packet], context: Any) -> Iterator[Packet]:
        asked = dict(context.invocation_metadata())
        files = self.directories.get(asked["dir-name"])
        if files is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no access allowed to dir {asked['dir-name']!r}")
            return
        wanted = [value for name, value in context.invocation_metadata() if name in ("include-patterns", "followpaths")]
        found = sorted((path for path in files if not wanted or path in wanted), key=lambda path: path.split("/"))
        for path in found:
            data = files[path]
            mode = 0x80000000 | 0o755 if data is None else 0o644
            size = len(_bytes(data)) if data is not None else 0
            yield Packet(
                type=Packet.PACKET_STAT, stat=Stat(path=path, mode=mode, size=size, modTime=1_700_000_000 * 10**9)
            )
        yield Packet(type=Packet.PACKET_STAT)
        for packet in packets:
            if packet.type == Packet.PACKET_FIN:
                yield Packet(type=Packet.PACKET_FIN)
                return
            data = files[found[packet.ID]]
            self.sent.append(found[packet.ID])
            yield Packet(type=Packet.PACKET_DATA, ID=packet.ID, data=_bytes(data))
            yield Packet(type=Packet.PACKET_DATA, ID=packet.ID)

    def _receive(self, messages: Iterator[Any], context: Any) -> Iterator[Any]:
        number = dict(context.invocation_metadata()).get("buildkit-attachable-exporter-id", "0")
        self.outputs[number] = b"".join(message.data for message in messages)
        yield from ()

    def _secret(self, request: Any, context: Any) -> Any:
        if request.ID not in self.secrets:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such secret")
        return secrets_pb2.GetSecretResponse(data=self.secrets[request.ID])


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    def __init__(self, methods: Mapping[str, Any]) -> None:
        self._methods = methods

    def service(self, details: Any) -> Any:
        return self._methods.get(details.method)


class BuildKit:
    """One connection to a daemon. Closed by `connected`."""

    def __init__(self, yard: Yard) -> None:
        self._channel = grpc.insecure_channel(f"unix:{yard.socket}", options=LARGE)
        self._threads = ThreadPoolExecutor(8)

    def close(self) -> None:
        self._channel.close()
        self._threads.shutdown(cancel_futures=True)

    def call(self, path: str, request: Any, reply: Any, **options: Any) -> Any:
        method = self._channel.unary_unary(path, type(request).SerializeToString, reply.FromString)
        try:
            return method(request, timeout=PATIENCE, **options)
        except grpc.RpcError as error:
            raise FailedError(error) from None

    def stream(self, path: str, request: Any, reply: Any, **options: Any) -> Iterator[Any]:
        method = self._channel.unary_stream(path, type(request).SerializeToString, reply.FromString)
        call = method(request, timeout=PATIENCE, **options)
        try:
            yield from call
        except grpc.RpcError as error:
            raise FailedError(error) from None
        finally:
            call.cancel()

    # Control

    @contextmanager
    def session(self, session: Session) -> Iterator[Session]:
        """Live while the context is: its server's connection travels in a call."""
        server = grpc.server(ThreadPoolExecutor(8), options=LARGE)
        methods = session.methods()
        server.add_generic_rpc_handlers((_Methods(methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with ExitStack() as stack:
            stack.callback(server.stop, None)
            pipe = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stack.callback(pipe.shutdown, socket.SHUT_RDWR)

            def outgoing() -> Iterator[control.BytesMessage]:
                with suppress(OSError):  # the session has ended
                    while data := pipe.recv(1 << 17):
                        yield control.BytesMessage(data=data)

            metadata = [(_ID, session.id), *((_METHOD, path) for path in methods)]
            call = self._channel.stream_stream(
                f"{CONTROL}Session", control.BytesMessage.SerializeToString, control.BytesMessage.FromString
            )(outgoing(), metadata=metadata)
            stack.callback(call.cancel)

            def incoming() -> None:
                with suppress(grpc.RpcError, OSError):
                    for message in call:
                        pipe.sendall(message.data)

            threading.Thread(target=incoming, daemon=True).start()
            yield session

    def solve(self, session: Session | None = None, **fields: Any) -> Any:
        fields.setdefault("Ref", uuid.uuid4().hex)
        with self.session(session) if session else ExitStack() as live:
            request = control.SolveRequest(Session=session.id if live is session and session else "", **fields)
            return self.call(f"{CONTROL}Solve", request, control.SolveResponse)

    def dockerfile(self, text: str, session: Session | None = None, **fields: Any) -> Any:
        """A build of a Dockerfile; `session` may bring the context's files along."""
        session = session or Session()
        session.directories = {"context": {}, **session.directories, "dockerfile": {"Dockerfile": text}}
        return self.solve(session, Frontend="dockerfile.v0", **fields)

    def status(self, ref: str) -> Iterator[Any]:
        return self.stream(f"{CONTROL}Status", control.StatusRequest(Ref=ref), control.StatusResponse)

    def history(self, **fields: Any) -> list[Any]:
        request = control.BuildHistoryRequest(EarlyExit=True, **fields)
        return list(self.stream(f"{CONTROL}ListenBuildHistory", request, control.BuildHistoryEvent))

    def submit(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """On a thread."""
        return self._threads.submit(work, *arguments, **options)

    # The gateway

    @contextmanager
    def gateway(self, session: Session | None = None, **fields: Any) -> Iterator[Gateway]:
        """A build whose frontend is the client. What it returned must be asked for with `Gateway.returned`."""
        ref = uuid.uuid4().hex
        build = Gateway(self, ref, self.submit(self.solve, session, Ref=ref, **fields))
        try:
            yield build
        finally:
            if not build.solving.done():
                with suppress(ValueError):  # the channel is closed, and the build ends by that
                    build.fail("the test has ended")
            build.solving.exception(PATIENCE)


class Gateway:
    def __init__(self, client: BuildKit, ref: str, solving: Future[Any]) -> None:
        self.client = client
        self.ref = ref
        self.solving = solving

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [(BUILD, self.ref)]

    def call(self, name: str, request: Any) -> Any:
        reply = getattr(gateway, type(request).__name__.replace("Request", "Response"), None)
        reply = gateway.PongResponse if name == "Ping" else reply
        return self.client.call(BRIDGE + name, request, reply, metadata=self.metadata)

    def solve(self, **fields: Any) -> Any:
        request = gateway.SolveRequest(allowResultReturn=True, allowResultArrayRef=True, **fields)
        return self.call("Solve", request).result

    def give(self, result: Any) -> Any:
        """Return it; the build's answer."""
        self.call("Return", gateway.ReturnRequest(result=result))
        return self.solving.result(PATIENCE)

    def fail(self, message: str) -> None:
        self.call("Return", gateway.ReturnRequest(error=Status(code=2, message=message)))


@contextmanager
def connected(yard: Yard) -> Iterator[BuildKit]:
    client = BuildKit(yard)
    try:
        yield client
    finally:
        client.close()


def logs(messages: Sequence[Any]) -> str:
    return b"".join(log.msg for message in messages for log in message.logs).decode()


def vertices(messages: Sequence[Any]) -> dict[str, Any]:
    """The last word on each step, by its name."""
    return {vertex.name: vertex for message in messages for vertex in message.vertexes}


def _bytes(data: str | bytes | None) -> bytes:
    return data.encode() if isinstance(data, str) else data or b""
