"""What can be asked of a Dockerfile without building it, and how remarks and failures read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.project import Project
from e2e.yard import Yard

pytestmark = pytest.mark.runtime

REMARKABLE = """\
# What it is built from.
ARG BASE=busybox
# VERSION is what to build.
ARG VERSION=1
# base where all begins
FROM ${BASE} AS base
from base as Build
ARG VERSION
ARG API_KEY
ENV A=$NOPE
ENV LEGACY value
WORKDIR rel
RUN --mount=type=secret,id=token,required --mount=type=ssh,id=forge true
CMD echo one
CMD ["two"]
COPY ignored /x
# dev for development
FROM Build AS dev
MAINTAINER me
EXPOSE 80/TCP 90:90
"""
RULES = [
    "ConsistentInstructionCasing",
    "CopyIgnoredFile",
    "ExposeInvalidFormat",
    "ExposeProtoCasing",
    "JSONArgsRecommended",
    "LegacyKeyValueFormat",
    "MaintainerDeprecated",
    "MultipleInstructionsDisallowed",
    "SecretsUsedInArgOrEnv",
    "StageNameCasing",
    "UndefinedVar",
    "WorkdirRelativePath",
]


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "asked")


def ask(project: Project, *arguments: str) -> tuple[int, str]:
    done = project.yard.run("build", *arguments, project.directory, check=False)
    return done.returncode, done.stdout


def test_a_check_tells_every_remark_with_its_lines_and_fails(project: Project) -> None:
    project.write({"Dockerfile": REMARKABLE, ".dockerignore": "ignored\n", "ignored": "x"})
    code, text = ask(project, "--check")
    assert code == 1
    assert sorted({line.split()[1] for line in text.splitlines() if line.startswith("WARNING: ")}) == RULES
    assert ">>> ENV A=$NOPE" in text
    assert "Dockerfile:10" in text
    code, text = ask(project, "--call=check,format=json")
    found = json.loads(text)
    assert sorted({warning["ruleName"] for warning in found["warnings"]}) == RULES


def test_a_clean_file_passes_the_check_and_a_broken_one_tells_its_error(project: Project) -> None:
    project.dockerfile("FROM busybox\nRUN true\n")
    code, text = ask(project, "--check")
    assert code == 0
    assert "no warnings" in text.lower()
    project.dockerfile("FROM busybox\nRUNN true\n")
    done = project.yard.run("build", "--check", project.directory, check=False)
    assert done.returncode == 1
    assert "did you mean RUN" in done.stdout + done.stderr
    assert "Dockerfile:2" in done.stdout + done.stderr


def test_remarks_can_be_skipped_or_made_errors(project: Project) -> None:
    rules = ",".join(RULES)
    files = {".dockerignore": "ignored\n", "ignored": "x"}
    project.write({"Dockerfile": f"# check=skip={rules}\n{REMARKABLE}", **files})
    assert ask(project, "--check")[0] == 0
    project.write({"Dockerfile": f"# check=skip=all\n{REMARKABLE}", **files})
    assert ask(project, "--check")[0] == 0
    project.write({"Dockerfile": "# check=error=true\nFROM busybox\nENV A=$NOPE\n"})
    told = project.fails()
    assert "UndefinedVar" in told
    assert "Dockerfile:3" in told
    project.build("--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar")


def test_the_outline_and_the_targets_of_a_file(project: Project) -> None:
    project.write({"Dockerfile": REMARKABLE})
    code, text = ask(project, "--call=outline", "--build-arg", "VERSION=2")
    assert code == 0
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert ["TARGET:", "dev"] in lines
    assert ["VERSION", "2", "is", "what", "to", "build."] in lines
    assert ["token", "true"] in lines
    assert ["forge"] in lines
    outline = json.loads(ask(project, "--call=outline,format=json", "--target", "base")[1])
    assert [argument["name"] for argument in outline["args"]] == ["BASE"]
    code, text = ask(project, "--call=targets")
    lines = [line.split() for line in text.splitlines()]
    assert lines[1:] == [["base", "where", "all", "begins"], ["build"], ["dev", "(default)", "for", "development"]]
    targets = json.loads(ask(project, "--call=targets,format=json")[1])
    assert [target.get("name") for target in targets["targets"]] == ["base", "build", "dev"]


def test_a_build_ends_with_its_remarks_and_their_lines(project: Project) -> None:
    project.dockerfile("FROM busybox\nENV A=$PAHT\nWORKDIR rel\n")
    told = project.build()
    assert "2 warnings" in told
    assert "UndefinedVar: the variable '$PAHT' is used but not defined (did you mean $PATH?) (Dockerfile:2)" in told
    project.dockerfile("FROM busybox\n# check=skip=UndefinedVar\nENV A=$PAHT\n")
    assert "warning" not in project.build()


def test_a_failure_shows_its_last_lines_its_place_and_what_to_do(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        RUN for i in 1 2 3; do echo "line $i"; done && \\
            echo to standard error >&2 && \\
            nosuchcommand
        RUN never
        """)
    told = project.fails()
    tail = told[told.index("> [") :]
    assert [line for line in tail.splitlines() if line.startswith("  | ")] == [
        "  | line 1", "  | line 2", "  | line 3", "  | to standard error", "  | /bin/sh: nosuchcommand: not found",
    ]  # fmt: skip
    assert "Dockerfile:2" in tail
    assert tail.count(">>> ") == 3
    assert "exit code: 127" in tail
    assert "fix: " in tail


def test_a_dockerfile_of_any_name_and_from_standard_input(project: Project, tmp_path: Path) -> None:
    project.write(
        {"f": "x", "docker/other": "FROM scratch\nCOPY f /f\nCOPY missing /\n", "Dockerfile": "FROM nothing\n"}
    )
    told = project.fails("-f", str(project.directory / "docker/other"))
    assert "other:3" in told
    out = tmp_path / "out"
    project.yard.run("build", "-f", "-", "-o", out, project.directory, input=b"FROM scratch\nCOPY f /stdin\n")
    assert (out / "stdin").read_text() == "x"
    project.yard.run("build", "-o", out, "-", input=b"FROM scratch\nCOPY <<EOF /alone\n1\nEOF\n")
    assert (out / "alone").read_text() == "1\n"


ODD = {
    "a byte order mark and CRLF": (b"\xef\xbb\xbfFROM scratch\r\nCOPY <<EOF /a\r\n1\r\nEOF\r\n", ""),
    "tabs and blanks": (b"\t FROM\tscratch  \n\n  \n\tCOPY\t.\t/ \n", ""),
    "NUL bytes": (b"FROM scratch\nCOPY \0 /\n", "NUL"),
    "no text": (bytes(range(128, 256)) * 4, "UTF-8"),
    "an open quote": (b'FROM scratch\nENV A="b\nCOPY . /\n', "quote"),
    "a continuation at the end": (b"FROM busybox\nRUN true \\\n", ""),
    "a comment that ends in an escape": (b"FROM busybox\n# comment \\\nRUN true\n", ""),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_files_are_read_or_refused_with_a_reason(project: Project, what: str) -> None:
    data, reason = ODD[what]
    project.write({"Dockerfile": data})
    if reason:
        assert reason in project.fails()
    else:
        project.build()
