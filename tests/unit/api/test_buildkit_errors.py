from __future__ import annotations

import json

import pytest
from grpclib.const import Status as Code

from boatyard._pb.status_pb2 import Status
from boatyard._pb.wellknown import Any
from boatyard.api.buildkit import details, errors
from boatyard.build.recording import BuildRecord, FailurePlace
from boatyard.errors import (
    BoatyardError,
    CancelledBuildError,
    ConflictError,
    DeniedError,
    ExitError,
    FrontendError,
    IntegrityError,
    InvalidError,
    MissingCapabilityError,
    NotFoundError,
    SolveError,
    SourceExcerpt,
    StorageError,
    UnavailableError,
    UnknownQuestionError,
    UnsupportedError,
)

EXCERPT = SourceExcerpt("Dockerfile", "FROM x\nRUN y\n", 2, 2)


def kinds(status: Status) -> list[str]:
    """Of BuildKit's details."""
    return [
        detail.type_url.removeprefix("github.com/moby/buildkit/").removesuffix("+json")
        for detail in status.details
        if detail.type_url.startswith("github.com/moby/buildkit/")
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidError("x"), Code.INVALID_ARGUMENT),
        (NotFoundError("x"), Code.NOT_FOUND),
        (ConflictError("x"), Code.ALREADY_EXISTS),
        (DeniedError("x"), Code.PERMISSION_DENIED),
        (UnsupportedError("x"), Code.UNIMPLEMENTED),
        (IntegrityError("x"), Code.DATA_LOSS),
        (StorageError("x"), Code.RESOURCE_EXHAUSTED),
        (UnavailableError("x"), Code.UNAVAILABLE),
        (CancelledBuildError("x"), Code.CANCELLED),
        (SolveError("x", vertex="sha256:0", vertex_name=""), Code.UNKNOWN),
        (BoatyardError("x"), Code.UNKNOWN),
        (ValueError("x"), Code.UNKNOWN),
    ],
)
def test_each_kind_of_error_has_its_code(error: Exception, code: Code) -> None:
    assert errors.code_of(error) is code
    translated = errors.translate(error)
    assert (translated is None) == isinstance(error, ValueError)
    assert translated is None or translated.status is code


def failed_step() -> SolveError:
    error = SolveError("[1/2] RUN y: process failed", vertex="sha256:12", vertex_name="[1/2] RUN y", source=EXCERPT)
    error.__cause__ = ExitError("process failed", exit_code=3, hint="look at its log")
    return error


def test_a_failed_step_is_told_with_its_place_and_exit_code() -> None:
    status = errors.status_of(failed_step(), [details.frontend("dockerfile.v0")])
    assert status.message == "process failed\n(look at its log)"
    assert kinds(status) == ["errdefs.Frontend", "gatewayapi.ExitMessage", "errdefs.Vertex", "errdefs.Source"]
    documents = {kind: details.of_kind(status.details, kind)[0] for kind in kinds(status)}
    assert documents["errdefs.Frontend"] == {"name": "dockerfile.v0"}
    assert documents["gatewayapi.ExitMessage"] == {"Code": 3}
    assert documents["errdefs.Vertex"] == {"digest": "sha256:12"}
    assert documents["errdefs.Source"]["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]
    assert details.excerpt(status.details) == EXCERPT


def test_what_a_frontend_can_not_is_told_by_name() -> None:
    status = errors.status_of(MissingCapabilityError("no", name="moby.buildkit.frontend.x"))
    assert kinds(status) == ["errdefs.FrontendCap"]
    assert json.loads(status.details[0].value) == {"name": "moby.buildkit.frontend.x"}
    assert kinds(errors.status_of(UnknownQuestionError("no", name="frontend.x"))) == ["errdefs.Subrequest"]


def test_a_frontends_own_words_pass_as_they_are() -> None:
    told = Status(code=9, message="because", details=[details.vertex("sha256:12"), details.source(EXCERPT)])
    error = errors.restore(told)
    assert (error.message, error.vertex, error.source) == ("because", "sha256:12", EXCERPT)
    again = errors.status_of(error, [details.frontend("gateway.v0", "image")])
    assert (again.code, again.message) == (9, "because")
    assert kinds(again) == ["errdefs.Frontend", "errdefs.Vertex", "errdefs.Source"]


@pytest.mark.parametrize("status", [Status(), Status(code=0, message="ok?"), Status(code=999, message="x")])
def test_a_frontend_may_say_anything(status: Status) -> None:
    error = errors.restore(status)
    assert isinstance(error, FrontendError)
    raised = errors.raised(errors.status_of(error))
    assert raised.status is Code.UNKNOWN


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"\xff", b'{"info": 1}', b'{"info": {"data": "%%"}, "ranges": [{}]}']
)
def test_details_that_are_nonsense_are_left_out(value: bytes) -> None:
    known = [Any(type_url="github.com/moby/buildkit/errdefs.Source+json", value=value)]
    assert details.excerpt(known) is None


def test_an_error_of_the_past_is_told_as_it_was() -> None:
    record = BuildRecord(
        ref="r",
        name="",
        status="failed",
        created=1.0,
        error="[1/2] RUN y: process failed",
        error_reason="process failed",
        error_hint="look at its log",
        error_kind="SolveError",
        error_place=FailurePlace(filename="Dockerfile", start=2, end=2),
        exit_code=3,
        failed_vertex="sha256:12",
        frontend="dockerfile.v0",
    )
    then = errors.status_of(failed_step(), [details.frontend("dockerfile.v0")])
    now = errors.of_record(record, {"Dockerfile": EXCERPT.text}, None)
    assert (now.code, now.message) == (then.code, then.message)
    assert sorted(kinds(now)) == sorted(kinds(then))


def test_a_cancelled_and_an_interrupted_build_of_the_past() -> None:
    cancelled = BuildRecord(ref="r", name="", status="cancelled", created=1.0)
    assert errors.of_record(cancelled, {}, None).code == Code.CANCELLED.value
    assert "context canceled" in errors.of_record(cancelled, {}, None).message
    interrupted = BuildRecord(ref="r", name="", status="interrupted", created=1.0)
    assert errors.of_record(interrupted, {}, None).code != 0
