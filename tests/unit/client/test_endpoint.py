"""Addresses of daemons, as people write them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from boatyard.client.calls import system
from boatyard.client.endpoint import Certificates, TcpEndpoint, UnixEndpoint, VsockEndpoint, parse
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError, InvalidError, NotFoundError, UnavailableError, UnsupportedError

PLAIN = {"BOAT_TLS_VERIFY": "0"}


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("unix:///run/x.sock", UnixEndpoint("/run/x.sock")),
        ("/run/x.sock", UnixEndpoint("/run/x.sock")),
        ("tcp://build.example:1234", TcpEndpoint("build.example", 1234)),
        ("tcp://build.example:1234/", TcpEndpoint("build.example", 1234)),
        ("tcp://build.example", TcpEndpoint("build.example", 2375)),
        ("tcp://:1234", TcpEndpoint("localhost", 1234)),
        ("tcp://[::1]:1234", TcpEndpoint("::1", 1234)),
        ("tcp://[::1]", TcpEndpoint("::1", 2375)),
        ("tcp://::1", TcpEndpoint("::1", 2375)),
        ("vsock://3:1024", VsockEndpoint(3, 1024)),
        ("vsock://3:4000000000", VsockEndpoint(3, 4000000000)),
    ],
)
def test_addresses_are_read(address: str, endpoint: object) -> None:
    assert parse(address, PLAIN, "/nowhere") == endpoint


@pytest.mark.parametrize(
    "address", ["ssh://me@there", "whatever", "", "npipe:////./pipe/x", "unix:/run/x", "http://x:1"]
)
def test_other_kinds_of_address_are_not_supported(address: str) -> None:
    with pytest.raises(UnsupportedError, match="unix, tcp and vsock"):
        parse(address, PLAIN, "/nowhere")


@pytest.mark.parametrize(
    "address",
    [
        "tcp://x:port",
        "tcp://x:99999",
        "tcp://[::1",
        "tcp://[::1]x",
        "tcp://x:-1",
        "vsock://3",
        "vsock://x:1",
        "vsock://:1",
    ],
)
def test_malformed_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidError, match=r"is no address|no port|no such port"):
        parse(address, PLAIN, "/nowhere")


@pytest.mark.parametrize("endpoint", [TcpEndpoint("::1", 5), TcpEndpoint("a.b", 5), VsockEndpoint(3, 5)])
def test_an_endpoint_is_shown_as_it_is_written(endpoint: object) -> None:
    assert parse(str(endpoint), PLAIN, "/nowhere") == endpoint


def test_tcp_means_tls_with_what_certificates_there_are(tmp_path: Path) -> None:
    assert parse("tcp://x", {}, str(tmp_path)) == TcpEndpoint("x", 2376, Certificates())
    (tmp_path / "tls").mkdir()
    for name in ("ca", "cert", "key"):
        (tmp_path / "tls" / f"{name}.pem").touch()
    tls = f"{tmp_path}/tls"
    found = Certificates(f"{tls}/ca.pem", f"{tls}/cert.pem", f"{tls}/key.pem")
    assert parse("tcp://x", {}, str(tmp_path)) == TcpEndpoint("x", 2376, found)
    assert parse("tcp://x", {"BOAT_CERT_PATH": tls}, "/nowhere") == TcpEndpoint("x", 2376, found)
    other = {"BOAT_CERT_PATH": tls, "BOAT_TLS_CACERT": "/other.pem"}
    assert parse("tcp://x", other, "/nowhere") == TcpEndpoint("x", 2376, Certificates("/other.pem", *found_pair(found)))


def found_pair(found: Certificates) -> tuple[str, str]:
    return found.cert, found.key


def test_a_directory_of_certificates_that_is_named_must_hold_some(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no ca\.pem"):
        parse("tcp://x", {"BOAT_CERT_PATH": str(tmp_path)}, "/nowhere")


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidError, match="needs its key"):
        parse("tcp://x", {"BOAT_TLS_CERT": "/c.pem"}, "/nowhere")


def test_certificates_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path, why in ((f"{tmp_path}/ca.pem", "no certificates"), (f"{tmp_path}/gone.pem", "can't read")):
        with pytest.raises(InvalidError, match=why):
            Client(TcpEndpoint("127.0.0.1", 1, Certificates(ca=path))).call(system.ping())


def test_nobody_at_an_address_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(UnavailableError, match=rf"no daemon answers at tcp://127\.0\.0\.1:{port}: Connection refused"):
        Client(TcpEndpoint("127.0.0.1", port)).call(system.ping())
    with pytest.raises(BoatyardError, match="vsock://9:9"):
        Client(VsockEndpoint(9, 9)).call(system.ping(), timeout=0.1)


def test_files_can_be_handed_to_a_daemon_of_this_machine_only() -> None:
    with pytest.raises(UnsupportedError, match="another machine"):
        Client(TcpEndpoint("x", 1)).descriptors()
