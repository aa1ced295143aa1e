"""What is told to somebody who misses a file of a context."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.paths.filter import Filter
from fixtures.filework import grow


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/ap.py", "did you mean /app.py?"),
        ("/src/MAIN.c", "did you mean /src/main.c?"),
        ("/lib/main.c", "there is no directory /lib in the build context; paths begin at the context's root"),
        ("/../elsewhere", "paths begin at the root of the build context; files outside of it can't be copied"),
        ("/app.log", "it is there, but .dockerignore leaves it out: the pattern '*.log' does"),
        ("/other.log", "if it is there, .dockerignore leaves it out: the pattern '*.log' does"),
    ],
)
def test_why_a_path_is_missing(tmp_path: Path, path: str, hint: str) -> None:
    grow(tmp_path, {"app.py": "", "app.log": "", "src/main.c": ""})
    assert _why(tmp_path, path) == hint


def test_an_empty_context_is_told_as_such(tmp_path: Path) -> None:
    assert "the build context is empty" in _why(tmp_path, "/x")
    assert "no directory /a" in _why(tmp_path, "/a/x")


def _why(root: Path, path: str) -> str:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return Filter(exclude=("*.log",)).why_missing(descriptor, path) or ""
    finally:
        os.close(descriptor)
