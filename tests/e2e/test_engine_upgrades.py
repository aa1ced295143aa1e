"""Connections that leave HTTP/1.1: BuildKit's gRPC on `/grpc`, driven by a client of another make, and sessions."""

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


ID = "X-Docker-Expose-Session-Uuid"


def test_a_session_is_taken_in_and_asked_whether_it_lives(yard: Yard) -> None:
    """Here the daemon is the client: it sends HTTP/2's preface."""
    connection, head = upgrade(yard, "/v1.41/session", f"{ID}: engine-session", "X-Docker-Expose-Session-Name: test")
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert connection.recv(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    again = ask(yard, "POST", "/session", headers={"Connection": "Upgrade", "Upgrade": "h2c", ID: "engine-session"})
    assert (again.status, again.message) == (409, "there is a session 'engine-session' already")
    connection.close()


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Connection": "Upgrade", "Upgrade": "h2c"}, "a session needs an id"),
        ({ID: "x"}, "no upgrade proto in request"),
        ({ID: "x", "Connection": "Upgrade", "Upgrade": "tcp"}, "protocol tcp not supported"),
        ({ID: "x" * 1000, "Connection": "Upgrade", "Upgrade": "h2c"}, "a session needs an id"),
    ],
)
def test_what_is_no_session_is_refused(yard: Yard, headers: dict[str, str], message: str) -> None:
    answer = ask(yard, "POST", "/session", headers=headers)
    assert answer.status == 400
    assert answer.message.startswith(message)


def test_a_session_does_not_keep_a_daemon_that_is_told_to_stop(own_yard: Yard) -> None:
    connections = [upgrade(own_yard, "/session", f"{ID}: {number}")[0] for number in range(20)]
    assert own_yard.stop() == 0
    for connection in connections:
        connection.close()
