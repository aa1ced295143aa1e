"""BuildKit's API, from a client that is no relative of ours: messages compiled from the .proto files, grpcio at both
ends of a session."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from e2e.foreign import CONTROL, GATEWAY, Client, Session, compile_messages
from e2e.yard import Yard, write_files

DOCKERFILE = """\
FROM busybox AS build
COPY src /src
RUN --mount=type=secret,id=key cat /src/*.txt /run/secrets/key > /out.txt && echo told
FROM scratch
COPY --from=build /out.txt /
"""


@pytest.fixture(scope="session")
def messages(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return compile_messages(tmp_path_factory.mktemp("protos"))


@pytest.fixture
def client(yard: Yard, messages: SimpleNamespace) -> Iterator[Client]:
    with Client(yard.socket, messages) as client:
        yield client


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Secrets are no part of cache keys: each test has files of its own."""
    files = {f"src/{name}.txt": f"{name}\n" for name in ("one", "three", "two")} | {"src/own": uuid.uuid4().hex}
    return write_files(tmp_path / "project", {"Dockerfile": DOCKERFILE, "unused.bin": b"x" * 100_000, **files})


def session_of(client: Client, project: Path, **options: Any) -> Session:
    return Session(client.m, directories={"context": project, "dockerfile": project}, **options)


def exported(received: bytes | bytearray) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bytes(received))) as archive:
        return {
            member.name.removeprefix("./"): archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        }


def solve(client: Client, session: Session, ref: str = "", **attributes: str) -> Any:
    control = client.m.control
    request = control.SolveRequest(
        Ref=ref or uuid.uuid4().hex,
        Session=session.id,
        Frontend="dockerfile.v0",
        FrontendAttrs=attributes,
        Exporters=[control.Exporter(Type="tar")],
    )
    return client.call(f"{CONTROL}/Solve", request, control.SolveResponse)


def test_the_daemon_says_who_it_is(client: Client) -> None:
    m = client.m
    info = client.call(f"{CONTROL}/Info", m.control.InfoRequest(), m.control.InfoResponse)
    assert info.buildkitVersion.version
    workers = client.call(f"{CONTROL}/ListWorkers", m.control.ListWorkersRequest(), m.control.ListWorkersResponse)
    assert [platform.OS for platform in workers.record[0].platforms][:1] == ["linux"]
    health = m.health.HealthCheckRequest(service="moby.buildkit.v1.Control")
    assert client.call("/grpc.health.v1.Health/Check", health, m.health.HealthCheckResponse).status == 1


def test_a_dockerfile_is_built_from_the_clients_files_and_secrets(
    client: Client, project: Path, tmp_path: Path
) -> None:
    ref = uuid.uuid4().hex
    seen: list[Any] = []
    following = threading.Thread(target=lambda: seen.extend(client.status(ref)))
    following.start()
    with session_of(client, project, secrets={"key": b"secret\n"}).held(client, tmp_path) as session:
        solve(client, session, ref)
    following.join(60)
    assert exported(session.received) == {"out.txt": b"one\nthree\ntwo\nsecret\n"}
    assert "secret key" in session.asked
    assert "unused.bin" not in session.sent_files
    vertexes = {vertex.digest: vertex for status in seen for vertex in status.vertexes}
    assert any("cat /src/*.txt" in vertex.name and vertex.completed.seconds for vertex in vertexes.values())
    assert b"told" in b"".join(log.msg for status in seen for log in status.logs)
    # Its history can be read again, to its end.
    again = [vertex.digest for status in client.status(ref) for vertex in status.vertexes]
    assert set(again) == set(vertexes)


def test_a_rebuild_sends_only_what_has_changed(client: Client, project: Path, tmp_path: Path) -> None:
    """The Dockerfile, too, always: as BuildKit's frontend, ours asks for it without a look at its times."""
    for _ in range(2):
        with session_of(client, project, secrets={"key": b"1"}).held(client, tmp_path) as session:
            solve(client, session)
    assert session.sent_files == ["Dockerfile"]
    (project / "src/two.txt").write_text("changed\n")
    with session_of(client, project, secrets={"key": b"1"}).held(client, tmp_path) as session:
        solve(client, session)
    assert session.sent_files == ["Dockerfile", "src/two.txt"]
    assert exported(session.received) == {"out.txt": b"one\nthree\nchanged\n1"}


def test_a_failing_step_is_told_with_its_place(client: Client, project: Path, tmp_path: Path) -> None:
    (project / "Dockerfile").write_text("FROM busybox\n\nRUN echo before && exit 3\n")
    with session_of(client, project).held(client, tmp_path) as session, pytest.raises(grpc.RpcError) as caught:
        solve(client, session)
    error: Any = caught.value
    assert "exit code: 3" in error.details()
    status = client.m.status.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    details = {one.type_url.rpartition("/")[2]: json.loads(one.value) for one in status.details}
    source = details["errdefs.Source+json"]
    assert source["info"]["filename"] == "Dockerfile"
    assert source["ranges"][0]["start"]["line"] == 3
    assert details["errdefs.Vertex+json"]["digest"].startswith("sha256:")


def test_what_the_client_does_not_have_is_told(client: Client, tmp_path: Path) -> None:
    with Session(client.m).held(client, tmp_path) as session, pytest.raises(grpc.RpcError) as caught:
        solve(client, session)
    error: Any = caught.value
    assert "dockerfile" in error.details()


def test_a_graph_is_built_without_a_frontend(client: Client, tmp_path: Path) -> None:
    """One mkfile on scratch, encoded here."""
    pb, control = client.m.ops, client.m.control
    action = pb.FileAction(
        input=-1,
        secondaryInput=-1,
        output=0,
        mkfile=pb.FileActionMkFile(path="/x", mode=0o644, data=b"hi", timestamp=-1),
    )
    made = pb.Op(file=pb.FileOp(actions=[action]), platform=pb.Platform(OS="linux", Architecture="amd64"))
    encoded = made.SerializeToString(deterministic=True)
    result = pb.Op(inputs=[pb.Input(digest=f"sha256:{hashlib.sha256(encoded).hexdigest()}", index=0)])
    definition = pb.Definition(**{"def": [encoded, result.SerializeToString(deterministic=True)]})
    with Session(client.m).held(client, tmp_path) as session:
        client.solve(Session=session.id, Definition=definition, Exporters=[control.Exporter(Type="tar")])
    assert exported(session.received) == {"x": b"hi"}


def test_a_client_can_be_the_frontend(client: Client, project: Path, tmp_path: Path) -> None:
    """As buildctl is: a solve without a frontend, in which the client calls the gateway and returns what it got."""
    m = client.m
    ref = uuid.uuid4().hex
    build = [("buildkit-controlapi-buildid", ref)]
    with session_of(client, project, secrets={"key": b"k"}).held(client, tmp_path) as session:
        answer: list[Any] = []
        request = m.control.SolveRequest(Ref=ref, Session=session.id, Exporters=[m.control.Exporter(Type="tar")])
        solving = threading.Thread(
            target=lambda: answer.append(client.call(f"{CONTROL}/Solve", request, m.control.SolveResponse))
        )
        solving.start()
        pong = client.call(f"{GATEWAY}/Ping", m.gateway.PingRequest(), m.gateway.PongResponse, metadata=build)
        assert {"solve.base", "return"} <= {cap.ID for cap in pong.FrontendAPICaps}
        inner = m.gateway.SolveRequest(Frontend="dockerfile.v0", allowResultReturn=True, allowResultArrayRef=True)
        solved = client.call(f"{GATEWAY}/Solve", inner, m.gateway.SolveResponse, metadata=build)
        read = m.gateway.ReadFileRequest(Ref=solved.result.ref.id, FilePath="/out.txt")
        found = client.call(f"{GATEWAY}/ReadFile", read, m.gateway.ReadFileResponse, metadata=build)
        assert found.Data == b"one\nthree\ntwo\nk"
        client.call(
            f"{GATEWAY}/Return", m.gateway.ReturnRequest(result=solved.result), m.gateway.ReturnResponse, metadata=build
        )
        solving.join(60)
        assert answer
    assert exported(session.received) == {"out.txt": b"one\nthree\ntwo\nk"}


def test_a_client_that_goes_ends_its_build(
    yard: Yard, messages: SimpleNamespace, project: Path, tmp_path: Path
) -> None:
    (project / "Dockerfile").write_text("FROM busybox\nRUN sleep 1000\n")
    ref = uuid.uuid4().hex
    with Client(yard.socket, messages) as watcher:
        with (
            Client(yard.socket, messages) as leaving,
            session_of(leaving, project).held(leaving, tmp_path) as session,
        ):
            building = threading.Thread(target=lambda: _fails(leaving, session, ref))
            building.start()
            for status in watcher.status(ref):
                if any("sleep 1000" in vertex.name and vertex.started.seconds for vertex in status.vertexes):
                    break
        building.join(30)
        assert not building.is_alive()
        # The record of a build that runs ends when the build does.
        for _ in watcher.status(ref):
            pass


def _fails(client: Client, session: Session, ref: str) -> None:
    with pytest.raises((grpc.RpcError, ValueError)):
        solve(client, session, ref)
