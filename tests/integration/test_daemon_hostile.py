"""boatd and clients that mean harm, over its real socket: each is told or cut off, costs little, and others don't
notice."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from boatyard.client.calls import system
from boatyard.client.sync import Client
from fixtures.boatd import descriptors, resident, started
from fixtures.rawhttp2 import (
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST,
    SETTINGS,
    WINDOW,
    frame,
    message,
    request,
)

pytestmark = pytest.mark.root

MB = 1 << 20
HEALTH = "/grpc.health.v1.Health/Check"
FIELDS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", HEALTH),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
GREETING = PREFACE + frame(SETTINGS, 0, 0)
WORD = struct.Struct(">L")


@dataclass
class Daemon:
    pid: int
    path: str

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        sock.settimeout(30)
        return sock

    def healthy(self) -> None:
        """It answers, over HTTP and over gRPC."""
        assert Client(self.path).call(system.info(), timeout=20).pid == self.pid
        with grpc.insecure_channel(f"unix:{self.path}") as channel:
            assert channel.unary_unary(HEALTH)(b"", timeout=20) == b"\x08\x01"


@pytest.fixture(scope="module")
def running() -> Iterator[Daemon]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="boatd-") as directory:
        process, addresses = started(Path(directory))
        daemon = Daemon(process.pid, addresses[0].removeprefix("unix://"))
        daemon.healthy()
        yield daemon
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def daemon(running: Daemon) -> Iterator[Daemon]:
    """After each test it is healthy, has let go of what the test held, and is hardly larger."""
    memory, files = resident(running.pid), descriptors(running.pid)
    yield running
    running.healthy()
    until(lambda: descriptors(running.pid) <= files + 5)
    assert resident(running.pid) < memory + 64 * MB


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def told(sock: socket.socket) -> bytes:
    """Everything the daemon says until it closes."""
    said = b""
    try:
        while piece := sock.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said


def frames(said: bytes) -> Iterator[tuple[int, bytes]]:
    while len(said) >= 9:
        length = int.from_bytes(said[:3], "big")
        yield said[3], said[9 : 9 + length]
        said = said[9 + length :]


def goaway(sock: socket.socket) -> int:
    """The code with which the daemon ended the connection."""
    return next(WORD.unpack(payload[4:8])[0] for kind, payload in frames(told(sock)) if kind == GOAWAY)


GARBAGE = {
    "zeroes": bytes(100_000),
    "noise": os.urandom(100_000),
    "a TLS client": bytes.fromhex("16030100a5010000a10303") + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "half a preface, then noise": PREFACE[:12] + os.urandom(1000),
    "frames of noise": GREETING + os.urandom(100_000),
    "an endless header": b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,
    "a target without end": b"GET /" + b"a" * 200_000,
    "two lengths": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
    "a length and chunks": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused(daemon: Daemon, name: str) -> None:
    for _ in range(20):
        with daemon.connect() as sock:
            try:
                sock.sendall(GARBAGE[name])
                sock.shutdown(socket.SHUT_WR)
            except ConnectionError:
                continue
            assert b"HTTP/1.1 200" not in told(sock)


def test_a_thousand_idle_connections_are_fine(daemon: Daemon) -> None:
    memory = resident(daemon.pid)
    with ExitStack() as stack:
        held = [stack.enter_context(daemon.connect()) for _ in range(1500)]
        for sock in held[:1000]:
            sock.sendall(GREETING)
        for sock in held[:1000]:
            assert sock.recv(65536)[3] == SETTINGS
        daemon.healthy()
        held[500].sendall(request(1, FIELDS) + frame(DATA, END_STREAM, 1, message(b"")))
        said = b""
        while not any(kind == HEADERS for kind, _ in frames(said)):
            said += held[500].recv(65536)
        assert resident(daemon.pid) < memory + 64 * MB


def test_half_open_clients_are_cut_off(daemon: Daemon) -> None:
    with ExitStack() as stack:
        halves = {
            "no settings": PREFACE,
            "a header list that never ends": GREETING + frame(HEADERS, 0, 1, b"\x83"),
            "a header that never ends": b"GET / HTTP/1.1\r\nhost: x\r\n",
        }
        held = {name: stack.enter_context(daemon.connect()) for name in halves}
        for name, sock in held.items():
            sock.sendall(halves[name])
        daemon.healthy()
        assert goaway(held["no settings"]) == 4
        assert goaway(held["a header list that never ends"]) == 4
        assert told(held["a header that never ends"]).startswith(b"HTTP/1.1 408")


def test_messages_of_64_megabytes_are_refused(daemon: Daemon) -> None:
    options = [("grpc.max_send_message_length", 100 * MB)]
    with grpc.insecure_channel(f"unix:{daemon.path}", options=options) as channel:
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(HEALTH)(bytes(64 * MB), timeout=60)
            error: Any = caught.value
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_messages_that_never_end_are_held_to_a_bound(daemon: Daemon) -> None:
    """Of 20 MB each, of which all but the end comes, on as many streams as there may be."""
    with daemon.connect() as sock:
        sock.sendall(GREETING)
        sock.setblocking(False)
        head = b"".join(request(number, FIELDS) for number in range(1, 401, 2))
        begun = b"".join(frame(DATA, 0, number, b"\0" + WORD.pack(15 * MB)) for number in range(1, 401, 2))
        pieces = [head, begun]
        pieces += [frame(DATA, 0, number, bytes(16000)) for _ in range(50) for number in range(1, 401, 2)]
        memory = resident(daemon.pid)
        deadline = time.monotonic() + 5
        for piece in pieces:
            view = memoryview(piece)
            while view and time.monotonic() < deadline:
                try:
                    view = view[sock.send(view) :]
                    sock.recv(1 << 20)
                except BlockingIOError:
                    os.sched_yield()
                except ConnectionError:
                    return
        assert resident(daemon.pid) < memory + 320 * MB
    until(lambda: resident(daemon.pid) < memory + 64 * MB)


def test_a_client_that_makes_it_answer_and_never_reads_is_cut_off(daemon: Daemon) -> None:
    memory = resident(daemon.pid)
    pings = frame(PING, 0, 0, bytes(8)) * 10_000
    with daemon.connect() as sock:
        sock.sendall(GREETING)
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                sock.sendall(pings)
        assert resident(daemon.pid) < memory + 64 * MB


def test_streams_that_are_begun_and_given_up_end_the_connection(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        sock.sendall(GREETING)
        try:
            for first in range(1, 20_001, 200):
                sock.sendall(
                    b"".join(
                        request(number, FIELDS) + frame(RST, 0, number, WORD.pack(8))
                        for number in range(first, first + 200, 2)
                    )
                )
        except ConnectionError:
            pass
        assert goaway(sock) == 11


def test_settings_without_end_end_the_connection(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        sock.sendall(GREETING + frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 1 << 20)) * 500)
        assert goaway(sock) == 11


def test_a_header_bomb_ends_the_connection(daemon: Daemon) -> None:
    bomb = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 12_000
    with ExitStack() as stack:
        for _ in range(50):
            sock = stack.enter_context(daemon.connect())
            sock.sendall(GREETING + frame(HEADERS, 4, 1, bomb))
            assert goaway(sock) == 11


def test_windows_that_overflow_end_the_connection(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        sock.sendall(GREETING + frame(WINDOW, 0, 0, WORD.pack(2**31 - 1)))
        assert goaway(sock) == 3


PATHS = [
    "/../../etc/passwd",
    "/boat/v1/../../../etc/passwd",
    "/boat/v1/images/..%2f..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
]


@pytest.mark.parametrize("path", [*PATHS, "/boat/v1/%00", "/boat/v1/images/%ff%fe"])
def test_paths_lead_nowhere_else(daemon: Daemon, path: str) -> None:
    with daemon.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        said = told(sock)
        assert said.startswith(b"HTTP/1.1 4")
        assert b"root:" not in said
    with grpc.insecure_channel(f"unix:{daemon.path}") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"", timeout=20)
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_document_of_64_megabytes_is_refused(daemon: Daemon) -> None:
    body = b'{"x": "' + b"y" * (64 * MB) + b'"}'
    head = f"POST /boat/v1/build HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    memory = resident(daemon.pid)
    with daemon.connect() as sock:
        try:
            sock.sendall(head.encode() + body)
        except ConnectionError:
            pass
        assert told(sock).startswith(b"HTTP/1.1 4")
    assert resident(daemon.pid) < memory + 64 * MB


def test_an_upgrade_to_garbage_is_told_as_on_any_connection(daemon: Daemon) -> None:
    head = b"POST /grpc HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    with daemon.connect() as sock:
        sock.sendall(head + b"\x00" * 1000)
        answer = told(sock)
        assert answer.startswith(b"HTTP/1.1 101")
        assert next(kind for kind, _ in frames(answer.partition(b"\r\n\r\n")[2])) in (SETTINGS, GOAWAY)
