"""Where a daemon may listen, and whom it lets in."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from boatyard.client.endpoint import TcpEndpoint, UnixEndpoint, VsockEndpoint
from boatyard.daemon import sockets
from boatyard.daemon.config import Config
from boatyard.daemon.listening import TlsConfig, check_address, parse_listen, parse_mode
from boatyard.errors import ConflictError, InvalidError, StorageError


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("unix:///run/x.sock", UnixEndpoint("/run/x.sock")),
        ("tcp://127.0.0.1:1234", TcpEndpoint("127.0.0.1", 1234)),
        ("tcp://:1234", TcpEndpoint("", 1234)),
        ("tcp://0.0.0.0", TcpEndpoint("0.0.0.0", 2376)),
        ("vsock://:1234", VsockEndpoint(0xFFFFFFFF, 1234)),
        ("vsock://2:1234", VsockEndpoint(2, 1234)),
    ],
)
def test_addresses_are_read(address: str, endpoint: object) -> None:
    assert parse_listen(address) == endpoint


@pytest.mark.parametrize("address", ["", "unix://x", "http://x", "tcp://x:y", "vsock://1", "ssh://x"])
def test_what_is_nowhere_to_listen_at_is_refused(address: str) -> None:
    with pytest.raises(InvalidError):
        parse_listen(address)


MUTUAL = TlsConfig(cert="c", key="k", ca="a")


@pytest.mark.parametrize(
    ("address", "tls", "why"),
    [
        ("tcp://x:1", TlsConfig(), "without TLS"),
        ("tcp://x:1", TlsConfig(cert="c", key="k"), "told apart"),
        ("tcp://x:1", TlsConfig(cert="c"), "and its key"),
        ("tcp://x:1", TlsConfig(key="k", ca="a"), "and its key"),
    ],
)
def test_tcp_without_proof_of_who_comes_is_refused(address: str, tls: TlsConfig, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        check_address(address, tls)


@pytest.mark.parametrize(
    ("address", "tls"),
    [
        ("tcp://x:1", MUTUAL),
        ("tcp://x:1", TlsConfig(allow_unauthenticated=True)),
        ("tcp://x:1", TlsConfig(cert="c", key="k", allow_unauthenticated=True)),
        ("unix:///x", TlsConfig()),
        ("vsock://:1", TlsConfig()),
    ],
)
def test_other_addresses_are_taken(address: str, tls: TlsConfig) -> None:
    check_address(address, tls)


@pytest.mark.parametrize(
    ("text", "mode"), [("0660", 0o660), ("600", 0o600), ("0999", None), ("7777", None), ("rw", None)]
)
def test_modes(text: str, mode: int | None) -> None:
    assert parse_mode(text) == mode


def test_several_sockets_are_opened_at_once_each_with_its_address(tmp_path: Path) -> None:
    config = Config(
        listen=(f"unix://{tmp_path}/a", "tcp://127.0.0.1:0", f"unix://{tmp_path}/b"),
        group=str(os.getgid()),
        mode="0640",
    )
    streams, packets = sockets.open_all(config, {}, os.getpid())
    try:
        port = streams[1].socket.getsockname()[1]
        assert [one.address for one in streams] == [
            f"unix://{tmp_path}/a",
            f"tcp://127.0.0.1:{port}",
            f"unix://{tmp_path}/b",
        ]
        assert [one.tcp for one in streams] == [False, True, False]
        assert [one.path for one in packets] == [f"{tmp_path}/descriptors.sock"]
        for path in ("a", "b", "descriptors.sock"):
            assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o640
    finally:
        for one in (*streams, *packets):
            one.close()
    assert not list(tmp_path.iterdir())


def test_every_interface_is_one_socket() -> None:
    (bound,) = sockets.bind_tcp(TcpEndpoint("", 0))
    try:
        bound.socket.listen()
        port = bound.socket.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
    finally:
        bound.close()


def test_a_port_that_is_taken_is_a_conflict() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConflictError, match="somebody else listens at tcp://127"),
    ):
        sockets.bind_tcp(TcpEndpoint("127.0.0.1", taken.getsockname()[1]))


def test_what_went_before_is_undone_when_a_socket_can_not_be_made(tmp_path: Path) -> None:
    config = Config(listen=(f"unix://{tmp_path}/a", "tcp://192.0.2.1:1"), group="")
    with pytest.raises(StorageError, match=r"can't listen at tcp://192\.0\.2\.1:1"):
        sockets.open_all(config, {}, os.getpid())
    assert not list(tmp_path.iterdir())


def test_a_name_that_nobody_has_is_told() -> None:
    with pytest.raises(InvalidError, match="no-such-host"):
        sockets.bind_tcp(TcpEndpoint("no-such-host.invalid", 1))


def test_a_vsock_is_opened_where_the_kernel_has_it() -> None:
    try:
        socket.socket(socket.AF_VSOCK).close()
    except OSError:
        pytest.skip("no vsock here")
    bound = sockets.bind_vsock(VsockEndpoint(0xFFFFFFFF, 0xFFFFFFFF))
    try:
        assert bound.address.startswith("vsock://")
        assert not bound.tcp
    finally:
        bound.close()
