"""Errors on their way between a frontend and the builder, and back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from boatyard._pb import status_pb2
from boatyard._pb.wellknown import Any
from boatyard.api.buildkit import errors as api
from boatyard.errors import (
    BoatyardError,
    DeniedError,
    ExitError,
    FrontendError,
    NotFoundError,
    SolveError,
    SourceExcerpt,
    UnknownQuestionError,
    UnsupportedError,
)
from boatyard.frontend import SourceFile, defect, problem

FILE = SourceFile("image.yaml", "one\ntwo\nthree\n")


def asked(error: BoatyardError) -> problem.BridgeError:
    """As a frontend meets what the builder raises."""
    return problem.of_call(api.grpc_error(error))


def returned(error: BaseException) -> FrontendError:
    """As the builder meets what a frontend raises."""
    return api.restore(status_pb2.Status.FromString(problem.status_of(error).SerializeToString()))


def test_the_builders_errors_keep_their_class_hint_place_and_reason() -> None:
    failed = SolveError(
        "make: failed", vertex="sha256:1", vertex_name="make", source=SourceExcerpt("Dockerfile", "RUN make\n", 1, 1)
    )
    failed.__cause__ = ExitError("exit code: 2", exit_code=2)
    error = asked(failed)
    reason = error.reason
    assert isinstance(reason, SolveError) and isinstance(reason.__cause__, ExitError)
    assert (reason.vertex, reason.vertex_name, reason.__cause__.exit_code) == ("sha256:1", "make", 2)
    assert reason.source == failed.source
    missing = asked(NotFoundError("no file x", hint="write one"))
    assert missing.missing and str(missing) == "no file x" and missing.hint == "write one"
    assert not asked(DeniedError("no")).missing


def test_what_a_frontend_lets_pass_goes_back_unchanged() -> None:
    error = asked(SolveError("make: failed", vertex="sha256:1", vertex_name="make"))
    assert problem.status_of(error) == error.status
    assert returned(error).vertex == "sha256:1"


def test_a_frontends_own_errors_keep_place_and_hint() -> None:
    raised = returned(FILE.place(2, 3).error("two is wrong", hint="say one"))
    assert (str(raised), raised.hint) == ("two is wrong", "say one")
    assert raised.source == SourceExcerpt("image.yaml", FILE.text, 2, 3)
    assert raised.document
    told = FILE.place(1).error("wrong base", hint="h")
    told.__cause__ = asked(NotFoundError("no image"))
    assert returned(told).source is not None


def test_an_unknown_question_is_told_in_the_form_that_clients_know() -> None:
    status = problem.status_of(problem.unknown_question("frontend.x", ["frontend.lint"]))
    assert status.code == Status.UNIMPLEMENTED.value
    assert any(detail.type_url.endswith("errdefs.Subrequest+json") for detail in status.details)
    assert "frontend.lint" in str(returned(problem.unknown_question("frontend.x", ["frontend.lint"])).hint)
    assert isinstance(problem.unknown_question("x", []), UnknownQuestionError)
    assert problem.status_of(UnsupportedError("no")).code == Status.UNIMPLEMENTED.value


def test_other_builders_tell_places_in_their_own_way() -> None:
    value = b'{"info":{"filename":"Dockerfile","data":"UlVOIGE="},"ranges":[{"start":{"line":1},"end":{"line":1}}]}'
    detail = Any(type_url="github.com/moby/buildkit/errdefs.Source+json", value=value)
    error = problem.of_call(GRPCError(Status.UNKNOWN, "it failed", [detail]))
    assert str(error) == "it failed"
    assert getattr(error.reason, "source", None) == SourceExcerpt("Dockerfile", "RUN a", 1, 1)
    gone = problem.of_call(GRPCError(Status.UNKNOWN, "open /x: no such file or directory"))
    assert gone.missing


@given(st.text(), st.lists(st.tuples(st.sampled_from([problem.ERROR, problem.SOURCE, problem.STACK, ""]), st.binary())))
def test_whatever_another_end_attaches_is_an_error_and_no_more(message: str, attached: list[tuple[str, bytes]]) -> None:
    details = [Any(type_url=url, value=value) for url, value in attached]
    error = problem.of_call(GRPCError(Status.UNKNOWN, message, details))
    assert isinstance(error, problem.BridgeError)
    assert api.restore(problem.status_of(error)).document


def test_a_defect_is_told_with_the_line_that_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import json\n\ndef read():\n    return json.loads('{')\n")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    with pytest.raises(ValueError) as caught:
        namespace["read"]()  # type: ignore[operator]
    told = defect.told(caught.value)
    assert told.source == SourceExcerpt("mine.py", file.read_text(), 4, 4)
    assert "failed in read: json.decoder.JSONDecodeError" in str(told)
    trace = defect.trace(caught.value)
    assert str(file) in trace
    assert returned(caught.value).source == told.source
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:\n")
    with pytest.raises(SyntaxError) as syntax:
        compile(broken.read_text(), str(broken), "exec")
    told = defect.told(syntax.value)
    assert told.source is not None and told.source.filename == "broken.py" and "can't be read" in str(told)


def test_a_defect_without_a_file_is_told_all_the_same() -> None:
    assert str(defect.told(KeyError("x"))) == "the frontend failed: KeyError: 'x'"
    assert "KeyError" in defect.trace(KeyError("x"))
    try:
        exec(compile("1 / 0", os.path.join("/nonexistent", "gone.py"), "exec"))
    except ZeroDivisionError as error:
        assert defect.told(error).source is None or "gone.py" not in defect.told(error).source.filename  # type: ignore[union-attr]
