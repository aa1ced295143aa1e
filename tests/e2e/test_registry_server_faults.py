"""The registry server as processes: killed, on a full disk, besieged."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from boatyard.image.content.directory import DirectoryStore
from fixtures import registryserver
from fixtures.registryserver import Served, kill, start, stop


class Pusher(threading.Thread):
    """Pushes small images one after the other, until its server is gone. Remembers those that were acknowledged."""

    def __init__(self, port: int, name: str, random_: random.Random) -> None:
        super().__init__()
        self._server = Served(port)
        self._name = name
        self._random = random_
        self.acknowledged: dict[str, str] = {}

    def run(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                layers = [self._random.randbytes(self._random.choice((10, 5_000, 200_000))), b"shared by all"]
                digest = self._server.push_image(self._name, f"v{number}", layers)
                self.acknowledged[f"v{number}"] = digest
        except (OSError, AssertionError, ValueError):
            return  # http.client has several words for a server that has gone
        except Exception as error:
            if type(error).__module__ != "http.client":
                raise
        finally:
            self._server.close()


def test_what_was_acknowledged_is_there_after_a_kill_and_nothing_is_half_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: dict[tuple[str, str], str] = {}
    for life in range(5):
        server = start(root, "--workers", "2")
        pushers = [Pusher(server.port, f"app{number}/{life}", random.Random(chance.random())) for number in range(4)]
        for pusher in pushers:
            pusher.start()
        deadline = time.monotonic() + 30
        while sum(len(pusher.acknowledged) for pusher in pushers) < chance.randrange(1, 12):
            assert time.monotonic() < deadline
        kill(server)
        for pusher in pushers:
            pusher.join()
            acknowledged |= {(pusher._name, tag): digest for tag, digest in pusher.acknowledged.items()}
    server = start(root, "--workers", "2")
    try:
        for (name, tag), digest in acknowledged.items():
            answer = server.call("GET", f"/v2/{name}/manifests/{tag}")
            assert (answer.status, answer.headers["docker-content-digest"]) == (200, digest)
        # Those that weren't acknowledged may be there: but then whole.
        for name in {name for name, _ in acknowledged}:
            for tag in server.call("GET", f"/v2/{name}/tags/list").json()["tags"]:
                document = server.call("GET", f"/v2/{name}/manifests/{tag}").json()
                for blob in (document["config"], *document["layers"]):
                    data = server.call("GET", f"/v2/{name}/blobs/{blob['digest']}").body
                    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob["digest"]
    finally:
        stop(server)
    for blob in DirectoryStore(root).walk():
        data = DirectoryStore(root).path(blob.digest).read_bytes()
        assert blob.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_an_upload_goes_on_after_a_kill_where_it_was(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    server = start(tmp_path / "root")
    location = server.begin("app")
    assert server.call("PATCH", location, data[:1_000_000]).status == 202
    kill(server)
    server = start(tmp_path / "root", "--workers", "2")
    try:
        assert server.call("GET", location).headers["range"] == "0-999999"
        assert server.call("PATCH", location, data[1_000_000:2_000_000], Content_Range="1000000-1999999").status == 202
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert server.call("PUT", f"{location}?digest={digest}", data[2_000_000:]).status == 201
        assert server.call("GET", f"/v2/app/blobs/{digest}").body == data
    finally:
        stop(server)


def children(server: Served) -> list[int]:
    assert server.process is not None
    pid = server.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_chunked_upload_goes_from_one_process_to_another(tmp_path: Path) -> None:
    """Each request comes over a new connection: of 12, not all are given to the same process."""
    server = start(tmp_path / "root", "--workers", "3")
    try:
        data = os.urandom(1_200_000)
        location = server.begin("app")
        for offset in range(0, len(data), 100_000):
            with closing(Served(server.port)) as other:
                range_ = f"{offset}-{offset + 99_999}"
                answer = other.call("PATCH", location, data[offset : offset + 100_000], Content_Range=range_)
                assert answer.status == 202
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert server.call("PUT", f"{location}?digest={digest}").status == 201
        for _ in range(6):
            with closing(Served(server.port)) as other:
                assert other.call("GET", f"/v2/app/blobs/{digest}").body == data
    finally:
        stop(server)


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    server = start(tmp_path / "root", "--workers", "2")
    try:
        server.push_image("app", "v1")
        server.close()
        before = children(server)
        os.kill(before[0], signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(after := children(server)) < 2 or before[0] in after:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # Connections that the dead one would have got are answered by the new one.
        for _ in range(16):
            with closing(Served(server.port)) as other:
                assert other.call("GET", "/v2/app/manifests/v1").status == 200
    finally:
        assert stop(server) == 0


def test_what_one_process_writes_the_others_tell_at_once(tmp_path: Path) -> None:
    server = start(tmp_path / "root", "--workers", "3")
    readers = [Served(server.port) for _ in range(8)]
    try:
        for number in range(5):
            digest = server.push_image("app", "latest", [str(number).encode()])
            for reader in readers:
                assert reader.call("HEAD", "/v2/app/manifests/latest").headers["docker-content-digest"] == digest
        server.call("DELETE", "/v2/app/manifests/latest")
        assert {reader.call("HEAD", "/v2/app/manifests/latest").status for reader in readers} == {404}
    finally:
        for reader in readers:
            reader.close()
        stop(server)


def test_thousands_of_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    server = start(tmp_path / "root", "--workers", "2")
    idle: list[socket.socket] = []
    try:
        for number in range(3000):
            sock = socket.create_connection(("127.0.0.1", server.port))
            if number % 2:
                sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost:")  # and never the rest
            idle.append(sock)
        digest = server.push_image("app", "v1", [os.urandom(2_000_000)])
        assert server.call("HEAD", "/v2/app/manifests/v1").headers["docker-content-digest"] == digest
        for pid in children(server):
            status = Path(f"/proc/{pid}/status").read_text()
            (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
            assert peak < 80_000
    finally:
        for sock in idle:
            sock.close()
        stop(server)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.root
def test_a_full_disk_is_told_and_given_back(small_disk: Path) -> None:
    server = start(small_disk / "root", "--workers", "2")
    try:
        kept = server.push_image("app", "v1", [os.urandom(1_000_000)])
        data = os.urandom(60_000_000)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        # Its answer comes before the client has sent all.
        location = server.begin("app")
        try:
            assert server.call("PUT", f"{location}?digest={digest}", data).status == 507
        except (BrokenPipeError, ConnectionResetError):
            server.close()
        assert server.call("HEAD", f"/v2/app/blobs/{digest}").status == 404
        assert server.call("HEAD", "/v2/app/manifests/v1").headers["docker-content-digest"] == kept
        assert server.push_image("app", "v2", [os.urandom(1_000_000)])
    finally:
        stop(server)


def test_an_address_that_is_taken_and_flags_that_make_no_sense_are_told(tmp_path: Path) -> None:
    boat = [str(Path(registryserver.sys.executable).with_name("boat")), "registry"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run([*boat, "serve", "--root", tmp_path, "--listen", listen], capture_output=True, text=True)
        assert done.returncode == 4 and "somebody else listens" in done.stderr
    for flags in (["--listen", "5000"], ["--anonymous-pull"], ["--tlscert", "x"], ["--grace", "soon"]):
        done = subprocess.run([*boat, "serve", "--root", tmp_path, *flags], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
    done = subprocess.run([*boat, "user", "ls", "--root", tmp_path / "none"], capture_output=True, text=True)
    assert done.returncode == 3
