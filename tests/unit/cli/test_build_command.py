"""`boat build` against a daemon that answers what each test says."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boatyard.client.documents.builds import BuildResult, ContextFile, ContextReport
from boatyard.client.documents.envelope import Failure
from boatyard.client.failure import describe
from boatyard.errors import ExitError, SolveError, SourceExcerpt
from boatyard.progress import LogEvent, VertexEvent, WarningEvent
from fixtures.native_daemon import Asked, NativeDaemon

Boat = Callable[..., Any]
ID = "sha256:" + "a" * 64
RESPONSE = {
    "containerimage.config.digest": ID,
    "containerimage.digest": "sha256:" + "b" * 64,
    "containerimage.descriptor": '{"size": 3}',
    "image.name": "docker.io/library/app:latest",
}


@pytest.fixture(autouse=True)
def builds(daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds"] = [BuildResult(ref="r1", response=RESPONSE)]


def _request(daemon: NativeDaemon) -> Any:
    return daemon.asks("/builds")


def _stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Standard input is a pipe that holds `data`."""
    readable, writable = os.pipe()
    os.write(writable, data)
    os.close(writable)
    before = os.dup(0)
    os.dup2(readable, 0)
    os.close(readable)
    monkeypatch.setattr("os._test_stdin", before, raising=False)


@pytest.fixture
def restored_stdin() -> Iterator[None]:
    before = os.dup(0)
    yield
    os.dup2(before, 0)
    os.close(before)


def test_a_build_offers_its_directories_and_asks_for_an_image(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    told = boat("build", "-t", "app", "--progress=plain", ".")
    request = _request(daemon)
    assert told.code == 0
    assert request["frontend_attrs"] == {"filename": "Dockerfile"}
    assert request["exports"] == [{"type": "image", "attrs": {"name": "app"}}]
    status = os.stat(work)
    assert request["locals"]["context"]["identity"] == f"{status.st_dev}:{status.st_ino}:{work}"
    for name in ("context", "dockerfile"):
        (descriptor,) = daemon.taken(request["locals"][name]["token"])
        assert os.listdir(descriptor) == ["Dockerfile"]


def test_quiet_prints_the_id_alone(boat: Boat) -> None:
    told = boat("build", "-q", ".")
    assert (told.out, told.err) == (ID + "\n", "")


def test_the_result_is_written_where_it_is_asked_for(boat: Boat, work: Path) -> None:
    boat("build", "--iidfile", "new/id", "--metadata-file", "meta.json", ".")
    assert (work / "new" / "id").read_text() == ID
    metadata = json.loads((work / "meta.json").read_text())
    assert metadata["containerimage.descriptor"] == {"size": 3}
    assert metadata["boat.build.ref"] == "r1"
    assert sorted(path.name for path in work.iterdir()) == ["Dockerfile", "meta.json", "new"]


def test_a_build_without_an_image_has_no_id_to_write(boat: Boat, daemon: NativeDaemon) -> None:
    told = boat("build", "--iidfile", "id", "-o", "out", ".")
    assert told.code == 2
    assert "this build makes no image" in told.err
    assert daemon.asked == []


def test_secrets_travel_as_files_in_memory_or_open_files(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    (work / "token").write_text("from a file")
    boat("build", "--secret", "id=file,src=~/token", "--secret", "id=var,env=VALUE", ".", VALUE="from a variable")
    secrets = _request(daemon)["secrets"]
    assert daemon.read(secrets["file"]) == b"from a file"
    assert daemon.read(secrets["var"]) == b"from a variable"
    assert "memfd:" in os.readlink(f"/proc/self/fd/{daemon.taken(secrets['var'])[0]}")


@pytest.mark.parametrize(
    ("secret", "what"),
    [
        ("id=a,src=missing", "missing does not exist"),
        ("id=a,env=MISSING", "no variable 'MISSING'"),
        ("id=a,src=.", "is a directory"),
        ("id=a,src=large", "secrets are at most 500 KiB"),
    ],
)
def test_a_secret_that_is_not_there_ends_it_before_it_begins(
    boat: Boat, daemon: NativeDaemon, work: Path, secret: str, what: str
) -> None:
    (work / "large").write_bytes(bytes(501 * 1024))
    told = boat("build", "--secret", secret, ".")
    assert told.code in (2, 3)
    assert what in told.err
    assert daemon.asked == []


def test_an_ssh_agent_travels_as_its_socket(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(work / "agent"))
        boat("build", "--ssh", "default", "--ssh", f"git={work}/agent", ".", SSH_AUTH_SOCK=str(work / "agent"))
        for token in _request(daemon)["ssh"].values():
            assert stat.S_ISSOCK(os.fstat(daemon.taken(token)[0]).st_mode)


def test_no_agent_is_told_with_how_to_start_one(boat: Boat) -> None:
    told = boat("build", "--ssh", "default", ".")
    assert told.code == 3
    assert "SSH_AUTH_SOCK is not set" in told.err
    assert "ssh-add" in told.err


def test_an_output_directory_is_made_and_handed_over(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    boat("build", "-o", "deep/out", ".")
    (export,) = _request(daemon)["exports"]
    assert export["type"] == "local"
    assert os.path.samestat(os.fstat(daemon.taken(export["token"])[0]), os.stat(work / "deep" / "out"))


def _writes(daemon: NativeDaemon, data: bytes) -> Callable[[Asked], Iterator[object]]:
    def answer(asked: Asked) -> Iterator[object]:
        os.write(daemon.taken(asked.body["exports"][0]["token"])[0], data)
        yield BuildResult(ref="r")

    return answer


def test_an_output_file_appears_whole_with_its_mode_kept(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/builds"] = _writes(daemon, b"archive")
    (work / "out.tar").write_text("before")
    (work / "out.tar").chmod(0o600)
    assert boat("build", "-o", "type=oci,dest=out.tar", ".").code == 0
    assert (work / "out.tar").read_bytes() == b"archive"
    assert stat.S_IMODE((work / "out.tar").stat().st_mode) == 0o600
    assert sorted(path.name for path in work.iterdir()) == ["Dockerfile", "out.tar"]


def test_a_failed_build_leaves_an_output_file_as_it_was(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/builds"] = [Failure(error=describe(SolveError("no", vertex="v", vertex_name="n")))]
    (work / "out.tar").write_text("before")
    assert boat("build", "-o", "type=oci,dest=out.tar", ".").code == 1
    assert (work / "out.tar").read_text() == "before"
    assert sorted(path.name for path in work.iterdir()) == ["Dockerfile", "out.tar"]


def test_an_archive_goes_to_standard_output(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds"] = _writes(daemon, b"archive")
    told = boat("build", "-o", "-", ".")
    assert told.out == "archive"
    assert _request(daemon)["exports"][0]["type"] == "tar"


def test_a_file_where_a_directory_is_asked_for_is_told(boat: Boat) -> None:
    told = boat("build", "-o", "Dockerfile", ".")
    assert told.code != 0
    assert "Dockerfile" in told.err


def test_local_caches_are_directories(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    (work / "old").mkdir()
    boat("build", "--cache-from", "type=local,src=old", "--cache-to", "type=local,dest=new,mode=max", ".")
    request = _request(daemon)
    assert request["cache_to"][0]["attrs"] == {"mode": "max"}
    for option, name in ((request["cache_from"][0], "old"), (request["cache_to"][0], "new")):
        assert os.path.samestat(os.fstat(daemon.taken(option["token"])[0]), os.stat(work / name))


@pytest.mark.usefixtures("restored_stdin")
def test_a_dockerfile_from_standard_input(boat: Boat, daemon: NativeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bytes] = []

    def answer(asked: Asked) -> Iterator[object]:
        (directory,) = daemon.taken(asked.body["locals"]["dockerfile"]["token"])
        descriptor = os.open("Dockerfile", os.O_RDONLY, dir_fd=directory)
        found.append(os.read(descriptor, 100))
        os.close(descriptor)
        yield BuildResult(ref="r")

    daemon.answers["POST", "/builds"] = answer
    _stdin(monkeypatch, b"FROM base\n")
    assert boat("build", "-f", "-", ".").code == 0
    _stdin(monkeypatch, b"FROM other\n")
    assert boat("build", "-").code == 0
    assert "filename" not in _request(daemon).get("frontend_attrs", {})
    _stdin(monkeypatch, b"FROM third\n")
    assert boat("build", "-f", "-", "https://example.org/project.git").code == 0
    assert found == [b"FROM base\n", b"FROM other\n", b"FROM third\n"]
    assert daemon.asked[-1].body["frontend_attrs"] == {
        "context": "https://example.org/project.git",
        "dockerfilekey": "dockerfile",
    }


@pytest.mark.usefixtures("restored_stdin")
def test_a_context_from_standard_input_is_a_stream(
    boat: Boat, daemon: NativeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("Dockerfile"))
    got: list[bytes] = []

    def answer(asked: Asked) -> Iterator[object]:
        (descriptor,) = daemon.taken(asked.body["uploads"]["context"])
        with open(descriptor, "rb", closefd=False) as file:
            got.append(file.read())
        yield BuildResult(ref="r")

    daemon.answers["POST", "/builds"] = answer
    _stdin(monkeypatch, buffer.getvalue())
    assert boat("build", "-").code == 0
    assert got == [buffer.getvalue()]
    assert _request(daemon)["frontend_attrs"]["context"] == "http://buildkit-session/context"


@pytest.mark.usefixtures("restored_stdin")
def test_empty_standard_input_is_told(boat: Boat, monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, b"")
    told = boat("build", "-f", "-", ".")
    assert told.code == 2
    assert "standard input is empty" in told.err


def test_a_failed_step_is_told_with_its_log_and_its_place(boat: Boat, daemon: NativeDaemon) -> None:
    error = SolveError(
        'process "make" failed',
        vertex="v1",
        vertex_name="RUN make",
        source=SourceExcerpt("Dockerfile", "RUN make\n", 1, 1),
    )
    error.__cause__ = ExitError("exit code 2", exit_code=2)
    daemon.answers["POST", "/builds"] = [
        VertexEvent(digest="v1", name="RUN make", started=1.0),
        LogEvent(vertex="v1", stream=2, data="cc: no input\n", time=1.5),
        VertexEvent(digest="v1", name="RUN make", started=1.0, completed=2.0, error="exit code 2"),
        Failure(error=describe(error)),
    ]
    told = boat("build", "--progress=plain", ".")
    ref = _request(daemon)["ref"]
    assert told.code == 1
    assert "#1 0.500 cc: no input\n#1 ERROR: exit code 2\n" in told.err
    assert "> RUN make:\n  | cc: no input\nDockerfile:1\n   1 | >>> RUN make\n" in told.err
    assert 'error: a step failed: RUN make\n  why: process "make" failed: exit code 2\n' in told.err
    assert f"fix: `boat builder debug {ref[:12]}`" in told.err


def test_quiet_still_tells_what_failed(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds"] = [
        LogEvent(vertex="v1", stream=2, data="cc: no input\n", time=1.5),
        Failure(error=describe(SolveError("failed", vertex="v1", vertex_name="RUN make"))),
    ]
    told = boat("build", "-q", ".")
    assert told.out == ""
    assert "cc: no input" in told.err


def test_checks_are_printed_and_decide_the_exit_code(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds"] = [
        WarningEvent(short="shown by the answer"),
        BuildResult(ref="r", metadata={"result.txt": "2 warnings", "result.json": "{}", "result.statuscode": "1"}),
    ]
    told = boat("build", "--check", ".")
    assert (told.code, told.out, told.err) == (1, "2 warnings\n", "")
    assert boat("build", "--call=check,format=json", ".").out == "{}\n"
    assert "exports" not in _request(daemon)


def test_a_check_tells_the_error_that_would_end_the_build(boat: Boat, daemon: NativeDaemon) -> None:
    place = {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]}
    document = {
        "sources": [{"filename": "Dockerfile", "data": base64.b64encode(b"FROM a\nRUNN x\n").decode()}],
        "buildError": {"message": "unknown instruction RUNN", "location": place, "hint": "write RUN"},
    }
    metadata = {"result.txt": "", "result.json": json.dumps(document), "result.statuscode": "1"}
    daemon.answers["POST", "/builds"] = [BuildResult(ref="r", metadata=metadata)]
    told = boat("build", "--check", ".")
    assert (told.code, told.out) == (1, "")
    assert "Dockerfile:2" in told.err
    assert ">>> RUNN x" in told.err
    assert "error: unknown instruction RUNN" in told.err
    assert "fix: write RUN" in told.err


def test_the_context_report_tells_what_was_read_and_left_out(boat: Boat, daemon: NativeDaemon) -> None:
    report = ContextReport(
        name="context",
        files=3,
        bytes=3000,
        read_bytes=1000,
        largest=(ContextFile(path="big", size=2000),),
        ignored_files=1,
        ignored_bytes=7_000_000,
        ignored=(ContextFile(path="node_modules", size=7_000_000),),
    )
    daemon.answers["POST", "/builds"] = [BuildResult(ref="r", context_reports=(report,))]
    assert boat("build", "--context-report", ".").out.splitlines() == [
        "context: 3 files, 3kB",
        "  read now 1kB, known from earlier builds 2kB",
        "  largest files:",
        "         2kB   big",
        "  left out by the ignore file: 1 file, 7MB",
        "         7MB   node_modules",
    ]
    assert _request(daemon)["context_report"] is True


def test_flags_may_be_written_as_docker_writes_them(boat: Boat, daemon: NativeDaemon) -> None:
    told = boat("build", "--pull=true", "--no-cache=false", "--rm=false", "--load", "--provenance=false", "-tapp", ".")
    assert told.code == 0
    assert _request(daemon)["frontend_attrs"] == {"filename": "Dockerfile", "image-resolve-mode": "pull"}


def test_values_that_look_like_flags_stay_values(boat: Boat, daemon: NativeDaemon) -> None:
    boat("build", "--target", "-t", "-t", "--pull=false", "--", ".")
    request = _request(daemon)
    assert request["frontend_attrs"]["target"] == "-t"
    assert request["exports"][0]["attrs"] == {"name": "--pull=false"}


def test_trust_in_the_hosts_certificates_is_left_to_the_daemon_unless_said(boat: Boat, daemon: NativeDaemon) -> None:
    boat("build", ".")
    assert "trust_host_ca" not in _request(daemon)
    boat("build", "--trust-host-ca", ".")
    assert _request(daemon)["trust_host_ca"] is True
    boat("build", "--no-trust-host-ca", ".")
    assert _request(daemon)["trust_host_ca"] is False


def test_a_shell_on_errors_needs_a_terminal(boat: Boat, daemon: NativeDaemon) -> None:
    told = boat("build", "--on-error=shell", ".")
    assert told.code == 2
    assert "needs a terminal" in told.err
    assert daemon.asked == []


def test_the_live_view_needs_a_terminal(boat: Boat) -> None:
    told = boat("build", "--progress=tty", ".")
    assert told.code == 2
    assert "--progress=plain" in told.err


def test_the_environment_may_choose_the_progress(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds"] = [VertexEvent(digest="a", name="A"), BuildResult(ref="r")]
    assert json.loads(boat("build", ".", BUILDKIT_PROGRESS="rawjson").err) == {
        "vertexes": [{"digest": "a", "name": "A"}]
    }
    assert "there is no 'fancy'" in boat("build", ".", BUILDKIT_PROGRESS="fancy").err


def test_a_daemon_that_is_not_there_is_told(boat: Boat, tmp_path: Path) -> None:
    told = boat("--host", f"unix://{tmp_path}/none.sock", "build", ".")
    assert told.code == 9
    assert "nothing is there" in told.err
    assert "fix: start one with `boatd`" in told.err


def test_a_daemon_that_vanishes_in_the_middle_is_told(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds"] = [VertexEvent(digest="a", name="A", started=1.0)]
    told = boat("build", "--progress=plain", ".")
    assert told.code == 9
    assert "before its result" in told.err
