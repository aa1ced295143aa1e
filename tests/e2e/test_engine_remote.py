"""Docker's API of a daemon on another machine: over TCP, with certificates at both ends."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.tls import TLSConfig

from e2e.engine import Docker, docker_programs
from e2e.yard import Yard
from fixtures.certificates import Authority

PROGRAMS = docker_programs()


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Yard, Authority, int]]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory / "certificates")
    server = authority.sign("server")
    authority.sign("client")
    yard = Yard(directory / "yard")
    yard.flags = [
        *("--listen", f"unix://{yard.socket}", "--listen", "tcp://127.0.0.1:0"),
        *("--tlscacert", authority.ca, "--tlscert", server.cert, "--tlskey", server.key),
    ]
    yard.start()
    (address,) = [
        address
        for address in json.loads(yard.run("daemon", "status", "--format", "json").stdout)["Addresses"]
        if address.startswith("tcp://")
    ]
    yield yard, authority, int(address.rpartition(":")[2])
    assert yard.stop() == 0


@pytest.fixture(params=["20", "28"])
def command(request: pytest.FixtureRequest, remote: tuple[Yard, Authority, int], tmp_path: Path) -> Docker:
    yard, authority, port = remote
    if request.param not in PROGRAMS:
        pytest.skip(f"this machine has no docker {request.param} command")
    certificates = authority.directory / "client"
    return Docker(
        PROGRAMS[request.param],
        request.param,
        yard,
        tmp_path,
        {
            "DOCKER_HOST": f"tcp://localhost:{port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(certificates),
        },
    )


def test_docker_builds_over_tls(command: Docker) -> None:
    tag = f"remote:{command.version}"
    built = command.run("build", "-t", tag, "-", input=b"FROM scratch\nLABEL remote=yes\n")
    assert f"Successfully tagged {tag}" in built.stdout
    saved = command.run("images", "--filter", "label=remote", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert tag in saved.split()


def test_docker_py_speaks_tls(remote: tuple[Yard, Authority, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would go before what the client is told
        monkeypatch.delenv(name, raising=False)
    _, authority, port = remote
    client = authority.directory / "client"
    tls = TLSConfig(client_cert=(str(client / "cert.pem"), str(client / "key.pem")), ca_cert=authority.ca, verify=True)
    connected = docker.DockerClient(base_url=f"https://localhost:{port}", tls=tls)
    assert connected.ping()
    assert connected.images.list() is not None
    connected.close()


def test_connections_are_upgraded_over_tls(remote: tuple[Yard, Authority, int]) -> None:
    """The daemon speaks HTTP/2 at once, as the client of a session."""
    _, authority, port = remote
    client = authority.directory / "client"
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(client / "cert.pem", client / "key.pem")
    with (
        socket.create_connection(("localhost", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(
            b"POST /session HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            b"X-Docker-Expose-Session-Uuid: tls\r\n\r\n"
        )
        received = b""
        while b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" not in received:
            received += connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
