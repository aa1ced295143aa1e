"""Builds over a session, as docker 20.10 makes them with DOCKER_BUILDKIT=1: `/session` and `POST /build?version=2`."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from boatyard._pb.control_pb2 import StatusResponse
from e2e.engine import Docker, ask, build, docker_programs, tar_of
from e2e.served import Served
from e2e.test_engine_build import left_overs
from e2e.test_engine_hostile import sleeping, until
from e2e.yard import Yard, write_files

PROGRAMS = docker_programs()


@pytest.fixture
def command(yard: Yard, tmp_path: Path) -> Docker:
    if "20" not in PROGRAMS:
        pytest.skip("this machine has no docker 20.10 command")
    config = tmp_path / "docker-config"
    config.mkdir()
    # Unset, it is the daemon that says by its ping which builder it prefers.
    return Docker(PROGRAMS["20"], "20", yard, config, {"DOCKER_BUILDKIT": "", "BUILDKIT_PROGRESS": "plain"})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "Dockerfile": 'FROM busybox\nARG WHO\nCOPY . /all\nRUN echo hello $WHO; ls -A /all\nCMD ["x"]\n',
        "data": "d",
        "left-out": "x",
        ".dockerignore": "left-out\n",
    }
    return write_files(tmp_path / "project", files)


def test_ping_prefers_buildkit(yard: Yard) -> None:
    assert ask(yard, "HEAD", "/_ping").headers["builder-version"] == "2"


def test_a_build_shows_buildkits_progress_and_names_the_image(command: Docker, project: Path, tmp_path: Path) -> None:
    iidfile = tmp_path / "iid"
    done = command.run("build", "-t", "session:1", "--build-arg", "WHO=you", "--iidfile", iidfile, project)
    assert "[3/3] RUN echo hello you" in done.stderr
    assert "left-out" not in done.stderr
    found = json.loads(command.run("inspect", "session:1").stdout)[0]
    assert iidfile.read_text() == found["Id"]
    again = command.run("build", "--build-arg", "WHO=you", project)
    assert "CACHED" in again.stderr
    assert command.run("build", "-q", "--build-arg", "WHO=you", project).stdout.strip() == found["Id"]


def test_only_what_changed_travels(command: Docker, project: Path) -> None:
    (project / "large").write_bytes(os.urandom(300_000))
    first = command.run("build", project).stderr
    (project / "data").write_text("changed")
    second = command.run("build", project).stderr
    transferred = [line for line in second.splitlines() if "transferring context" in line and line.endswith("done")]
    assert "300" in first
    assert not any("kB" in line for line in transferred), transferred


def test_secrets_are_asked_for_over_the_session(command: Docker, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("twelve bytes")
    dockerfile = b"FROM busybox\nRUN --mount=type=secret,id=s wc -c < /run/secrets/s\n"
    done = command.run("build", "--no-cache", "--secret", f"id=s,src={secret}", "-", input=dockerfile)
    assert any(line.split()[-1] == "12" for line in done.stderr.splitlines() if line.strip())


def test_an_agent_is_forwarded_over_the_session(command: Docker, tmp_path: Path) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        until((tmp_path / "agent").exists, "no agent")
        command.environment["SSH_AUTH_SOCK"] = str(tmp_path / "agent")
        dockerfile = b"FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo forwarded\n"
        done = command.run("build", "--no-cache", "--ssh", "default", "-", input=dockerfile)
        assert "forwarded" in done.stderr
    finally:
        agent.terminate()
        agent.wait()


def test_a_context_from_standard_input_comes_in_a_request_of_its_own(command: Docker) -> None:
    context = tar_of({"sub/Dockerfile": "FROM scratch\nCOPY data /\n", "data": "piped"})
    command.run("build", "-t", "session:piped", "-f", "sub/Dockerfile", "-", input=context)
    assert json.loads(command.run("inspect", "session:piped").stdout)[0]["RootFS"]["Layers"]
    assert left_overs(command.yard) == []


def test_outputs_go_to_the_client(command: Docker, project: Path, tmp_path: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY data /\n")
    command.run("build", "-o", tmp_path / "out", project)
    assert (tmp_path / "out/data").read_text() == "d"
    command.run("build", "-o", f"type=tar,dest={tmp_path / 'out.tar'}", project)
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getnames() == ["data"]


def test_a_failure_is_told(command: Docker, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM busybox\nRUN echo reason; exit 9\n")
    failed = command.run("build", project, check=False)
    assert failed.returncode == 1
    assert "reason" in failed.stderr and "failed to solve" in failed.stderr and "exit code: 9" in failed.stderr
    (project / "Dockerfile").write_text("FROM busybox\nNONSENSE\n")
    assert "unknown instruction: NONSENSE" in command.run("build", project, check=False).stderr
    missing = command.run("build", "-f", project / "data", "--target", "nosuch", project, check=False)
    assert missing.returncode == 1


def test_an_interrupt_ends_the_build(command: Docker) -> None:
    marker = f"32{os.getpid()}"
    process = subprocess.Popen(
        [command.program, "build", "--no-cache", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=command.variables(),
    )
    assert process.stdin is not None
    process.stdin.write(f"FROM busybox\nRUN sleep {marker}\n".encode())
    process.stdin.close()
    until(lambda: sleeping(marker), "the step does not run")
    process.send_signal(signal.SIGINT)
    until(lambda: not sleeping(marker), "the step goes on")
    process.wait(30)


def test_a_client_that_is_killed_ends_its_build(command: Docker) -> None:
    marker = f"33{os.getpid()}"
    process = subprocess.Popen(
        [command.program, "build", "--no-cache", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=command.variables(),
    )
    assert process.stdin is not None
    process.stdin.write(f"FROM busybox\nRUN sleep {marker}\n".encode())
    process.stdin.close()
    until(lambda: sleeping(marker), "the step does not run")
    process.kill()
    process.wait(30)
    until(lambda: not sleeping(marker), "the step goes on")


def test_a_context_may_be_the_requests_body(yard: Yard) -> None:
    answer = build(yard, {"Dockerfile": "FROM busybox\nCOPY data /\n", "data": "d"}, version="2", t="session:body")
    (image,) = [line["aux"]["ID"] for line in answer.lines if line.get("id") == "moby.image.id"]
    assert ask(yard, "GET", "/images/session:body/json").json["Id"] == image
    wrong = build(yard, b"nonsense", version="2")
    assert wrong.status == 400 and "not a usable tar archive" in wrong.message


def test_progress_is_a_stream_of_encoded_messages(yard: Yard, served: Served) -> None:
    """A context at an address needs no session."""

    write_files(served.directory, {"Dockerfile": "FROM busybox\nRUN echo decoded\n"})
    answer = ask(yard, "POST", "/v1.41/build", version="2", remote=f"{served.url}/Dockerfile", nocache="1")
    traces = [base64.b64decode(line["aux"]) for line in answer.lines if line.get("id") == "moby.buildkit.trace"]
    logs = b"".join(log.msg for trace in traces for log in StatusResponse.FromString(trace).logs)
    assert logs == b"decoded\n"
    (image,) = [line["aux"]["ID"] for line in answer.lines if line.get("id") == "moby.image.id"]
    assert ask(yard, "GET", f"/images/{image}/json").status == 200
