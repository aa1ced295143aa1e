"""A frontend in an image: built here from a Dockerfile, named by `# syntax=`, and what it builds, run."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import boatyard
from e2e.project import Project, outcomes
from e2e.yard import Yard, write_files

pytestmark = [pytest.mark.network, pytest.mark.runtime, pytest.mark.timeout(900), pytest.mark.xdist_group("projects")]

IMAGE = "example/packages:1"
DOCKERFILE = """\
FROM debian:bookworm-slim
RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt/lists \\
    apt-get update && apt-get install -y --no-install-recommends python3 python3-venv
COPY requirements.txt /
RUN --mount=type=cache,target=/root/.cache/pip \\
    python3 -m venv /opt/frontend && /opt/frontend/bin/pip install -r /requirements.txt
COPY --from=library . /opt/frontend/lib/python3.11/site-packages/boatyard
USER nobody
LABEL moby.buildkit.frontend.network.none="true"
LABEL moby.buildkit.frontend.caps="moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts,\
moby.buildkit.frontend.inputs"
ENTRYPOINT ["/opt/frontend/bin/python", "-m", "boatyard.frontend", "boatyard.frontend.packages"]
"""
LIBRARIES = ("grpclib", "msgspec", "protobuf", "pyyaml")

RECIPE = """\
# syntax=example/packages:1
arguments: {PIP: "six==1.16.0"}
base: debian:bookworm-slim
apt:
  - cowsay
pip:
  - ${PIP}
files:
  - from: app/main.py
    to: /srv/app/main.py
    mode: 0755
    owner: app
  - to: /etc/greeting
    text: hello
    mode: 0640
    owner: app:app
environment: {PATH: "/opt/venv/bin:/usr/games:/usr/bin:/bin"}
user: {name: app, id: 1234}
directory: /srv/app
entrypoint: [python, main.py]
"""
MAIN = """\
import os, six, subprocess
print(six.__version__, os.getuid(), open("/etc/greeting").read())
print(subprocess.run(["cowsay", "moo"], capture_output=True, text=True, check=True).stdout)
"""


@pytest.fixture
def project(yard: Yard, debian: Callable[[Yard], None], tmp_path: Path) -> Project:
    debian(yard)
    context = write_files(
        tmp_path / "frontend",
        {"Dockerfile": DOCKERFILE, "requirements.txt": "".join(f"{name}=={version(name)}\n" for name in LIBRARIES)},
    )
    library = Path(boatyard.__file__).parent
    yard.run(
        "build", "--trust-host-ca", "--build-context", f"library={library}", "-t", IMAGE, context, timeout=800
    )  # fmt: skip
    return Project(yard, tmp_path / "made").write({"image.yaml": RECIPE, "app/main.py": MAIN})


def test_an_image_is_a_frontend(project: Project) -> None:
    yard, file = project.yard, project.directory / "image.yaml"
    progress = project.build("--trust-host-ca", "-t", "packaged-by-image", "-f", file)
    assert f"[internal] run the frontend {IMAGE}" in progress
    said = yard.run("run", "--rm", "packaged-by-image").stdout
    assert "1.16.0 1234 hello" in said and "< moo >" in said

    # All of it cached, but for the frontend's own work.
    again = project.build("--trust-host-ca", "-f", file)
    steps = {name: how for name, how in outcomes(again).items() if "internal" not in name}
    assert set(steps.values()) <= {"CACHED", "SKIPPED", "DONE"}
    assert again.count("CACHED") >= 4

    # The same as the installed one makes, and cached by what the other did.
    inside = project.build("--trust-host-ca", "-f", file, "--build-arg", "BUILDKIT_SYNTAX=python:packages")
    assert inside.count("CACHED") >= 4

    # It is asked, and fails, as any frontend.
    asked = yard.run("build", "--call=outline,format=json", "-f", file, project.directory)
    assert json.loads(asked.stdout)["args"][0]["value"] == "six==1.16.0"
    project.write({"image.yaml": RECIPE.replace("apt:", "atp:")})
    told = project.fails("-f", str(file))
    assert ">>> atp:" in told and "did you mean apt?" in told
    project.write({"image.yaml": RECIPE.replace("cowsay", "nosuchpackage")})
    told = project.fails("-f", str(file))
    assert ">>>   - nosuchpackage" in told and "Unable to locate package nosuchpackage" in told

    # Another image in its place, by the name of a context.
    told = yard.fails(
        "build", "--build-context", f"{IMAGE}=docker-image://debian:bookworm-slim", "-f", file, project.directory
    )
    assert "can't be started" in told and '"/run"' in told


WRITER = """\
from boatyard.frontend import make_file, scratch

RECIPE = "base: busybox\\nfiles: [{from: made, to: /made}, {text: told, to: /told}]\\n"

async def frontend(bridge, options, context):
    given = scratch().file(make_file("/image.yaml", RECIPE), make_file("/made", "made by another one"))
    asked = {"source": "example/packages:1", "filename": "image.yaml", "cmdline": "example/packages:1"}
    return await bridge.frontend("gateway.v0", asked, {"context": given, "dockerfile": given})
"""


def test_a_frontend_gives_another_one_what_to_work_on(project: Project) -> None:
    project.yard.run("bootstrap", "busybox")
    project.write({"Dockerfile": "# syntax=python:./writer.py\n", "writer.py": WRITER})
    tree = project.tree("--allow=frontend.python")
    assert (tree.text("made"), tree.text("told")) == ("made by another one", "told")


def test_the_real_one_for_dockerfiles_is_only_run_when_the_daemon_insists(project: Project) -> None:
    """Whether it is there or not: the built-in frontend reads it, without a network."""
    project.write({"Dockerfile": "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY app /app\n"})
    assert "app/main.py" in project.tree()


def test_what_is_no_frontend_is_said_to_be_none(project: Project) -> None:
    project.yard.run("build", "-t", "example/shell", "-", input=b'FROM busybox\nENTRYPOINT ["echo", "hi there"]\n')
    project.write({"Dockerfile": "# syntax=example/shell\nwhatever\n"})
    told = project.fails()
    assert "does not speak gRPC on its standard output: it said b'hi there" in told
    project.yard.run(
        "build", "-t", "example/shell", "-", input=b'FROM busybox\nENTRYPOINT ["sh", "-c", "echo sorry >&2; exit 3"]\n'
    )
    told = project.fails()
    assert "ended without a result: exit code: 3" in told and "sorry" in told
    project.write({"Dockerfile": "# syntax=example/nosuch\nwhatever\n"})
    told = project.fails()
    assert ">>> # syntax=example/nosuch" in told and "not in the local store" in told
