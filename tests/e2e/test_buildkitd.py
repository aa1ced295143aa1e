"""boat-buildkitd as programs that embed a builder start it: their flags, their file, their environment, again and
again."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from boatyard import BUILDKIT_VERSION
from boatyard.client.calls import system
from boatyard.client.endpoint import Certificates, TcpEndpoint
from boatyard.client.sync import Client
from boatyard.errors import DeniedError, UnavailableError
from e2e.project import Project, printed
from e2e.yard import BIN, Yard
from fixtures.certificates import Authority

pytestmark = pytest.mark.root

CYCLES = int(os.environ.get("BOAT_START_STOP_CYCLES", "36"))
LANES = 3


@dataclass
class Buildkitd(Yard):
    """`root` is the state directory; everything the daemon is told to use is below it."""

    arguments: list[str] = field(default_factory=list)
    config: str = ""

    @property
    def socket(self) -> Path:
        return self.root / "buildkitd.sock"

    def launch(self) -> subprocess.Popen[bytes]:
        (self.root / "buildkitd.toml").write_text(self.config)
        (self.root / "tmp").mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "BUILDKIT_DEBUG_EXEC_OUTPUT": "1",
            "BUILDKIT_DEBUG_PANIC_ON_ERROR": "1",
            "BUILDKIT_DEBUG_FORCE_OVERLAY_DIFF": "true",
            "BUILDKITD_DEBUGADDR": f"unix://{self.root}/buildkitd-debug.sock",
            "TMPDIR": str(self.root / "tmp"),
        }
        with open(self.root / "boatd.log", "ab") as log:
            self.daemon = subprocess.Popen(
                [
                    BIN / "boat-buildkitd",
                    *("--oci-worker=true", "--containerd-worker=false", "--oci-worker-gc=false"),
                    "--oci-worker-labels=org.mobyproject.buildkit.worker.sandbox=true",
                    f"--config={self.root}/buildkitd.toml",
                    *("--root", self.root / "root", "--addr", f"unix://{self.socket}", "--debug"),
                    *self.arguments,
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.daemon

    def start(self) -> None:
        self.launch()
        while not self.answers():
            assert self.daemon is not None
            assert self.daemon.poll() is None, self.log

    def answers(self) -> bool:
        try:
            Client(str(self.socket)).call(system.ping(), timeout=20)
        except UnavailableError:
            return False
        return True

    def page(self, path: str) -> str:
        """Of the debug address."""
        connection = http.client.HTTPConnection("debug")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.root / "buildkitd-debug.sock"))
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def leftovers(self) -> list[str]:
        """Sockets, mounts and processes that name the state directory, and files where running things keep theirs."""
        found = [str(path) for path in self.root.rglob("*") if path.is_socket()]
        found += [str(path) for path in (self.root / "root/run").rglob("*") if not path.is_dir()]
        found += [str(path) for path in (self.root / "tmp").iterdir()]
        found += [name for name in ("boatd.json", "descriptors.sock") if (self.root / name).exists()]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.root) in line]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.root).encode() in (process / "cmdline").read_bytes():
                    found.append(process.name)
            except OSError:
                continue
        return found


@pytest.fixture
def buildkitd() -> Iterator[Buildkitd]:
    """Not started. Its paths are short, as those of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="bktest") as directory:
        yard = Buildkitd(Path(directory))
        yield yard
        if yard.daemon is not None and yard.daemon.poll() is None:
            assert yard.stop() == 0
        assert yard.leftovers() == []


def test_it_serves_as_it_was_told(buildkitd: Buildkitd) -> None:
    buildkitd.config = """
        insecure-entitlements = ["network.host", "security.insecure"]
        [registry."docker.io"]
        mirrors = ["localhost:5000"]
        [worker.oci]
        enabled = true
        snapshotter = "native"
        networkMode = "host"
        [worker.containerd]
        enabled = false
        [system]
        maxRegistryConcurrency = 4
        """
    buildkitd.start()
    info = Client(str(buildkitd.socket)).call(system.info(), timeout=20)
    prefix = "org.mobyproject.buildkit.worker."
    assert info.labels == {
        f"{prefix}executor": "oci",
        f"{prefix}hostname": socket.gethostname(),
        f"{prefix}moby.host-gateway-ip": "127.0.0.1",
        f"{prefix}network": "host",
        f"{prefix}oci.process-mode": "sandbox",
        f"{prefix}sandbox": "true",
        f"{prefix}selinux.enabled": "false",
        f"{prefix}snapshotter": "native",
    }
    assert info.root == f"{buildkitd.root}/root"
    assert info.config_file == f"{buildkitd.root}/buildkitd.toml"
    assert "maxRegistryConcurrency has no effect" in buildkitd.log


@pytest.mark.runtime
def test_it_builds_with_the_networks_names_and_entitlements_it_was_given(buildkitd: Buildkitd, tmp_path: Path) -> None:
    buildkitd.config = """
        insecure-entitlements = ["network.host"]
        [dns]
        nameservers = ["192.0.2.7"]
        searchDomains = ["example.test"]
        options = ["ndots:3"]
        [worker.oci]
        networkMode = "host"
        """
    buildkitd.start()
    buildkitd.run("bootstrap", "busybox")
    project = Project(buildkitd, tmp_path / "context").dockerfile("""
        FROM busybox
        RUN cat /etc/resolv.conf
        RUN --network=host echo with the host
        """)
    told = printed(project.build("--allow=network.host"))
    assert told == ["nameserver 192.0.2.7", "search example.test", "options ndots:3", "with the host"]
    # BUILDKIT_DEBUG_EXEC_OUTPUT
    assert "options ndots:3" in buildkitd.log


def test_its_insides_can_be_looked_at(buildkitd: Buildkitd) -> None:
    buildkitd.start()
    figures = json.loads(buildkitd.page("/debug/vars"))
    assert figures["pid"] == buildkitd.daemon.pid  # type: ignore[union-attr]
    assert figures["memory"]["resident"] > 1 << 20
    assert figures["cmdline"][-1] == "--debug"
    assert "server.py" in buildkitd.page("/debug/pprof/goroutine")
    assert "allocated in 0 seconds" in buildkitd.page("/debug/memory?seconds=0")
    assert "boatyard.daemon.main.run" in buildkitd.page("/debug/pprof/profile?seconds=0.05")
    assert "builtins.function" in buildkitd.page("/debug/objects?top=5")
    assert "collected" in buildkitd.page("/debug/gc")
    assert "/debug/vars" in buildkitd.page("/")
    assert "out of range" in buildkitd.page("/debug/memory?seconds=1e9")
    assert "no page" in buildkitd.page("/debug/other")

    def watch() -> None:
        with pytest.raises(http.client.RemoteDisconnected):
            buildkitd.page("/debug/memory?seconds=60")

    watched = threading.Thread(target=watch)
    watched.start()
    while not json.loads(buildkitd.page("/debug/vars"))["measuring"]:
        pass
    assert "running already" in buildkitd.page("/debug/profile")
    # Who looks doesn't keep the daemon from stopping.
    assert buildkitd.stop() == 0
    watched.join()


def test_it_listens_at_several_addresses_with_certificates(buildkitd: Buildkitd) -> None:
    authority = Authority(buildkitd.root / "certificates")
    server, client = authority.sign("server", "DNS:localhost"), authority.sign("client")
    buildkitd.config = f"""
        [grpc.tls]
        cert = "{server.cert}"
        key = "{server.key}"
        """
    buildkitd.arguments = ["--addr", "tcp://localhost:0", f"--tlscacert={authority.ca}"]
    buildkitd.start()
    (address,) = [
        address
        for address in Client(str(buildkitd.socket)).call(system.info(), timeout=20).addresses
        if address.startswith("tcp://127.0.0.1:")
    ]
    port = int(address.rpartition(":")[2])
    trusted = Certificates(authority.ca, client.cert, client.key)
    assert (
        Client(TcpEndpoint("localhost", port, trusted)).call(system.info(), timeout=20).root == f"{buildkitd.root}/root"
    )
    with pytest.raises((DeniedError, UnavailableError)):
        Client(TcpEndpoint("localhost", port, Certificates(authority.ca))).call(system.info(), timeout=20)


def test_only_one_holds_a_root(buildkitd: Buildkitd) -> None:
    buildkitd.start()
    second = subprocess.run(
        [BIN / "boat-buildkitd", "--root", buildkitd.root / "root", "--addr", f"unix://{buildkitd.root}/other.sock"],
        capture_output=True,
        text=True,
    )
    assert second.returncode == 4
    assert "is in use by boatd" in second.stderr


def test_the_root_of_another_buildkitd_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"\0" * 4096)
    refused = subprocess.run([BIN / "boat-buildkitd", "--root", tmp_path], capture_output=True, text=True)
    assert refused.returncode == 4
    assert "holds the state of another BuildKit daemon" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cache.db"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--containerd-worker=true"], 1, "a containerd worker is not supported"),
        (["--rootless"], 1, "rootless mode is not supported yet"),
        (["--adr", "unix:///x"], 2, "--addr"),
        (["--oci-max-parallelism=many"], 2, "many"),
    ],
)
def test_what_it_can_not_do_is_told(arguments: list[str], code: int, message: str) -> None:
    refused = subprocess.run([BIN / "boat-buildkitd", *arguments], capture_output=True, text=True)
    assert refused.returncode == code
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_it_says_a_version_that_compares_with_buildkits() -> None:
    told = subprocess.run([BIN / "boat-buildkitd", "--version"], capture_output=True, text=True, check=True).stdout
    assert told.split()[2] == BUILDKIT_VERSION


def test_it_starts_and_stops_again_and_again_and_leaves_nothing() -> None:
    """Some with a new root, some with an old one; some are ended as soon as they answer, some before they do."""

    def cycles(lane: int) -> list[str]:
        found: list[str] = []
        for number in range(CYCLES // LANES):
            with tempfile.TemporaryDirectory(prefix=f"bktest{lane}") as directory:
                yard = Buildkitd(Path(directory))
                for eager in (number % 4 == 3, False)[: 1 + (number % 8 == 0)]:
                    if eager:
                        yard.launch()
                        while not yard.socket.exists():
                            assert yard.daemon is not None
                            assert yard.daemon.poll() is None, yard.log
                    else:
                        yard.start()
                    code = yard.stop()
                    if code or "Traceback" in yard.log:
                        found.append(f"exited {code}: {yard.log}")
                    found += yard.leftovers()
        return found

    with ThreadPoolExecutor(LANES) as lanes:
        assert [each for found in lanes.map(cycles, range(LANES)) for each in found] == []
