"""boatd on TCP: who gets in, and who doesn't."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from boatyard.client.aio import AsyncClient
from boatyard.client.calls import images, system
from boatyard.client.endpoint import Certificates, TcpEndpoint
from boatyard.client.sync import Client
from boatyard.errors import DeniedError, UnavailableError
from fixtures.boatd import started
from fixtures.certificates import Authority

pytestmark = pytest.mark.root

BOAT = str(Path(sys.executable).with_name("boat"))
HEALTH = "/grpc.health.v1.Health/Check"


@dataclass
class Daemon:
    port: int
    place: Path
    authority: Authority

    def endpoint(self, who: str = "client") -> TcpEndpoint:
        directory = self.authority.directory / who
        return TcpEndpoint(
            "localhost",
            self.port,
            Certificates(f"{directory}/ca.pem", f"{directory}/cert.pem", f"{directory}/key.pem"),
        )


@pytest.fixture
def place() -> Iterator[Path]:
    """Its path is short."""
    with tempfile.TemporaryDirectory(prefix="boatd-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="boatd-") as directory:
        place = Path(directory)
        authority = Authority(place / "certificates")
        server = authority.sign("server", "DNS:localhost")
        authority.sign("client")
        authority.sign("stranger", "DNS:elsewhere.example")
        Authority(place / "others").sign("client")
        process, addresses = started(
            place,
            *("--listen", f"unix://{place}/run/boatd.sock", "--listen", "tcp://127.0.0.1:0"),
            *("--tlscacert", authority.ca, "--tlscert", server.cert, "--tlskey", server.key),
        )
        assert addresses[0] == f"unix://{place}/run/boatd.sock"
        yield Daemon(int(addresses[1].rpartition(":")[2]), place, authority)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_client_with_a_certificate_gets_in(daemon: Daemon) -> None:
    client = Client(daemon.endpoint())
    info = client.call(system.info(), timeout=20)
    assert f"tcp://127.0.0.1:{daemon.port}" in info.addresses
    assert client.call(images.list_images()).images == ()


async def test_the_asynchronous_client_gets_in(daemon: Daemon) -> None:
    async with AsyncClient(daemon.endpoint()) as client:
        answers = await asyncio.gather(*(client.call(system.info()) for _ in range(20)))
    assert len({answer.pid for answer in answers}) == 1


def test_the_command_finds_its_certificates_in_a_directory(daemon: Daemon) -> None:
    environment = {
        **os.environ,
        "BOAT_HOST": f"tcp://localhost:{daemon.port}",
        "BOAT_CERT_PATH": str(daemon.authority.directory / "client"),
    }
    found = subprocess.run([BOAT, "version", "--format", "json"], env=environment, capture_output=True, check=True)
    assert json.loads(found.stdout)["Server"]
    (daemon.place / "Dockerfile").write_text("FROM scratch\n")
    built = subprocess.run([BOAT, "build", str(daemon.place)], env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


def test_the_command_takes_certificates_as_flags(daemon: Daemon) -> None:
    endpoint = daemon.endpoint()
    assert endpoint.certificates is not None
    found = subprocess.run(
        [
            *(BOAT, "--host", str(endpoint)),
            *("--tlscacert", endpoint.certificates.ca),
            *("--tlscert", endpoint.certificates.cert, "--tlskey", endpoint.certificates.key),
            *("daemon", "status", "--format", "{{.Socket}}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(endpoint)


def test_a_client_without_a_certificate_is_refused(daemon: Daemon) -> None:
    endpoint = TcpEndpoint("localhost", daemon.port, Certificates(ca=daemon.authority.ca))
    with pytest.raises(UnavailableError) as caught:
        Client(endpoint).call(system.info(), timeout=20)
    assert "may want a certificate" in (caught.value.hint or "")


async def test_the_asynchronous_client_without_a_certificate_is_refused(daemon: Daemon) -> None:
    endpoint = TcpEndpoint("localhost", daemon.port, Certificates(ca=daemon.authority.ca))
    async with AsyncClient(endpoint) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.call(system.info())
    assert "may want a certificate" in (caught.value.hint or "")


def test_a_client_of_another_authority_is_refused(daemon: Daemon) -> None:
    others = daemon.place / "others/client"
    certificates = Certificates(daemon.authority.ca, f"{others}/cert.pem", f"{others}/key.pem")
    with pytest.raises(UnavailableError) as caught:
        Client(TcpEndpoint("localhost", daemon.port, certificates)).call(system.info(), timeout=20)
    assert "may not accept" in (caught.value.hint or "")
    assert "a client is refused: certificate verify failed" in (daemon.place / "boatd.log").read_text()


def test_a_daemon_of_another_authority_is_not_trusted(daemon: Daemon) -> None:
    certificates = Certificates(f"{daemon.place}/others/ca.pem")
    with pytest.raises(DeniedError, match="certificate"):
        Client(TcpEndpoint("localhost", daemon.port, certificates)).call(system.info(), timeout=20)


def test_a_daemon_of_another_name_is_not_trusted(daemon: Daemon) -> None:
    endpoint = daemon.endpoint()
    with pytest.raises(DeniedError, match="IP address mismatch"):
        Client(TcpEndpoint("127.0.0.1", daemon.port, endpoint.certificates)).call(system.info(), timeout=20)


def test_a_client_without_tls_is_refused_and_the_daemon_goes_on(daemon: Daemon) -> None:
    with pytest.raises(UnavailableError):
        Client(TcpEndpoint("localhost", daemon.port)).call(system.info(), timeout=20)
    with socket.create_connection(("127.0.0.1", daemon.port)) as plain:
        plain.sendall(b"\x00garbage" * 1000)
    assert Client(daemon.endpoint()).call(system.info(), timeout=20)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(daemon: Daemon) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(daemon.authority.ca)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", daemon.port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def credentials(daemon: Daemon, who: str | None) -> Any:
    read = lambda name: Path(daemon.authority.directory, who or "", name).read_bytes()  # noqa: E731
    root = Path(daemon.authority.ca).read_bytes()
    return grpc.ssl_channel_credentials(root, *((read("key.pem"), read("cert.pem")) if who else (None, None)))


def test_grpc_is_served_beside_it(daemon: Daemon) -> None:
    with grpc.secure_channel(f"localhost:{daemon.port}", credentials(daemon, "client")) as channel:
        assert channel.unary_unary(HEALTH)(b"", timeout=20) == b"\x08\x01"
    with (
        grpc.secure_channel(f"localhost:{daemon.port}", credentials(daemon, None)) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(HEALTH)(b"", timeout=20)
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.UNAVAILABLE


def test_everybody_gets_in_only_where_that_was_asked_for(place: Path) -> None:
    command = [sys.executable, "-m", "boatyard.daemon", "--root", f"{place}/root", "--run", f"{place}/run"]
    refused = subprocess.run([*command, "--listen", "tcp://127.0.0.1:0"], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "without TLS" in refused.stderr
    process, addresses = started(place, "--listen", "tcp://127.0.0.1:0", "--allow-unauthenticated")
    port = int(addresses[0].rpartition(":")[2])
    try:
        assert Client(TcpEndpoint("127.0.0.1", port)).call(system.info(), timeout=20)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert channel.unary_unary(HEALTH)(b"", timeout=20) == b"\x08\x01"
        stopped = subprocess.run(
            [BOAT, "--host", f"tcp://127.0.0.1:{port}", "daemon", "stop"],
            env={**os.environ, "BOAT_TLS_VERIFY": "0"},
            capture_output=True,
            text=True,
        )
        assert stopped.returncode == 0, stopped.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("what", ["cert", "key", "ca"])
def test_certificates_that_are_no_good_are_told_at_the_start(daemon: Daemon, place: Path, what: str) -> None:
    directory = daemon.authority.directory / "server"
    files = {"cert": f"{directory}/cert.pem", "key": f"{directory}/key.pem", "ca": daemon.authority.ca}
    (place / "bad.pem").write_text("nothing of use")
    files[what] = f"{place}/bad.pem"
    refused = subprocess.run(
        [
            *(sys.executable, "-m", "boatyard.daemon", "--root", f"{place}/root", "--run", f"{place}/run"),
            *("--listen", "tcp://127.0.0.1:0"),
            *("--tlscert", files["cert"], "--tlskey", files["key"], "--tlscacert", files["ca"]),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 1
    assert "bad.pem" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("meant", [True, False])
def test_systemd_can_hand_a_tcp_socket_over_where_somebody_says_who_may_come(place: Path, meant: bool) -> None:
    (place / "boatd.toml").write_text("[tls]\nallow_unauthenticated = true\n" if meant else "")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = os.fork()
        if process == 0:
            os.dup2(listening.fileno(), 3)
            os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "BOATD_CONFIG": f"{place}/boatd.toml"}
            os.environ |= {"BOATD_ROOT": f"{place}/root", "BOATD_RUN": f"{place}/run"}
            os.execv(sys.executable, [sys.executable, "-m", "boatyard.daemon"])
        if not meant:
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 1
            return
        port = listening.getsockname()[1]
        try:
            info = Client(TcpEndpoint("127.0.0.1", port)).call(system.info(), timeout=30)
            assert info.addresses == (f"tcp://127.0.0.1:{port}",)
        finally:
            os.kill(process, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
