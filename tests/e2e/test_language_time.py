"""SOURCE_DATE_EPOCH: where it can be set, and what it decides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2e.project import Project
from e2e.served import Served, commit_all
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

EPOCH = 1_600_000_000
CREATED = "2020-09-13T12:26:40"


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    project = Project(yard, tmp_path / "timed")
    return project.dockerfile("FROM scratch\nCOPY <<EOF /a\nEOF\nWORKDIR /w\n")


def test_it_can_be_an_argument_a_flag_an_environment_variable_or_in_the_file(project: Project) -> None:
    given = str(EPOCH)
    for arguments in (["--build-arg", f"SOURCE_DATE_EPOCH={given}"], ["--source-date-epoch", given]):
        assert project.image(*arguments)["Created"].startswith(CREATED)
    project.environment = {"SOURCE_DATE_EPOCH": given}
    assert project.image()["Created"].startswith(CREATED)
    project.environment = {}
    assert not project.image()["Created"].startswith(CREATED)
    project.dockerfile(f"ARG SOURCE_DATE_EPOCH={given}\nFROM scratch\nCOPY <<EOF /a\nEOF\n")
    assert project.image()["Created"].startswith(CREATED)
    assert project.image("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH + 1}")["Created"].startswith("2020-09-13T12:26:41")
    project.dockerfile("FROM scratch\nCOPY <<EOF /a\nEOF\n")
    assert "SOURCE_DATE_EPOCH" in project.fails("--build-arg", "SOURCE_DATE_EPOCH=yesterday")


def test_a_step_sees_it_when_it_declares_it(project: Project) -> None:
    project.dockerfile(
        "FROM busybox\nRUN echo [$SOURCE_DATE_EPOCH] > /none\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /a\n"
    )
    tree = project.tree("--source-date-epoch", str(EPOCH))
    assert (tree.text("none"), tree.text("a")) == ("[]\n", f"{EPOCH}\n")


def test_it_may_be_the_contexts_last_commit(project: Project, served: Served) -> None:
    source = write_files(served.directory / "repo", {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "1"})
    os.environ["GIT_COMMITTER_DATE"] = f"@{EPOCH} +0000"
    try:
        commit_all(source)
    finally:
        del os.environ["GIT_COMMITTER_DATE"]
    url = f"{served.url}/repo/.git"
    project.yard.run("build", "--build-arg", "SOURCE_DATE_EPOCH=context", "-t", "by-commit", url)
    assert CREATED in project.yard.run("image", "inspect", "by-commit").stdout


def test_exported_files_are_clamped_when_asked(project: Project, tmp_path: Path) -> None:
    project.write({"old": "x", "Dockerfile": "FROM busybox\nCOPY old /old\nRUN mkdir /d && touch /d/new\n"})
    os.utime(project.directory / "old", (1_000_000_000, 1_000_000_000))
    out = tmp_path / "image.tar"
    digests = set()
    for _ in range(2):
        project.build(
            "--no-cache", "--source-date-epoch", str(EPOCH), "-o", f"type=oci,dest={out},rewrite-timestamp=true"
        )
        digests.add(out.read_bytes())
    assert len(digests) == 1
