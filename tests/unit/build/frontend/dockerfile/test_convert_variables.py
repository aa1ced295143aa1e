"""ARG and ENV: scopes, defaults, predefined arguments."""

from __future__ import annotations

import pytest

from boatyard.errors import DockerfileError
from unit.build.frontend.dockerfile.converting import converted, env_of


def env(dockerfile: str, **options: str) -> dict[str, str]:
    result = converted(dockerfile, **options)
    values = env_of(result.execs()[-1])
    del values["PATH"]
    return values


@pytest.mark.parametrize(
    ("lines", "given", "expected"),
    [
        ("ARG A", {}, {}),
        ("ARG A", {"A": "x"}, {"A": "x"}),
        ("ARG A=1", {}, {"A": "1"}),
        ("ARG A=1", {"A": "x"}, {"A": "x"}),
        ("ARG A=1", {"A": ""}, {"A": ""}),
        ("ARG A=1\nARG B=$A-${A:-y}", {}, {"A": "1", "B": "1-1"}),
        ("ARG A=1 B=2", {}, {"A": "1", "B": "2"}),
        ("ENV A=1\nARG A", {}, {"A": "1"}),
        ("ENV A=1\nARG A=2", {}, {"A": "2"}),
        ("ARG A=2\nENV A=1", {"A": "x"}, {"A": "1"}),
        ("ARG A=1\nENV B=${A}b A=2", {}, {"A": "2", "B": "1b"}),
        ("ENV A=1\nENV A=2 B=$A", {}, {"A": "2", "B": "1"}),
        ("ENV A=1 B=$A", {}, {"A": "1", "B": ""}),
        ("ARG A=${B:-d}", {}, {"A": "d"}),
        ("ARG A='x y' B=\"$A z\"", {}, {"A": "x y", "B": "x y z"}),
    ],
)
def test_values(lines: str, given: dict[str, str], expected: dict[str, str]) -> None:
    options = {f"build-arg:{name}": value for name, value in given.items()}
    assert env(f"FROM busybox\n{lines}\nRUN x\n", **options) == expected


def test_an_argument_is_not_known_before_its_line() -> None:
    result = converted("FROM busybox\nRUN a\nARG A=1\nRUN b\n")
    assert ["A" in env_of(op) for op in result.execs()] == [False, True]


def test_a_global_argument_is_for_from_unless_it_is_declared_again() -> None:
    dockerfile = "ARG V=1.22 W=2\nFROM golang:${V} AS a\nRUN x\nFROM a\nARG V\nRUN y\n"
    result = converted(dockerfile)
    assert any("golang:1.22@" in name for name in result.sources())
    assert ["V" in env_of(op) for op in result.execs()] == [False, True]
    assert env_of(result.execs()[1])["V"] == "1.22"


def test_global_arguments_see_those_before() -> None:
    result = converted("ARG A=1\nARG B=$A.2\nFROM golang:$B\n", **{"build-arg:A": "3"})
    assert any("golang:3.2@" in name for name in result.sources())


def test_a_stage_default_beats_the_global_value_and_a_build_argument_beats_both() -> None:
    dockerfile = "ARG A=global\nFROM busybox\nARG A=stage\nRUN x\n"
    assert env(dockerfile) == {"A": "stage"}
    assert env(dockerfile, **{"build-arg:A": "given"}) == {"A": "given"}


def test_predefined_arguments_have_to_be_declared() -> None:
    names = "BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT TARGETSTAGE"
    result = env(f"FROM busybox AS last\nARG {names}\nRUN x\n", platform="linux/arm/v7")
    assert result == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "linux",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "TARGETSTAGE": "last",
    }
    assert env("FROM busybox\nRUN x\n") == {}


def test_the_stage_argument_is_default_for_a_stage_without_a_name() -> None:
    assert env("FROM busybox\nARG TARGETSTAGE\nRUN x\n") == {"TARGETSTAGE": "default"}


def test_arguments_for_the_builder_alone_stay_out_of_the_environment() -> None:
    assert env("FROM busybox\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x\n") == {}


@pytest.mark.parametrize(
    ("dockerfile", "message", "line"),
    [
        ("ARG A=${B:?missing}\nFROM busybox\n", "B: missing", 1),
        ('FROM busybox\n\nARG A="${B:?set B}"\n', "B: set B", 3),
        ("ARG BASE\nFROM $BASE\n", "base image of FROM is empty", 2),
        ("ARG BASE=x\nFROM ${BSE}\n", r"did you mean BASE\?", 2),
        ("FROM --platform=$NONE busybox\n", "platform of FROM is empty", 1),
        ("FROM busybox\nENV A=${B!x}\n", "unsupported modifier", 2),
        ("FROM busybox\nUSER 'a\n", "quote is not closed", 2),
    ],
)
def test_mistakes_have_their_place(dockerfile: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=message) as raised:
        converted(dockerfile)
    assert raised.value.source is not None
    assert raised.value.source.start == line


def test_a_required_argument_can_be_given() -> None:
    assert env("ARG A=${B:?missing}\nFROM busybox\nARG A\nRUN x\n", **{"build-arg:A": "1"}) == {"A": "1"}


def test_the_escape_character_of_the_file_holds_in_words() -> None:
    result = converted("# escape=`\nFROM busybox\nENV A=`$B C=c:\\d\nRUN x\n")
    assert env_of(result.execs()[0])["A"] == "$B"
    assert env_of(result.execs()[0])["C"] == "c:\\d"
