"""Questions about a Dockerfile: outline, targets, lint, graph; and the findings of a normal build."""

from __future__ import annotations

import json
from base64 import b64decode
from textwrap import dedent
from typing import Any

import pytest

from boatyard.errors import DockerfileError, NotFoundError, UnsupportedError
from boatyard.progress import Range
from unit.build.frontend.dockerfile.converting import converted, run_build, yard


def ask(name: str, dockerfile: str, missing: frozenset[str] = frozenset(), /, **options: str) -> tuple[Any, str, str]:
    """The document, the text, the status."""
    bridge = yard(dockerfile, missing=missing)
    metadata = run_build(bridge, requestid=f"frontend.{name}", **options).metadata
    assert not bridge.warnings
    return (
        json.loads(metadata["result.json"]),
        metadata.get("result.txt", b"").decode(),
        metadata.get("result.statuscode", b"").decode(),
    )


def line(number: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": number}, "end": {"line": number}}]}


SAMPLE = """\
    # VERSION of the compiler
    ARG VERSION=1.22
    ARG UNUSED=x
    # build makes the program
    FROM golang:${VERSION} AS build
    # FLAGS for the compiler
    ARG FLAGS="-v"
    RUN --mount=type=secret,id=token,required --mount=type=ssh go build $FLAGS
    FROM scratch
    COPY --from=build /out /out
    """


def test_an_outline() -> None:
    document, text, _ = ask("outline", SAMPLE)
    assert document["args"] == [
        {"name": "VERSION", "description": "of the compiler", "value": "1.22", "location": line(2)},
        {"name": "FLAGS", "description": "for the compiler", "value": "-v", "location": line(7)},
    ]
    assert document["secrets"] == [{"name": "token", "required": True, "location": line(8)}]
    assert document["ssh"] == [{"name": "default", "location": line(8)}]
    assert b64decode(document["sources"][0]).decode() == dedent(SAMPLE)
    assert text == (
        "BUILD ARG   VALUE   DESCRIPTION\n"
        "VERSION     1.22    of the compiler\n"
        "FLAGS       -v      for the compiler\n\n"
        "SECRET   REQUIRED\ntoken    true\n\nSSH       REQUIRED\ndefault   \n\n"
    )


def test_an_outline_of_a_target() -> None:
    document, text, _ = ask("outline", SAMPLE, target="build")
    assert (document["name"], document["description"]) == ("build", "makes the program")
    assert text.startswith("TARGET:      build\nDESCRIPTION: makes the program\n\n")


def test_arguments_that_give_others_their_value_are_used() -> None:
    document, _, _ = ask("outline", "ARG A=1\nARG B=$A\nARG C=2\nFROM golang:$B\n")
    assert [item["name"] for item in document["args"]] == ["A", "B"]


def test_build_arguments_show_in_the_outline() -> None:
    document, _, _ = ask("outline", SAMPLE, **{"build-arg:FLAGS": "-x"})
    assert document["args"][1]["value"] == "-x"


def test_targets() -> None:
    document, text, _ = ask("targets", SAMPLE)
    assert document["targets"] == [
        {"name": "build", "description": "makes the program", "base": "golang:${VERSION}", "location": line(5)},
        {"default": True, "base": "scratch", "location": line(9)},
    ]
    assert text == "TARGET    DESCRIPTION\nbuild     makes the program\n(default) \n"


def test_targets_need_no_images() -> None:
    assert ask("targets", "FROM gone\n", frozenset({"docker.io/library/gone:latest"}))[0]["targets"]


def test_a_clean_file_passes_the_check() -> None:
    document, text, status = ask("lint", "FROM busybox\nRUN x\n")
    assert (document.get("warnings"), text, status) == (None, "", "0")


def test_findings_of_the_check() -> None:
    document, text, status = ask("lint", "FROM busybox\nrun a\nRUN b\nRUN $x\nCMD c\n")
    assert [(item["ruleName"], item["location"]) for item in document["warnings"]] == [
        ("ConsistentInstructionCasing", line(2)),
        ("JSONArgsRecommended", line(5)),
    ]
    assert document["sources"][0]["filename"] == "Dockerfile"
    assert document["sources"][0]["language"] == "Dockerfile"
    assert status == "1"
    assert text.startswith(
        "\nWARNING: ConsistentInstructionCasing - https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/\n"
    )
    assert "Dockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> run a\n" in text


def test_the_check_looks_at_all_stages_unless_a_target_is_named() -> None:
    dockerfile = "FROM busybox AS a\nENV X=$Y\nFROM busybox AS b\nENV X=$Z\n"
    assert len(ask("lint", dockerfile)[0]["warnings"]) == 2
    assert len(ask("lint", dockerfile, target="a")[0]["warnings"]) == 1


@pytest.mark.parametrize(
    ("dockerfile", "message", "number"),
    [("FROM busybox\nRNU x\n", "RNU", 2), ("FROM busybox\nCOPY --from=9 a b\n", "no stage number 9", 2)],
)
def test_what_would_fail_the_build_is_in_the_answer(dockerfile: str, message: str, number: int) -> None:
    document, _, status = ask("lint", dockerfile)
    assert message in document["buildError"]["message"]
    assert document["buildError"]["location"] == line(number)
    assert status == "1"


def test_a_missing_image_does_not_stop_the_check() -> None:
    document, _, status = ask("lint", "FROM gone\nENV A=$B\n", frozenset({"docker.io/library/gone:latest"}))
    assert [item["ruleName"] for item in document["warnings"]] == ["UndefinedVar"]
    assert "gone" in document["buildError"]["message"]
    assert status == "1"


def test_the_graph() -> None:
    document, _, _ = ask("convertllb", "FROM busybox\nRUN x\n")
    names = [entry["description"]["llb.customname"] for entry in document["metadata"].values()]
    assert "[2/2] RUN x" in names
    (run,) = [op for op in document["def"].values() if "exec" in op]
    assert run["exec"]["meta"]["args"] == ["/bin/sh", "-c", "x"]
    assert document["source"]["infos"][0]["filename"] == "Dockerfile"


def test_what_can_be_asked() -> None:
    bridge = yard("nonsense")
    metadata = run_build(bridge, requestid="frontend.subrequests.describe").metadata
    names = [item["name"] for item in json.loads(metadata["result.json"])]
    assert {"frontend.outline", "frontend.targets", "frontend.lint", "frontend.convertllb"} < set(names)
    assert metadata["result.txt"].decode().startswith("NAME                 VERSION DESCRIPTION\noutline ")
    assert metadata["version"] == b"1.0.0"


def test_an_unknown_question() -> None:
    with pytest.raises(UnsupportedError, match=r"frontend\.fortune"):
        converted("FROM busybox\n", requestid="frontend.fortune")


@pytest.mark.parametrize("name", ["outline", "convertllb"])
def test_questions_fail_as_the_build_would(name: str) -> None:
    with pytest.raises(NotFoundError):
        ask(name, "FROM busybox\n", target="nothing")


# -- findings of a build ---------------------------------------------------------------------------------------------


def test_findings_are_told_with_rule_file_and_lines() -> None:
    bridge = converted("FROM busybox\n\nENV A=$B \\\n  C=1\n").bridge
    (warning,) = bridge.warnings
    assert (warning.code, warning.filename, warning.range) == ("UndefinedVar", "Dockerfile", Range(3, 4))
    assert warning.url.endswith("/undefined-var/")
    assert warning.vertex == bridge.solved[0].digest


def test_findings_are_told_once_for_several_platforms() -> None:
    assert len(converted("FROM busybox\nENV A=$B\n", platform="linux/amd64,linux/arm64").bridge.warnings) == 1


def test_findings_are_told_when_the_build_fails() -> None:
    bridge = yard("FROM busybox\nENV A=$B\nCOPY --chmod=99 a b\n")
    with pytest.raises(DockerfileError):
        run_build(bridge)
    assert len(bridge.warnings) == 1


def test_findings_can_be_errors() -> None:
    with pytest.raises(DockerfileError, match="UndefinedVar") as raised:
        converted("# check=error=true\nFROM busybox\nENV A=$B\n")
    assert raised.value.source is not None
    assert raised.value.source.start == 3


def test_the_request_may_replace_the_files_check_options() -> None:
    options = {"build-arg:BUILDKIT_DOCKERFILE_CHECK": "skip=UndefinedVar"}
    assert not converted("# check=error=true\nFROM busybox\nENV A=$B\n", **options).bridge.warnings


RULES = {
    "FROM --platform=$TARGETPLATFORM busybox\n": "RedundantTargetPlatform",
    "FROM --platform=linux/arm64 busybox\n": "FromPlatformFlagConstDisallowed",
    "ARG TAG\nFROM busybox:${TAG}\n": "InvalidDefaultArgInFrom",
    "FROM busybox${TGA}\n": "UndefinedArgInFrom",
    "FROM busybox\nWORKDIR rel\n": "WorkdirRelativePath",
    "FROM busybox\nEXPOSE 80/TCP\n": "ExposeProtoCasing",
    "FROM busybox\nEXPOSE 80:80\n": "ExposeInvalidFormat",
    "FROM busybox\nENTRYPOINT x\n": "JSONArgsRecommended",
    'FROM busybox\nCMD ["a"]\nCMD ["b"]\n': "MultipleInstructionsDisallowed",
    "FROM busybox\nENV A b\n": "LegacyKeyValueFormat",
    "FROM busybox\nARG API_TOKEN\n": "SecretsUsedInArgOrEnv",
    "FROM busybox\nCOPY ignored /x\n": "CopyIgnoredFile",
    "FROM busybox\nRUN --mount=type=cache,target=/c$C x\n": "UndefinedVar",
}


@pytest.mark.parametrize(("dockerfile", "rule"), RULES.items(), ids=RULES.values())
def test_rules_that_need_the_conversion(dockerfile: str, rule: str) -> None:
    options = {"build-arg:TAG": "1"} if "ARG TAG" in dockerfile else {}
    bridge = converted(dockerfile, {".dockerignore": b"ignored\n"}, **options).bridge
    assert [warning.code for warning in bridge.warnings] == [rule]


def test_the_name_of_a_stage_is_no_bad_default() -> None:
    dockerfile = "ARG WHICH=Build\nFROM busybox AS build\nFROM Build AS one\nFROM ${WHICH}\n"
    assert not converted(dockerfile).bridge.warnings


def test_a_build_argument_that_no_instruction_declares_is_remarked_on() -> None:
    dockerfile = "ARG VERSION\nFROM busybox AS unused\nARG OTHER\nFROM busybox\n"
    options = {f"build-arg:{name}": "1" for name in ("VERSON", "OTHER", "TARGETOSVERSION", "HTTP_PROXY", "BUILDKIT_X")}
    (warning,) = converted(dockerfile, **options).bridge.warnings
    assert warning.code == "UnusedBuildArg"
    assert "'VERSON'" in warning.short
    assert "did you mean VERSION?" in warning.short


def test_a_build_argument_that_a_trigger_declares_is_used() -> None:
    base = {"docker.io/library/busybox:latest": {"config": {"OnBuild": ["ARG LATER"]}}}
    bridge = yard("FROM busybox\n", images=base)
    run_build(bridge, **{"build-arg:LATER": "1"})
    assert not bridge.warnings


def test_a_base_image_of_another_platform_is_remarked_on() -> None:
    bridge = yard("FROM busybox\n", images={"docker.io/library/busybox:latest": {"architecture": "arm64"}})
    run_build(bridge)
    assert [warning.code for warning in bridge.warnings] == ["InvalidBaseImagePlatform"]


def test_a_relative_directory_is_fine_once_a_stage_below_set_one() -> None:
    dockerfile = "FROM busybox AS a\nWORKDIR /x\nFROM a AS b\nWORKDIR y\nFROM b\nWORKDIR z\n"
    assert not converted(dockerfile).bridge.warnings


def test_what_another_stage_takes_from_a_stage_is_not_looked_up_in_the_ignore_file() -> None:
    dockerfile = "FROM busybox AS a\nFROM busybox\nCOPY --from=a ignored /x\n"
    assert not converted(dockerfile, {".dockerignore": b"ignored\n"}).bridge.warnings


def test_a_rule_can_be_skipped_right_above_an_instruction() -> None:
    dockerfile = "FROM busybox\n# check=skip=UndefinedVar\nENV A=$B\nENV C=$D\n"
    assert [warning.range for warning in converted(dockerfile).bridge.warnings] == [Range(4, 4)]
