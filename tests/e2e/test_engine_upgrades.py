"""Connections that leave HTTP/1.1: BuildKit's gRPC on `/grpc`, driven by a client of another make."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from e2e.engine import ask
from e2e.yard import Yard


def upgrade(yard: Yard, path: str, *headers: str) -> tuple[socket.socket, bytes]:
    """The connection, and the head of the answer."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(yard.socket))
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: h2c", *headers]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    return connection, head


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def relayed(yard: Yard, path: str) -> Iterator[str]:
    """An address at which a client without upgrades meets the daemon behind one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            daemon, _ = upgrade(yard, path)
            threads = [threading.Thread(target=copy, args=pair) for pair in ((client, daemon), (daemon, client))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            client.close()
            daemon.close()

        relay = threading.Thread(target=serve)
        relay.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        relay.join(30)


@pytest.mark.parametrize("path", ["/grpc", "/v1.41/grpc"])
def test_the_answer_to_an_upgrade_is_to_the_letter(yard: Yard, path: str) -> None:
    connection, head = upgrade(yard, path)
    connection.close()
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def test_grpc_is_served_behind_the_upgrade(yard: Yard) -> None:
    with relayed(yard, "/grpc") as address, grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=30) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/moby.buildkit.v1.Control/NoSuchMethod")(b"", timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "no upgrade proto in request"),
        ({"Connection": "Upgrade", "Upgrade": "websocket"}, "protocol websocket not supported"),
    ],
)
def test_what_is_no_upgrade_is_refused(yard: Yard, headers: dict[str, str], message: str) -> None:
    answer = ask(yard, "POST", "/grpc", headers=headers)
    assert (answer.status, answer.message) == (400, message)


def test_a_connection_that_never_speaks_does_not_keep_the_daemon(own_yard: Yard) -> None:
    connections = [upgrade(own_yard, "/grpc")[0] for _ in range(20)]
    assert own_yard.stop() == 0
    for connection in connections:
        connection.close()
