"""The registry server as Docker sees it: a daemon of Docker's own logs in, pushes and pulls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.tools.docker import CLIENT, Docker

from fixtures.registryserver import Served, start, stop

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which its client finds the daemon."""
    if not Docker.installed():
        pytest.skip("needs dockerd")
    root = tmp_path_factory.mktemp("docker")
    daemon = Docker(root)
    try:
        daemon.start()
    except RuntimeError as error:
        pytest.skip(f"dockerd doesn't start here: {error}")
    yield {**os.environ, "DOCKER_HOST": f"unix://{root}/docker.sock", "DOCKER_CONFIG": str(root / "config")}
    daemon.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("registry") / "root"
    served = start(root, "--auth", "--anonymous-pull", "--workers", "2")
    boat = str(Path(sys.executable).with_name("boat"))
    command = [boat, "registry", "user", "add", "anna", "--root", str(root), "--password-stdin"]
    subprocess.run(command, input="ships in bottles\n", text=True, check=True)
    yield served
    stop(served)


def run(docker: dict[str, str], *command: str, input: str | None = None) -> str:
    done = subprocess.run([CLIENT, *command], env=docker, input=input, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_docker_logs_in_pushes_and_pulls(docker: dict[str, str], server: Served, tmp_path: Path) -> None:
    (tmp_path / "cargo").write_bytes(os.urandom(3_000_000))
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(tmp_path / "cargo", "cargo")
    name = f"{server.host}/team/app:1"
    run(docker, "import", str(tmp_path / "image.tar"), name)
    refused = subprocess.run([CLIENT, "push", name], env=docker, capture_output=True, text=True)
    assert refused.returncode != 0 and "Retrying" not in refused.stdout
    wrong = subprocess.run(
        [CLIENT, "login", "-u", "anna", "--password-stdin", server.host],
        env=docker,
        input="wrong",
        capture_output=True,
        text=True,
    )
    assert wrong.returncode != 0 and "wrong user name or password" in wrong.stderr
    run(docker, "login", "-u", "anna", "--password-stdin", server.host, input="ships in bottles")
    run(docker, "push", name)
    # A second name of it in another repository: its layer is mounted, not sent.
    other = f"{server.host}/team/other:1"
    run(docker, "tag", name, other)
    assert "Mounted from team/app" in run(docker, "push", other)
    id = run(docker, "inspect", "-f", "{{.Id}}", name)
    run(docker, "logout", server.host)
    run(docker, "rmi", "-f", name, other)
    run(docker, "pull", name)
    assert run(docker, "inspect", "-f", "{{.Id}}", name) == id
