"""`boat build --check-reproducible`: two builds in clean states, what they differ in, and what is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

EXACT = ("--source-date-epoch", "1000", "-o", "type=image,rewrite-timestamp=true")


def context(directory: Path, *lines: str) -> Path:
    return write_files(directory, {"Dockerfile": "\n".join(("FROM busybox", *lines)) + "\n"})


def test_the_file_that_chance_got_into_is_named(yard: Yard, tmp_path: Path) -> None:
    place = context(tmp_path, "RUN echo same > /same", "RUN mkdir /d && cat /proc/sys/kernel/random/uuid > /d/chance")
    done = yard.run("build", "--check-reproducible", *EXACT, "-t", "by-chance", place, check=False)
    assert done.returncode == 11
    first, title, line, *fixes = done.stdout.splitlines()
    assert first == "not reproducible: two builds gave different images"
    assert "layer 3 of 3: RUN /bin/sh -c mkdir /d" in title
    assert line.split()[:2] == ["content", "/d/chance:"]
    assert all(fix.startswith("  fix: ") for fix in fixes)
    assert yard.run("image", "inspect", "by-chance", check=False).returncode == 3, "nothing is stored"


def test_times_show_however_fast_the_steps_are(yard: Yard, tmp_path: Path) -> None:
    """Those of directories that the builder makes, too."""
    place = context(tmp_path, "WORKDIR /here", "COPY --link Dockerfile /there/")
    done = yard.run("build", "--check-reproducible", place, check=False)
    assert done.returncode == 11
    told = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    assert {("mtime", "/here:"), ("mtime", "/there:")} <= told
    assert "created:" in done.stdout
    assert "--source-date-epoch" in done.stdout
    assert "rewrite-timestamp=true" in done.stdout


def test_what_is_the_same_twice_is_stored_as_it_was(yard: Yard, tmp_path: Path) -> None:
    place = context(
        tmp_path / "c",
        "WORKDIR /here",
        "RUN --mount=type=cache,target=/kept ls /kept > /found; touch /kept/left; date > /kept/when",
        "RUN touch /now",
    )
    told = yard.run("build", "--check-reproducible", *EXACT, "-t", "twice", "--iidfile", tmp_path / "id", place)
    assert "reproducible: two builds gave the same image" in told.stderr
    image = json.loads(yard.run("image", "inspect", "twice").stdout)[0]
    assert image["Id"] == (tmp_path / "id").read_text()
    assert yard.run("run", "--rm", "twice", "cat", "/found").stdout == ""
    assert "twice-" not in yard.run("builder", "cache-mount", "ls").stdout


def test_a_step_that_fails_fails_once(yard: Yard, tmp_path: Path) -> None:
    done = yard.run("build", "--check-reproducible", context(tmp_path, "RUN exit 7"), check=False)
    assert done.returncode == 1
    assert done.stderr.count("a step failed") == 1


def test_what_can_be_read_only_once_is_refused(yard: Yard, tmp_path: Path) -> None:
    assert "only once" in yard.fails("build", "--check-reproducible", "-", input=b"FROM busybox\n")
    assert "nothing to compare" in yard.fails("build", "--check-reproducible", "--check", context(tmp_path))
