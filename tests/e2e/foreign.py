"""A client of BuildKit's API that shares nothing with the daemon: grpcio, and messages compiled here and now from the
.proto files.

It holds sessions, too: a grpcio server on a socket of its own, whose bytes are carried in Control.Session.
"""

from __future__ import annotations

import importlib
import os
import socket
import stat
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from grpc_tools import protoc

PROTOS = Path(__file__).parents[2] / "src/boatyard/_pb"
CONTROL = "/moby.buildkit.v1.Control"
GATEWAY = "/moby.buildkit.v1.frontend.LLBBridge"
LIMITS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 64 << 20)]
_PIECE = 32768


def compile_messages(directory: Path) -> SimpleNamespace:
    """Every .proto file as a module, by its name: `.control.SolveRequest`."""
    package = directory / "foreign_pb"
    package.mkdir()
    for source in PROTOS.glob("*.proto"):
        text = source.read_text().replace('import "boatyard/_pb/', 'import "foreign_pb/')
        (package / source.name).write_text(text)
    names = sorted(str(path.relative_to(directory)) for path in package.glob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    assert protoc.main(["protoc", f"-I{directory}", f"-I{well_known}", f"--python_out={directory}", *names]) == 0
    sys.path.insert(0, str(directory))
    try:
        return SimpleNamespace(
            **{
                path.stem: importlib.import_module(f"foreign_pb.{path.stem}_pb2")
                for path in sorted(package.glob("*.proto"))
            }
        )
    finally:
        sys.path.remove(str(directory))


class Client:
    """One connection to the daemon at `path`."""

    def __init__(self, path: Path | str, messages: SimpleNamespace) -> None:
        self.m = messages
        self.channel = grpc.insecure_channel(f"unix:{path}", options=LIMITS)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def call(self, method: str, request: Any, answer: type[Any], *, timeout: float = 120, **options: Any) -> Any:
        made = self.channel.unary_unary(
            method, request_serializer=lambda one: one.SerializeToString(), response_deserializer=answer.FromString
        )
        return made(request, timeout=timeout, **options)

    def stream(self, method: str, request: Any, answer: type[Any], **options: Any) -> Any:
        made = self.channel.unary_stream(
            method, request_serializer=lambda one: one.SerializeToString(), response_deserializer=answer.FromString
        )
        return made(request, timeout=120, **options)

    def solve(self, **fields: Any) -> Any:
        request = self.m.control.SolveRequest(Ref=uuid.uuid4().hex, **fields)
        return self.call(f"{CONTROL}/Solve", request, self.m.control.SolveResponse)

    def status(self, ref: str) -> Any:
        return self.stream(f"{CONTROL}/Status", self.m.control.StatusRequest(Ref=ref), self.m.control.StatusResponse)


@dataclass
class Session:
    """What a client offers. `asked` tells what the daemon wanted."""

    m: SimpleNamespace
    directories: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked: list[str] = field(default_factory=list)
    sent_files: list[str] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)

    @contextmanager
    def held(self, client: Client, directory: Path) -> Iterator[Session]:
        """Announced to the daemon, and served, within the context."""
        path = directory / f"{self.id[:8]}.sock"
        server = grpc.server(ThreadPoolExecutor(16), options=LIMITS)
        for service, methods in self._methods().items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        server.add_insecure_port(f"unix:{path}")
        server.start()
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        carried = self._carry(client, sock)
        try:
            yield self
        finally:
            carried.cancel()
            sock.close()
            server.stop(0).wait()

    def _carry(self, client: Client, sock: socket.socket) -> Any:
        message = self.m.control.BytesMessage

        def outgoing() -> Iterator[Any]:
            while True:
                try:
                    data = sock.recv(_PIECE)
                except OSError:
                    return
                if not data:
                    return
                yield message(data=data)

        metadata = [
            ("x-docker-expose-session-uuid", self.id),
            ("x-docker-expose-session-name", "foreign"),
            ("x-docker-expose-session-sharedkey", "foreign"),
        ]
        for service, methods in self._methods().items():
            metadata += [("x-docker-expose-session-grpc-method", f"/{service}/{method}") for method in methods]
        made = client.channel.stream_stream(
            f"{CONTROL}/Session",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=message.FromString,
        )
        call = made(outgoing(), metadata=metadata)

        def incoming() -> None:
            try:
                for one in call:
                    sock.sendall(one.data)
            except (grpc.RpcError, OSError):
                return  # the session is over
            finally:
                sock.close()

        threading.Thread(target=incoming, daemon=True).start()
        return call

    def _methods(self) -> dict[str, dict[str, Any]]:
        m = self.m
        return {
            "moby.filesync.v1.FileSync": {
                "DiffCopy": grpc.stream_stream_rpc_method_handler(
                    self._send_directory, m.fsutil.Packet.FromString, lambda one: one.SerializeToString()
                )
            },
            "moby.filesync.v1.FileSend": {
                "DiffCopy": grpc.stream_stream_rpc_method_handler(
                    self._receive, m.filesync.BytesMessage.FromString, lambda one: one.SerializeToString()
                )
            },
            "moby.buildkit.secrets.v1.Secrets": {
                "GetSecret": grpc.unary_unary_rpc_method_handler(
                    self._secret, m.secrets.GetSecretRequest.FromString, lambda one: one.SerializeToString()
                )
            },
            "grpc.health.v1.Health": {"Check": grpc.unary_unary_rpc_method_handler(lambda _, __: b"\x08\x01")},
        }

    def _send_directory(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        kinds = self.m.fsutil.Packet
        metadata = list(context.invocation_metadata())
        name = dict(metadata)["dir-name"]
        self.asked.append(f"directory {name}")
        if name not in self.directories:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no directory {name}")
        root = self.directories[name]
        wanted = [value for key, value in metadata if key == "followpaths"]
        paths = list(_walk(root, wanted))
        for path in paths:
            yield kinds(type=kinds.PACKET_STAT, stat=self._stat(root, path))
        yield kinds(type=kinds.PACKET_STAT)
        for request in requests:
            if request.type == kinds.PACKET_FIN:
                yield kinds(type=kinds.PACKET_FIN)
                return
            assert request.type == kinds.PACKET_REQ, request
            self.sent_files.append(paths[request.ID])
            data = (root / paths[request.ID]).read_bytes()
            for start in range(0, len(data), _PIECE):
                yield kinds(type=kinds.PACKET_DATA, ID=request.ID, data=data[start : start + _PIECE])
            yield kinds(type=kinds.PACKET_DATA, ID=request.ID)

    def _stat(self, root: Path, path: str) -> Any:
        found = (root / path).lstat()
        mode = stat.S_IMODE(found.st_mode) & 0o777
        if stat.S_ISDIR(found.st_mode):
            mode |= 1 << 31
        link = ""
        if stat.S_ISLNK(found.st_mode):
            mode |= 1 << 27
            link = os.readlink(root / path)
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        return self.m.fsutil.Stat(path=path, mode=mode, size=size, modTime=found.st_mtime_ns, linkname=link)

    def _receive(self, messages: Iterator[Any], context: Any) -> Iterator[Any]:
        self.asked.append("output")
        for message in messages:
            self.received += message.data
        return iter(())

    def _secret(self, request: Any, context: Any) -> Any:
        self.asked.append(f"secret {request.ID}")
        if request.ID not in self.secrets:
            context.abort(grpc.StatusCode.NOT_FOUND, f"secret {request.ID} not found")
        return self.m.secrets.GetSecretResponse(data=self.secrets[request.ID])


def _walk(root: Path, wanted: Sequence[str]) -> Iterator[str]:
    """Everything, or what `wanted` names and lies above or below that; sorted as fsutil does, by path components."""
    found = []
    for directory, names, others in os.walk(root):
        found += [str((Path(directory) / name).relative_to(root)) for name in (*names, *others)]
    for path in sorted(found, key=lambda path: path.split("/")):
        if not wanted or any(_concerns(path, one) for one in wanted):
            yield path


def _concerns(path: str, wanted: str) -> bool:
    """`wanted` may have wildcards."""
    depth = wanted.count("/") + 1
    beginning = "/".join(path.split("/")[:depth])
    return fnmatch(beginning, wanted) or wanted.startswith(f"{path}/")
