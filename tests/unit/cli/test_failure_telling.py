from __future__ import annotations

import pytest

from boatyard.cli import exits
from boatyard.cli.failure import excerpt, explain, lines
from boatyard.cli.render.lines import LogTail
from boatyard.cli.style import Style, colour_wanted
from boatyard.errors import (
    BoatyardError,
    CancelledBuildError,
    ConflictError,
    DockerfileError,
    InvalidError,
    SolveError,
    SourceExcerpt,
    UnavailableError,
)

PLAIN = Style(False)
LONG = "x" * 60
DOCKERFILE = "\n".join(f"RUN line {number}" for number in range(1, 101))


def test_a_failed_step_is_told_with_its_output_its_place_the_reason_and_a_way_on() -> None:
    log = LogTail()
    log.feed("".join(f"output {number}\n" for number in range(30)))
    source = SourceExcerpt("Dockerfile", "FROM base\nRUN make\nCOPY . .\n", 2, 2)
    error = SolveError(
        'process "make" failed', vertex="v", vertex_name="[2/3] RUN make", source=source, hint="look at it"
    )
    error.__cause__ = BoatyardError("exit code 2")
    told = list(lines(error, PLAIN, log=log, step="[2/3] RUN make"))
    assert told[:4] == [
        "",
        "> [2/3] RUN make:",
        "  … 10 earlier lines not shown (`boat builder logs` has all)",
        "  | output 10",
    ]
    assert told[22:] == [
        "  | output 29",
        "Dockerfile:2",
        "   1 |     FROM base",
        "   2 | >>> RUN make",
        "   3 |     COPY . .",
        "error: a step failed: [2/3] RUN make",
        '  why: process "make" failed: exit code 2',
        "  fix: look at it",
    ]


@pytest.mark.parametrize(
    ("message", "what", "why"),
    [
        ("can't write x: disk full", "can't write x: disk full", ""),
        (f"can't write {LONG}: disk full", f"can't write {LONG}", "disk full"),
        (f'process "a: b {LONG}" failed: exit code: 1', f'process "a: b {LONG}" failed', "exit code: 1"),
        ("nothing more", "nothing more", ""),
        ("image debian:latest is unknown", "image debian:latest is unknown", ""),
        ("can't read `a: b`", "can't read `a: b`", ""),
        (f"it isn't there, {LONG}: really", f"it isn't there, {LONG}", "really"),
        ("it said:\n  two\n  lines", "it said", ""),
    ],
)
def test_what_and_why_are_told_apart(message: str, what: str, why: str) -> None:
    assert explain(BoatyardError(message)) == (what, why)


def test_the_reason_is_the_chain_of_causes() -> None:
    error = BoatyardError("top")
    error.__cause__ = BoatyardError("middle")
    error.__cause__.__cause__ = BoatyardError("bottom")
    assert explain(error) == ("top", "middle: bottom")


def test_a_cause_that_the_message_has_already_is_not_repeated() -> None:
    error = BoatyardError("can't connect: refused")
    error.__cause__ = BoatyardError("refused")
    assert explain(error) == ("can't connect: refused", "")


def test_what_the_system_said_is_left_to_the_message() -> None:
    error = BoatyardError("x does not exist")
    error.__cause__ = FileNotFoundError(2, "No such file or directory")
    assert explain(error) == ("x does not exist", "")


def test_the_name_of_a_step_is_told_apart_from_the_reason() -> None:
    error = SolveError("[2/2] RUN false: exit code 1", vertex="v", vertex_name="[2/2] RUN false")
    error.__cause__ = BoatyardError("exit code 1")
    assert explain(error) == ("a step failed: [2/2] RUN false", "exit code 1")


def test_what_others_said_keeps_its_lines() -> None:
    told = list(lines(BoatyardError("it ended. It said:\n  one: two\n  three", hint="look"), PLAIN))
    assert told == ["error: it ended. It said", "  |   one: two", "  |   three", "  fix: look"]


def test_an_excerpt_of_many_lines_says_how_many_it_leaves_out() -> None:
    shown = list(excerpt(SourceExcerpt("Dockerfile", DOCKERFILE, 10, 90), PLAIN))
    assert shown[0] == "Dockerfile:10"
    assert "   8 |     RUN line 8" in shown
    assert "   … | … 61 lines …" in shown
    assert shown[-1] == "  92 |     RUN line 92"
    numbers = {line.split("|")[0].strip() for line in shown[1:]}
    assert {str(n) for n in range(28, 89)} & numbers == set()
    assert len(shown) < 30


@pytest.mark.parametrize(("start", "end"), [(0, 0), (200, 300), (100, 1), (-5, 2)])
def test_an_excerpt_whose_place_is_off_still_shows_something(start: int, end: int) -> None:
    assert len(list(excerpt(SourceExcerpt("Dockerfile", DOCKERFILE, start, end), PLAIN))) > 1


def test_an_empty_source_has_an_excerpt_without_lines() -> None:
    assert list(excerpt(SourceExcerpt("Dockerfile", "", 1, 1), PLAIN)) == ["Dockerfile:1"]


def test_a_place_within_a_line_is_underlined_as_the_line_is_shown() -> None:
    source = SourceExcerpt("docker-bake.hcl", 'a = "é\U0001f600"\n\ttags = [uper("x")]\n', 2, 2, (10, 14))
    assert list(excerpt(source, PLAIN)) == [
        "docker-bake.hcl:2:10",
        '   1 |     a = "é\U0001f600"',
        '   2 | >>>         tags = [uper("x")]',
        "                           ^^^^",
    ]


def test_escape_sequences_of_a_dockerfile_do_not_reach_the_terminal() -> None:
    source = SourceExcerpt("Dockerfile", "RUN \x1b[2Jx", 1, 1)
    assert "\x1b" not in "".join(lines(DockerfileError("bad \x1b[2J", source=source), PLAIN))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DockerfileError("x"), 1),
        (InvalidError("x"), 2),
        (ConflictError("x"), 4),
        (UnavailableError("x"), 9),
        (CancelledBuildError("x"), 130),
        (BoatyardError("x"), 1),
        (KeyboardInterrupt(), 130),
        (PermissionError("x"), 1),
        (ValueError("x"), 70),
    ],
)
def test_each_class_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exits.code_of(error) == code


def test_every_class_of_error_is_in_the_table() -> None:
    listed = {kind for kind, _, _ in exits.CODES}
    assert {kind for kind in BoatyardError.__subclasses__() if kind.__module__ == "boatyard.errors"} == listed


@pytest.mark.parametrize(
    ("environment", "terminal", "wanted"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colours_are_for_those_who_want_them(environment: dict[str, str], terminal: bool, wanted: bool) -> None:
    assert colour_wanted(environment, terminal=terminal) is wanted
