"""Images from and to a registry that others made: Debian's docker-registry, and with credentials of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
# "harbour", by bcrypt: the only kind that it takes.
HTPASSWD = "pilot:$2y$05$DRvkF4w84PfhypCbWNl71uRjqVRvXRqyiMTkwpE6JsWoyZKS9ATJW\n"


class Peer:
    """A running docker-registry."""

    def __init__(self, root: Path, *, auth: str = "") -> None:
        unpacked = Path(__file__).parents[2] / ".cache/registry/usr/bin/docker-registry"
        program = str(unpacked) if unpacked.exists() else shutil.which("docker-registry")
        if program is None:
            pytest.skip("needs docker-registry")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = f"localhost:{self.port}"
        root.mkdir(parents=True)
        self._root = root
        (root / "config.yml").write_text(CONFIG.format(root=root / "data", port=self.port, auth=auth))
        self._process = subprocess.Popen(
            [program, "serve", root / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)

    def forget(self, digest: str) -> None:
        """As if it had never had that blob."""
        encoded = digest.removeprefix("sha256:")
        blobs = self._root / "data/docker/registry/v2/blobs/sha256"
        shutil.rmtree(blobs / encoded[:2] / encoded, ignore_errors=True)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    peer = Peer(tmp_path_factory.mktemp("registry") / "open")
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    root = tmp_path_factory.mktemp("guarded")
    (root / "htpasswd").write_text(HTPASSWD)
    peer = Peer(root / "registry", auth=f"auth: {{htpasswd: {{realm: here, path: {root}/htpasswd}}}}")
    yield peer
    peer.stop()


def forget(yard: Yard, *names: str) -> None:
    """Nothing of these images is in the daemon's store any more."""
    yard.run("image", "rm", "-f", *names)
    yard.run("builder", "prune", "--all", "--force")


def test_an_image_goes_and_comes_back_the_same(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    yard, name = own_yard, f"{peer.host}/round/trip:1"
    yard.run("bootstrap", "busybox")
    context = write_files(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo cargo > /cargo\nCMD cat /cargo\n"})
    yard.run("build", "-t", name, context)
    yard.run("push", name)
    digest = json.loads(yard.run("manifest", "inspect", name, "--raw").stdout)["config"]["digest"]
    forget(yard, name, "busybox")
    assert "fetched" in yard.run("pull", name).stdout
    assert "up to date" in yard.run("pull", name).stdout
    assert yard.run("run", "--rm", name).stdout == "cargo\n"
    assert digest in yard.run("image", "inspect", name).stdout


def test_a_build_pulls_its_base_and_pushes_its_result(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    yard, base, result = own_yard, f"{peer.host}/base:1", f"{peer.host}/result:1"
    yard.run("bootstrap", "busybox", "-t", base)
    yard.run("push", "-q", base)
    forget(yard, base)
    context = write_files(tmp_path, {"Dockerfile": f"FROM {base}\nRUN echo built > /built\n"})
    told = yard.run("build", "--progress=plain", "--push", "-t", result, context).stderr
    assert "pushing manifest" in told
    assert yard.run("tags", f"{peer.host}/result").stdout == "1\n"
    # Of two images in one registry the shared layer was not sent.
    layers = [
        json.loads(yard.run("manifest", "inspect", name, "--raw").stdout)["layers"][0]["digest"]
        for name in (base, result)
    ]
    assert layers[0] == layers[1]


def test_a_cached_build_downloads_no_layer(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    """Its base's layers need not even be in the registry any more."""
    yard, base = own_yard, f"{peer.host}/lazy:1"
    yard.run("bootstrap", "busybox", "-t", base)
    yard.run("push", "-q", base)
    context = write_files(tmp_path, {"Dockerfile": f"FROM {base}\nLABEL a=b\n"})
    forget(yard, base)
    yard.run("build", "-t", "labelled", context)
    blobs = {path.name for path in (yard.data / "blobs/sha256").iterdir()}
    layer = json.loads(yard.run("manifest", "inspect", base, "--raw").stdout)["layers"][0]["digest"]
    assert layer.removeprefix("sha256:") not in blobs
    assert yard.run("run", "--rm", "labelled", "echo", "fetched now").stdout == "fetched now\n"


def test_credentials_are_asked_for_kept_and_forgotten(own_yard: Yard, guarded: Peer, tmp_path: Path) -> None:
    yard, name = own_yard, f"{guarded.host}/secret:1"
    yard.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    yard.run("bootstrap", "busybox", "-t", name)
    told = yard.fails("push", name)
    assert f"boat login {guarded.host}" in told
    told = yard.fails("login", "-u", "pilot", "--password-stdin", guarded.host, input=b"wrong\n")
    assert "'pilot'" in told
    assert not (tmp_path / "docker/config.json").exists()
    yard.run("login", "-u", "pilot", "--password-stdin", guarded.host, input=b"harbour\n")
    yard.run("push", name)
    forget(yard, name)
    context = write_files(tmp_path / "context", {"Dockerfile": f"FROM {name}\nRUN true\n"})
    yard.run("build", "-t", "private", context)
    yard.run("logout", guarded.host)
    assert "boat login" in yard.fails("pull", name)


def test_targets_on_a_private_base_are_baked_and_pushed(own_yard: Yard, guarded: Peer, tmp_path: Path) -> None:
    """The base is that of a target which another one is linked to: its credentials are the same client's."""
    yard, base, result = own_yard, f"{guarded.host}/linked/base:1", f"{guarded.host}/linked/result:1"
    yard.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    yard.run("bootstrap", "busybox", "-t", base)
    yard.run("login", "-u", "pilot", "--password-stdin", guarded.host, input=b"harbour\n")
    yard.run("push", "-q", base)
    forget(yard, base)
    definition = f"""
        target "under" {{
          dockerfile-inline = "FROM {base}\\nRUN echo cargo > /cargo\\n"
        }}
        target "default" {{
          contexts          = {{ under = "target:under" }}
          dockerfile-inline = "FROM under\\nCMD cat /cargo\\n"
          tags              = ["{result}"]
        }}
    """
    context = write_files(tmp_path / "context", {"docker-bake.hcl": definition})
    yard.run("bake", "--push", cwd=context)
    forget(yard, result)
    yard.run("pull", "-q", result)
    assert yard.run("run", "--rm", result).stdout == "cargo\n"


def test_an_image_is_copied_between_registries(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    yard, source, target = own_yard, f"{peer.host}/origin:1", f"{peer.host}/copies/of:2"
    yard.run("bootstrap", "busybox", "-t", source)
    yard.run("push", source)
    yard.run("copy", source, target)
    documents = {yard.run("manifest", "inspect", "--raw", name).stdout for name in (source, target)}
    assert len(documents) == 1


def test_what_is_not_there_is_said_plainly(own_yard: Yard, peer: Peer) -> None:
    assert f"{peer.host}/nosuch:latest" in own_yard.fails("pull", f"{peer.host}/nosuch")
    assert "can't reach localhost:1" in own_yard.fails("pull", "localhost:1/nosuch")
    peers_words = own_yard.fails("tags", f"{peer.host}/nosuch")
    assert "nosuch" in peers_words


MULTI_STAGE = """
FROM busybox AS tools
COPY input /input
RUN echo tool > /tool
FROM busybox
RUN echo own > /own
COPY --from=tools /tool /tools/tool
"""


def start_anew(yard: Yard) -> None:
    """A daemon that knows the base image and nothing of any build."""
    yard.run("image", "prune", "--force")
    yard.run("builder", "prune", "--all", "--force")


def cached_steps(told: str) -> int:
    return told.count(" CACHED")


def test_a_cache_travels_over_a_registry(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    yard, cache = own_yard, f"type=registry,ref={peer.host}/cache:1"
    yard.run("bootstrap", "busybox")
    context = write_files(tmp_path, {"Dockerfile": MULTI_STAGE, "input": "1"})
    yard.run("build", "-o", "type=cacheonly", "--cache-to", f"{cache},mode=max", context)
    start_anew(yard)
    told = yard.run("build", "--progress=plain", "--cache-from", cache, "-t", "again", context).stderr
    assert cached_steps(told) == 5, told
    assert yard.run("run", "--rm", "again", "cat", "/own", "/tools/tool").stdout == "own\ntool\n"
    # What changed is made anew, the rest comes from the cache.
    start_anew(yard)
    (tmp_path / "input").write_text("2")
    told = yard.run("build", "--progress=plain", "--cache-from", cache, context).stderr
    assert "RUN echo own" in told and cached_steps(told) >= 2


def test_a_cache_of_the_result_only_is_smaller(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    yard = own_yard
    yard.run("bootstrap", "busybox")
    context = write_files(tmp_path, {"Dockerfile": MULTI_STAGE, "input": "1"})
    sizes = {}
    for mode in ("min", "max"):
        yard.run("build", "--cache-to", f"type=registry,ref={peer.host}/{mode}:1,mode={mode}", context)
        sizes[mode] = len(
            json.loads(yard.run("manifest", "inspect", "--raw", f"{peer.host}/{mode}:1").stdout)["layers"]
        )
    assert sizes["min"] < sizes["max"]


def test_a_cache_that_can_not_be_had_is_a_warning(own_yard: Yard, peer: Peer, guarded: Peer, tmp_path: Path) -> None:
    yard = own_yard
    yard.run("bootstrap", "busybox", "-t", f"{peer.host}/no/cache:1")
    yard.run("push", f"{peer.host}/no/cache:1")
    context = write_files(tmp_path, {"Dockerfile": "FROM scratch\nLABEL a=b\n"})
    places = (f"{peer.host}/nosuch:1", f"{guarded.host}/denied:1", "localhost:1/unreachable", f"{peer.host}/no/cache:1")
    flags = [flag for place in places for flag in ("--cache-from", place)]
    told = yard.run("build", "--progress=plain", *flags, context).stderr
    assert "3 warnings" in told
    assert "is not there (yet)" in told and "is not used" in told


def test_a_layer_that_is_gone_from_its_registry_is_made_again(own_yard: Yard, peer: Peer, tmp_path: Path) -> None:
    yard, cache = own_yard, f"{peer.host}/lossy:1"
    yard.run("bootstrap", "busybox")
    context = write_files(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo lost > /lost\nRUN cat /lost > /found\n"})
    yard.run("build", "--cache-to", f"type=registry,ref={cache},mode=max", context)
    manifest = json.loads(yard.run("manifest", "inspect", "--raw", cache).stdout)
    start_anew(yard)
    for layer in manifest["layers"]:
        peer.forget(layer["digest"])
    yard.run("build", "--cache-from", cache, "-t", "mended", context)
    assert yard.run("run", "--rm", "mended", "cat", "/found").stdout == "lost\n"


def test_the_docker_command_pulls_pushes_and_logs_in(own_yard: Yard, guarded: Peer, tmp_path: Path) -> None:
    program = Path(__file__).parents[2] / ".cache/docker/usr/bin/docker"
    if not program.exists():
        pytest.skip("needs Debian's docker command")
    yard, name = own_yard, f"{guarded.host}/docker/made:1"
    yard.run("bootstrap", "busybox", "-t", name)
    environment = {
        "DOCKER_HOST": f"unix://{yard.socket}",
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }

    def docker(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], env=environment, input=input, capture_output=True, text=True, timeout=60
        )

    assert "credentials" in docker("push", name).stderr
    wrong = docker("login", "-u", "pilot", "--password-stdin", guarded.host, input="wrong")
    assert wrong.returncode and "credentials" in wrong.stderr
    assert "Login Succeeded" in docker("login", "-u", "pilot", "--password-stdin", guarded.host, input="harbour").stdout
    pushed = docker("push", name)
    assert pushed.returncode == 0 and "digest: sha256:" in pushed.stdout, pushed
    forget(yard, name)
    pulled = docker("pull", name)
    assert pulled.returncode == 0 and "Downloaded newer image" in pulled.stdout, pulled
    assert "up to date" in docker("pull", name).stdout
    assert "docker/made" in docker("images").stdout
