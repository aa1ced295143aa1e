"""Builds asked for by a BuildKit client: what it gives, what it is told meanwhile, what it gets."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Iterator

import grpc
import pytest

from boatyard._pb import control_pb2 as control
from e2e.buildkit import BuildKit, FailedError, Session, connected, logs, vertices
from e2e.yard import Yard


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


def test_only_what_has_changed_travels(client: BuildKit) -> None:
    tag = uuid.uuid4().hex  # no other test's directory
    files: dict[str, str | bytes | None] = {"one": tag, "two": tag, "three": tag}
    text = f"FROM scratch\nLABEL tag={tag}\nCOPY . /\n"
    first = Session({"context": files})
    client.dockerfile(text, first)
    assert set(first.sent) >= {"one", "two", "three"}
    second = Session({"context": {**files, "two": "new"}})
    client.dockerfile(text, second)
    assert [path for path in second.sent if path != "Dockerfile"] == ["two"]


def test_archives_travel_to_the_client(client: BuildKit) -> None:
    session = Session({"context": {"a.txt": "one"}})
    client.dockerfile(
        "FROM scratch\nCOPY a.txt /\n", session, Exporters=[exporter("oci"), exporter("tar"), exporter("docker")]
    )
    names = {number: members(data) for number, data in session.outputs.items()}
    assert "oci-layout" in names["0"]
    assert names["1"] == ["a.txt"]
    assert "manifest.json" in names["2"]


def test_a_build_is_followed_while_it_runs_and_replayed_later(client: BuildKit) -> None:
    ref = uuid.uuid4().hex
    following = client.submit(lambda: list(client.status(ref)))
    client.dockerfile(f"FROM busybox\nRUN echo said-{ref}\n", Ref=ref)
    for told in (following.result(30), list(client.status(ref))):
        assert f"said-{ref}\n" in logs(told)
        step = vertices(told)[f"[2/2] RUN echo said-{ref}"]
        assert step.HasField("completed") and not step.error
        assert "[internal] load build definition from Dockerfile" in vertices(told)


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


def test_secrets_come_from_the_session(client: BuildKit) -> None:
    ref = uuid.uuid4().hex
    session = Session(secrets={"token": b"hidden"})
    client.dockerfile(
        f"FROM busybox\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token # {ref}\n", session, Ref=ref
    )
    assert logs(list(client.status(ref))) == "6\n"


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
