"""What `docker build` has become: buildx, with the builder behind Docker's own socket (its driver "docker")."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from e2e.engine import Docker, buildx_plugin, docker_programs, tar_of, with_buildx
from e2e.test_engine_hostile import sleeping, until
from e2e.yard import Yard, write_files

PROGRAM = next((path for major, path in docker_programs().items() if int(major) >= 23), None)


@pytest.fixture
def command(yard: Yard, tmp_path: Path) -> Docker:
    plugin = buildx_plugin()
    if PROGRAM is None or plugin is None:
        pytest.skip("this machine has no docker command with the buildx plugin")
    config = tmp_path / "docker-config"
    config.mkdir()
    with_buildx(config, plugin)
    return Docker(PROGRAM, "28", yard, config, {"DOCKER_BUILDKIT": "", "BUILDKIT_PROGRESS": "plain"})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    dockerfile = 'FROM busybox\nARG WHO\nCOPY data /data\nRUN echo hello $WHO\nCMD ["x"]\n'
    return write_files(tmp_path / "project", {"Dockerfile": dockerfile, "data": "d"})


def test_images_are_built_into_the_store(command: Docker, project: Path, tmp_path: Path) -> None:
    iid, metadata = tmp_path / "iid", tmp_path / "metadata"
    files = ("--iidfile", iid, "--metadata-file", metadata)
    done = command.run("build", "-t", "buildx:1", "-t", "buildx:2", "--build-arg", "WHO=you", *files, project)
    assert "hello you" in done.stderr
    found = json.loads(command.run("inspect", "buildx:2").stdout)[0]
    assert f"buildx@{iid.read_text()}" in found["RepoDigests"]  # buildx prefers the manifest's digest over the ID
    assert json.loads(command.run("inspect", iid.read_text()).stdout)[0]["Id"] == found["Id"]
    assert json.loads(metadata.read_text())["image.name"] == "docker.io/library/buildx:1,docker.io/library/buildx:2"
    again = command.run("build", "--load", "-q", "--build-arg", "WHO=you", project)
    assert again.stdout.strip() == iid.read_text()


def test_contexts_and_secrets_come_from_the_client(command: Docker, project: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("twelve bytes")
    more = write_files(tmp_path / "more", {"file": "more"})
    dockerfile = (
        b"FROM busybox\nRUN --mount=type=secret,id=s echo secret $(wc -c < /run/secrets/s)\n"
        b"COPY --from=more file /\nRUN echo file $(cat /file)\n"
    )
    options = ("--no-cache", "--secret", f"id=s,src={secret}", "--build-context", f"more={more}")
    done = command.run("build", *options, "-f-", project, input=dockerfile)
    assert "secret 12" in done.stderr and "file more" in done.stderr
    piped = tar_of({"sub/Dockerfile": "FROM scratch\nCOPY data /\n", "data": "piped"})
    command.run("build", "-f", "sub/Dockerfile", "-", input=piped)


def test_steps_reach_their_host_by_the_name_that_docker_has_for_it(command: Docker) -> None:
    dockerfile = b"FROM busybox\nRUN echo reached $(grep -c there /etc/hosts)\n"
    done = command.run("build", "--no-cache", "--add-host", "there:host-gateway", "-", input=dockerfile)
    assert "reached 1" in done.stderr


def test_outputs_go_to_the_client(command: Docker, project: Path, tmp_path: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY data /\n")
    command.run("build", "-o", tmp_path / "out", project)
    assert (tmp_path / "out/data").read_text() == "d"
    command.run("build", "-o", f"type=docker,dest={tmp_path / 'image.tar'}", "-t", "buildx:saved", project)
    assert "buildx:saved" in command.run("load", "-i", tmp_path / "image.tar").stdout


def test_failures_are_shown_with_their_place(command: Docker, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM busybox\nRUN echo reason; exit 9\n")
    failed = command.run("build", project, check=False)
    assert failed.returncode == 1
    assert "reason" in failed.stderr and "exit code: 9" in failed.stderr
    assert "2 | >>> RUN echo reason; exit 9" in failed.stderr


def test_a_dockerfile_is_checked_and_outlined(command: Docker, project: Path) -> None:
    (project / "Dockerfile").write_text("from busybox\nARG WHO=you\nRUN echo $WHO\n")
    assert "ConsistentInstructionCasing" in command.run("build", "--check", project, check=False).stdout
    assert "WHO" in command.run("build", "--call=outline", project).stdout


def test_the_cache_is_shown_and_pruned(command: Docker, project: Path) -> None:
    command.run("build", project)
    assert "Total:" in command.run("buildx", "du").stdout
    assert "Total:" in command.run("buildx", "prune", "-f", "--filter", "id=nosuch").stdout
    assert "COMPLETED" in command.run("buildx", "history", "ls").stdout.upper()


@pytest.mark.parametrize("with_", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_ends_takes_its_build_along(command: Docker, with_: signal.Signals) -> None:
    marker = f"{int(with_)}4{os.getpid()}"
    process = subprocess.Popen(
        [command.program, "build", "--no-cache", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=command.variables(),
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(f"FROM busybox\nRUN sleep {marker}\n".encode())
    process.stdin.close()
    until(lambda: sleeping(marker), "the step does not run")
    os.killpg(process.pid, with_)  # the docker command runs buildx as a process of its own
    process.wait(30)
    until(lambda: not sleeping(marker), "the step goes on")


def test_targets_are_built_on_targets(command: Docker, project: Path) -> None:
    definition = write_files(
        project,
        {
            "docker-bake.hcl": 'group "default" { targets = ["one", "two"] }\n'
            'target "one" { tags = ["baked:one"] }\n'
            'target "two" {\n  contexts = { base = "target:one" }\n  tags = ["baked:two"]\n'
            '  dockerfile-inline = "FROM base\\nCOPY --from=base /data /copy\\n"\n}\n'
        },
    )
    command.run("buildx", "bake", "--load", cwd=definition)
    two = json.loads(command.run("inspect", "baked:two").stdout)[0]
    assert two["Config"]["Cmd"] == ["x"]
