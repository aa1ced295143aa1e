"""Builds asked for by a BuildKit client: what it gives, what it is told meanwhile, what it gets."""

from __future__ import annotations

import io
import json
import tarfile
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest

from boatyard._pb import control_pb2 as control
from boatyard._pb import policysession_pb2, sourcepolicy_pb2
from boatyard._pb.gateway_pb2 import PingRequest, PongResponse
from e2e.buildkit import CONTROL, PATIENCE, BuildKit, FailedError, Session, connected, logs, vertices
from e2e.yard import Yard
from fixtures.boatd import descriptors, resident


@pytest.fixture
def client(yard: Yard) -> Iterator[BuildKit]:
    with connected(yard) as client:
        yield client


def exporter(type: str, **attrs: str) -> control.Exporter:
    return control.Exporter(Type=type, Attrs=attrs)


def members(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_a_dockerfile_and_its_context_become_an_image(client: BuildKit, yard: Yard) -> None:
    session = Session({"context": {"a.txt": "one"}})
    answer = client.dockerfile(
        "FROM scratch\nCOPY a.txt /\n", session, Exporters=[exporter("image", name="buildkit-image")]
    )
    assert "buildkit-image" in yard.run("images").stdout
    assert answer.ExporterResponse["image.name"] == "docker.io/library/buildkit-image:latest"
    assert answer.ExporterResponse["containerimage.digest"].startswith("sha256:")


def test_exporters_do_without_attributes_that_only_newer_ones_have(client: BuildKit) -> None:
    ref = uuid.uuid4().hex
    named = exporter("image", **{"prefer-image-digest": "true", "from-the-future": "1"})
    client.dockerfile("FROM scratch\nLABEL future=1\n", Exporters=[named], Ref=ref)
    told = [warning.short.decode() for response in client.status(ref) for warning in response.warnings]
    assert [text for text in told if "from-the-future" in text]
    assert not [text for text in told if "prefer-image-digest" in text]


def test_archives_travel_to_the_client(client: BuildKit) -> None:
    session = Session({"context": {"a.txt": "one"}})
    client.dockerfile(
        "FROM scratch\nCOPY a.txt /\n", session, Exporters=[exporter("oci"), exporter("tar"), exporter("docker")]
    )
    names = {number: members(data) for number, data in session.outputs.items()}
    assert "oci-layout" in names["0"]
    assert names["1"] == ["a.txt"]
    assert "manifest.json" in names["2"]


def test_the_client_may_choose_its_outputs_when_all_is_built(client: BuildKit) -> None:
    seen: list[str] = []

    def choose(metadata: Mapping[str, bytes]) -> list[tuple[str, dict[str, str]]]:
        seen.extend(metadata)
        return [("tar", {}), ("image", {"name": "buildkit-chosen"})]

    session = Session({"context": {"a.txt": "one"}}, chosen=choose)
    client.dockerfile("FROM scratch\nCOPY a.txt /\n", session, Exporters=[exporter("oci")], EnableSessionExporter=True)
    assert "containerimage.config" in seen
    assert members(session.outputs["1"]) == ["a.txt"]
    assert session.finished["image.name"] == "docker.io/library/buildkit-chosen:latest"


def test_the_client_may_judge_sources_for_itself(client: BuildKit) -> None:
    asked: list[str] = []

    def judge(request: policysession_pb2.CheckPolicyRequest) -> policysession_pb2.CheckPolicyResponse:
        name = request.Source.Source.identifier
        asked.append(name)
        action = sourcepolicy_pb2.PolicyAction.DENY if "busybox" in name else sourcepolicy_pb2.PolicyAction.ALLOW
        messages = [policysession_pb2.DenyMessage(message="not this one")]
        decision = policysession_pb2.DecisionResponse(action=action, denyMessages=messages)
        return policysession_pb2.CheckPolicyResponse(decision=decision)

    session = Session(judged=judge)
    with pytest.raises(FailedError, match="not this one") as failure:
        client.dockerfile("FROM busybox\n", session, SourcePolicySession=session.id)
    assert any("busybox" in name for name in asked)
    assert "policysession.DecisionResponse" in failure.value.kinds


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"CompatibilityVersion": 99}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"ProxyNetwork": True}, grpc.StatusCode.UNIMPLEMENTED),
        ({"Exporters": [exporter("nonsense")]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"Entitlements": ["security.insecure"]}, grpc.StatusCode.PERMISSION_DENIED),
        ({"FrontendAttrs": {"attest:sbom": ""}}, grpc.StatusCode.UNIMPLEMENTED),
        ({"Ref": "../../etc"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"Ref": ""}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    client: BuildKit, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    with pytest.raises(FailedError) as failure:
        client.dockerfile("FROM scratch\n", **fields)
    assert failure.value.code is code


def test_one_ref_is_one_build(client: BuildKit) -> None:
    with client.gateway() as build, pytest.raises(FailedError) as failure:
        client.status(build.ref)
        client.call("/moby.buildkit.v1.frontend.LLBBridge/Ping", PingRequest(), PongResponse, metadata=build.metadata)
        client.dockerfile("FROM scratch\n", Ref=build.ref)
    assert failure.value.code is grpc.StatusCode.ALREADY_EXISTS


def test_a_build_that_is_cancelled_here_is_told_so(client: BuildKit, yard: Yard) -> None:
    ref = uuid.uuid4().hex
    solving = client.submit(client.dockerfile, f"FROM busybox\nRUN echo up; sleep 1000 # {ref}\n", Ref=ref)
    for message in client.status(ref):
        if "up" in logs([message]):
            break
    yard.run("builder", "cancel", ref)
    with pytest.raises(FailedError) as failure:
        solving.result(30)
    assert failure.value.code is grpc.StatusCode.CANCELLED


def test_clients_that_go_leave_no_descriptors(own_yard: Yard) -> None:
    own_yard.run("bootstrap", "busybox")
    assert own_yard.daemon is not None
    pid = own_yard.daemon.pid

    def leave() -> None:
        ref = uuid.uuid4().hex
        with connected(own_yard) as client:
            session = Session({"context": {"a": "b"}})
            client.submit(client.dockerfile, "FROM busybox\nCOPY a /\nRUN echo up; sleep 1000\n", session, Ref=ref)
            for message in client.status(ref):
                if "up" in logs([message]):
                    return

    with connected(own_yard) as client:
        client.dockerfile("FROM busybox\nRUN true\n")  # what is opened once is open
    before = descriptors(pid)
    for _ in range(8):
        leave()
    deadline = time.monotonic() + 60
    while (held := descriptors(pid)) > before + 3:
        assert time.monotonic() < deadline, f"{held} descriptors are open, {before} were"
        time.sleep(0.1)


def test_a_daemon_that_stops_ends_builds_and_all_who_listen(own_yard: Yard) -> None:
    own_yard.run("bootstrap", "busybox")
    ref = uuid.uuid4().hex
    with connected(own_yard) as client:
        request = control.BuildHistoryRequest()
        listening = client.stream(f"{CONTROL}ListenBuildHistory", request, control.BuildHistoryEvent)
        solving = client.submit(client.dockerfile, "FROM busybox\nRUN echo up; sleep 1000\n", Ref=ref)
        assert next(listening).record.Ref == ref
        for message in client.status(ref):
            if "up" in logs([message]):
                break
        assert own_yard.stop() == 0
        with pytest.raises(FailedError) as failure:
            solving.result(30)
        assert failure.value.code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_a_build_is_followed_while_it_runs_and_replayed_later(client: BuildKit) -> None:
    ref = uuid.uuid4().hex
    following = client.submit(lambda: list(client.status(ref)))
    client.dockerfile(f"FROM busybox\nRUN echo said-{ref}\n", Ref=ref)
    for told in (following.result(30), list(client.status(ref))):
        assert f"said-{ref}\n" in logs(told)
        step = vertices(told)[f"[2/2] RUN echo said-{ref}"]
        assert step.HasField("completed") and not step.error
        assert "[internal] load build definition from Dockerfile" in vertices(told)


def test_a_reader_that_does_not_read_costs_the_daemon_nothing_and_misses_nothing(own_yard: Yard) -> None:
    own_yard.run("bootstrap", "busybox")
    assert own_yard.daemon is not None
    ref = uuid.uuid4().hex
    # Output of one step is bounded, so there are many.
    loop = "for (i = 1; i <= 10000; i++)"
    steps = "".join(f"RUN awk 'BEGIN {{ {loop} print {n}, i, \"{'x' * 90}\" }}'\n" for n in range(24))
    with connected(own_yard) as client:
        client.dockerfile("FROM busybox\nRUN echo warm\n")
        method = client._channel.unary_stream(
            f"{CONTROL}Status", control.StatusRequest.SerializeToString, control.StatusResponse.FromString
        )
        before = resident(own_yard.daemon.pid)
        reader = method(control.StatusRequest(Ref=ref), timeout=PATIENCE)
        client.dockerfile(f"FROM busybox\n{steps}", Ref=ref)
        assert resident(own_yard.daemon.pid) - before < 60 << 20
        told = logs(list(reader)).splitlines()
    for number in range(24):
        lines = [line for line in told if line.startswith(f"{number} ")]
        assert [line.split()[1] for line in lines] == [str(count) for count in range(1, 10001)]


def test_nothing_is_told_of_a_build_that_never_was(client: BuildKit) -> None:
    with pytest.raises(FailedError) as failure:
        list(client.status("never"))
    assert (failure.value.code, failure.value.message) == (grpc.StatusCode.NOT_FOUND, "no such job never")


def test_a_step_that_fails_is_shown_in_its_dockerfile(client: BuildKit) -> None:
    with pytest.raises(FailedError) as failure:
        client.dockerfile("FROM busybox\nRUN echo loud; exit 3\n")
    found = failure.value
    assert found.code is grpc.StatusCode.UNKNOWN
    assert found.message == 'process "/bin/sh -c echo loud; exit 3" did not complete successfully: exit code: 3'
    assert found.kinds[:4] == ["errdefs.Frontend", "gatewayapi.ExitMessage", "errdefs.Vertex", "errdefs.Source"]
    assert json.loads(found.detail("gatewayapi.ExitMessage")) == {"Code": 3}
    source = json.loads(found.detail("errdefs.Source"))
    assert source["info"]["filename"] == "Dockerfile"
    assert source["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]


def test_a_client_that_goes_takes_its_build_along(yard: Yard) -> None:
    ref = uuid.uuid4().hex
    with connected(yard) as client:
        following = client.status(ref)
        solving = client.submit(client.dockerfile, f"FROM busybox\nRUN echo up; sleep 1000 # {ref}\n", Ref=ref)
        while "up" not in logs([next(following)]):
            pass
        client._channel.close()
        with pytest.raises(Exception, match=r"CANCELLED|closed channel"):
            solving.result(30)
    with connected(yard) as client:
        told = list(client.status(ref))  # to its end
        step = vertices(told)[f"[2/2] RUN echo up; sleep 1000 # {ref}"]
        assert step.error == "canceled"
