"""The head of the file."""

from __future__ import annotations

import pytest

from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.directives import Directives, detect_syntax
from boatyard.build.frontend.dockerfile.lex import lex
from boatyard.errors import DockerfileError


def directives_of(text: str) -> Directives:
    return lex((text + "\nFROM a\n").encode(), "Dockerfile").directives


def test_all_three_are_read_in_any_case_and_spacing() -> None:
    found = directives_of("# Syntax = docker/dockerfile:1 \n#escape=`\n  #  CHECK=skip=all")
    assert found.syntax is not None
    assert (found.syntax.value, found.syntax.range) == ("docker/dockerfile:1", Range(1, 1))
    assert found.escape == "`"
    assert found.check is not None
    assert found.check.value == "skip=all"


@pytest.mark.parametrize(
    "text",
    [
        "\n# escape=`",
        "# a comment\n# escape=`",
        "# unknown=x\n# escape=`",
        "FROM b\n# escape=`",
        "#\n# escape=`",
        "# escape",
        "# escape =",
        "## escape=`",
    ],
)
def test_they_end_at_the_first_line_that_is_none(text: str) -> None:
    assert directives_of(text).escape == "\\"


def test_a_shebang_may_come_first() -> None:
    assert directives_of("#!/usr/bin/x\n# escape=`").escape == "`"


@pytest.mark.parametrize("text", ["# escape=`\n# escape=`", "# syntax=a\n# syntax=b", "# check=a\n#check=b"])
def test_one_given_twice_is_refused_at_the_second(text: str) -> None:
    with pytest.raises(DockerfileError, match="given twice") as caught:
        directives_of(text)
    assert caught.value.source is not None
    assert caught.value.source.start == 2


@pytest.mark.parametrize("value", ["/", "\\\\", "``", "x"])
def test_other_escape_characters_are_refused(value: str) -> None:
    with pytest.raises(DockerfileError, match="escape character"):
        directives_of(f"# escape={value}")


@pytest.mark.parametrize(
    ("data", "word", "value"),
    [
        (b"# syntax = builder/file:2 and more\nFROM a", "builder/file:2", "builder/file:2 and more"),
        (b"#!/usr/bin/x\n# syntax=x\n", "x", "x"),
        (b"// syntax=y\n// text", "y", "y"),
        (b"#!/usr/bin/x\n//syntax=x", "x", "x"),
        (b'{"steps": [1, {}], "syntax": "y"}', "y", "y"),
        (b'\xef\xbb\xbf {\n"syntax": "y"}', "y", "y"),
        (b"\xef\xbb\xbf# syntax=x", "x", "x"),
        (b"# escape=`\n# syntax=x", "x", "x"),
    ],
)
def test_the_frontend_is_found_in_all_notations(data: bytes, word: str, value: str) -> None:
    found = detect_syntax(data)
    assert found is not None
    assert (found.word, found.value) == (word, value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"FROM a",
        b"#!/usr/bin/x\n\n# syntax=x",
        b'{"syntax": "y"',
        b'{"syntax": "y"}\n# syntax=z',
        b'{"syntax": 1}',
        b"[1]",
        b"\xff\x00\xfe",
        b'{"a":' * 100_000,
    ],
)
def test_a_file_without_one_has_none(data: bytes) -> None:
    assert detect_syntax(data) is None
