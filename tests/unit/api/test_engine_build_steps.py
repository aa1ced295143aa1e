"""Builds that run side by side, told as if their steps had followed each other."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

import pytest

from boatyard.api.engine import build_steps
from boatyard.api.engine.build_steps import Steps
from boatyard.build.frontend.base import FrontendRequest, FrontendResult
from boatyard.build.frontend.dockerfile import frontend
from boatyard.build.frontend.dockerfile.changes import NAME, TextBridge
from boatyard.build.llb.graph import Vertex
from boatyard.errors import ExitError, SolveError
from boatyard.progress import Event, LogEvent, Range, VertexEvent, WarningEvent

TWO_BRANCHES = """
    ARG X=1
    FROM scratch AS one
    RUN one
    FROM scratch AS unused
    RUN never
    FROM scratch
    ENV A=b
    RUN two
    COPY --from=one /a /a
    CMD ["x"]
"""


async def planned(dockerfile: str) -> tuple[Steps, FrontendResult]:
    result = await frontend.build(TextBridge(dedent(dockerfile).encode()), FrontendRequest({"filename": NAME}))
    steps = Steps()
    steps.plan(result)
    return steps, result


def vertex(result: FrontendResult, text: str) -> Vertex:
    return next(each for each in build_steps._vertices(result) if each.name.endswith(text))


def done(vertex: Vertex, *, cached: bool = False, error: str = "") -> VertexEvent:
    return VertexEvent(digest=vertex.digest, name=vertex.name, started=1.0, completed=2.0, cached=cached, error=error)


def said(vertex: Vertex, text: str) -> LogEvent:
    return LogEvent(vertex=vertex.digest, stream=1, data=text, time=1.0)


def tell(steps: Steps, *events: Event) -> str:
    return "".join(steps.events(events))


def text(pieces: Iterable[str]) -> list[str]:
    return "".join(pieces).splitlines()


async def test_all_instructions_that_count_are_numbered_in_the_files_order() -> None:
    steps, result = await planned(TWO_BRANCHES)
    shown = tell(steps, *(done(each) for each in build_steps._vertices(result)))
    shown += "".join(steps.finish("sha256:" + "f" * 64))
    lines = [line for line in shown.splitlines() if line.startswith("Step")]
    assert lines == [
        "Step 1/8 : ARG X=1",
        "Step 2/8 : FROM scratch AS one",
        "Step 3/8 : RUN one",
        "Step 4/8 : FROM scratch",
        "Step 5/8 : ENV A=b",
        "Step 6/8 : RUN two",
        "Step 7/8 : COPY --from=one /a /a",
        'Step 8/8 : CMD ["x"]',
    ]
    assert shown.endswith(" ---> ffffffffffff\n")


async def test_a_step_whose_turn_has_not_come_waits_with_what_it_says() -> None:
    steps, result = await planned(TWO_BRANCHES)
    one, two = vertex(result, "RUN one"), vertex(result, "RUN two")
    first = tell(steps, said(two, "from two\n"), said(one, "from one\n"))
    assert "from one" in first and "from two" not in first
    assert "Step 6/8" not in tell(steps, done(two))
    after = tell(steps, done(one))
    assert after.index("Step 6/8 : RUN two") < after.index("from two")


async def test_a_line_that_a_program_left_open_is_ended() -> None:
    steps, result = await planned("FROM scratch\nRUN one\nRUN two\n")
    one = vertex(result, "RUN one")
    assert "no newline\n ---> " in tell(steps, said(one, "no newline"), done(one))


async def test_cached_steps_say_so() -> None:
    steps, result = await planned("FROM scratch\nRUN one\nRUN two\n")
    one, two = vertex(result, "RUN one"), vertex(result, "RUN two")
    shown = tell(steps, done(one, cached=True), done(two)) + "".join(steps.finish("sha256:0"))
    assert shown.count(" ---> Using cache\n") == 1
    assert shown.index("Using cache") < shown.index("RUN two")


async def test_what_ended_before_the_plan_was_known_counts() -> None:
    _, result = await planned("FROM scratch\nRUN one\n")
    steps = Steps()
    assert tell(steps, done(vertex(result, "RUN one"), cached=True)) == ""
    steps.plan(result)
    assert "Using cache" in "".join(steps.finish("sha256:0"))


async def test_a_failure_is_told_with_its_output_and_exit_code_whoevers_turn_it_is() -> None:
    steps, result = await planned(TWO_BRANCHES)
    two = vertex(result, "RUN two")
    shown = tell(steps, said(two, "what went wrong"), done(two, error="failed"))
    assert "what went wrong" not in shown
    error = SolveError("failed", vertex=two.digest, vertex_name=two.name)
    error.__cause__ = ExitError("exit", exit_code=3)
    lines = text(steps.fail(error))
    assert lines == ["Step 6/8 : RUN two", "what went wrong"]
    assert steps.told(error) == ("The command '/bin/sh -c two' returned a non-zero code: 3", 3)
    assert steps.told(ValueError()) == ("", 0)


async def test_remarks_come_at_the_end() -> None:
    steps, result = await planned("FROM scratch\nRUN one\n")
    warning = WarningEvent(short="a remark", filename="Dockerfile", range=Range(2, 3))
    assert "a remark" not in tell(steps, warning, done(vertex(result, "RUN one")))
    assert text(steps.finish("sha256:0"))[-1] == "[Warning] Dockerfile:2: a remark"


async def test_of_output_that_waits_too_long_the_beginning_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_steps, "MOST_KEPT", 100)
    steps, result = await planned(TWO_BRANCHES)
    one, two = vertex(result, "RUN one"), vertex(result, "RUN two")
    tell(steps, *(said(two, f"line {number}\n") for number in range(100)), done(two))
    lines = text(steps.events([done(one)]))
    assert "[the beginning of this step's output is left out]" in lines
    assert "line 99" in lines and "line 0" not in lines


async def test_of_all_that_waits_the_last_loses_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_steps, "MOST_IN_ALL", 100)
    steps, result = await planned("FROM scratch AS a\nRUN one\nFROM scratch AS b\nRUN two\nFROM scratch\nRUN three\n"
                                  "COPY --from=a /x /\nCOPY --from=b /y /\n")  # fmt: skip
    one, two, three = (vertex(result, f"RUN {name}") for name in ("one", "two", "three"))
    tell(steps, *(said(each, f"{each.name[-3:]} {number}\n") for number in range(10) for each in (two, three)))
    shown = tell(steps, done(one), done(two), done(three))
    assert "two 9" in shown and "two 0" in shown
    assert "ree 0" not in shown and "[the beginning of this step's output is left out]" in shown
