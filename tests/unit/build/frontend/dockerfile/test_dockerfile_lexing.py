"""Logical lines: continuations, comments, line ends, and files that are none."""

from __future__ import annotations

import pytest

from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.lex import Lexed, lex
from boatyard.errors import DockerfileError


def nodes_of(text: str | bytes) -> Lexed:
    return lex(text.encode() if isinstance(text, str) else text, "Dockerfile")


def refusal_of(data: bytes) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        lex(data, "Dockerfile")
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN b", ["FROM a", "RUN b"]),
        ("  FROM a  \n\n\n\tRUN b\n", ["FROM a", "RUN b"]),
        ("RUN a \\\n  b", ["RUN a   b"]),
        ("RUN a\\\nb", ["RUN ab"]),
        ("RUN a \\  \t\n b", ["RUN a  b"]),
        ("RUN a \\\n# comment\n   # another\n b", ["RUN a  b"]),
        ("RUN a \\\n\n\n b", ["RUN a  b"]),
        ("RUN a \\", ["RUN a"]),
        ("RUN a \\\n", ["RUN a"]),
        ("RUN a \\\\\nRUN b", ["RUN a \\\\", "RUN b"]),
        ("RUN \\\n\\\n\\\na", ["RUN a"]),
        ("\\\nRUN a", ["RUN a"]),
        ("RUN a # no comment", ["RUN a # no comment"]),
        ("# only\nRUN a\n# after", ["RUN a"]),
        ("RUN a\x85b", ["RUN a\x85b"]),
        ("RUN a\u2028b", ["RUN a\u2028b"]),
        ("RUN a\x0bb\x0cc", ["RUN a\x0bb\x0cc"]),
        ("# escape=`\nRUN a `\n b \\\nRUN c", ["RUN a  b \\", "RUN c"]),
    ],
)
def test_physical_lines_become_logical_ones(text: str, expected: list[str]) -> None:
    assert [node.text for node in nodes_of(text).nodes] == expected


def test_ranges_count_every_physical_line() -> None:
    lexed = nodes_of("# c\nFROM a\n\nRUN b \\\n# x\n\n c\nCOPY <<E /x\n1\n2\nE\nRUN d")
    assert [node.range for node in lexed.nodes] == [Range(2, 2), Range(4, 7), Range(8, 11), Range(12, 12)]


def test_an_instruction_with_empty_lines_in_it_is_remembered_by_its_last_line() -> None:
    lexed = nodes_of("RUN a \\\n\n b\nRUN c \\\n d\nRUN e \\\n \t \n\n f")
    assert lexed.empty_continuations == (Range(3, 3), Range(9, 9))


def test_carriage_returns_before_line_feeds_do_not_count() -> None:
    assert [node.text for node in nodes_of("FROM a\r\nRUN b \\\r\n c\r\n").nodes] == ["FROM a", "RUN b  c"]


def test_heredoc_bodies_keep_their_carriage_returns() -> None:
    (node,) = nodes_of("COPY <<E /x\r\nline\r\nE\r\n").nodes
    assert node.heredocs[0].content == "line\r\n"


def test_a_byte_order_mark_is_no_text() -> None:
    assert nodes_of(b"\xef\xbb\xbfFROM a").nodes[0].keyword == "FROM"


def test_comments_right_above_belong_to_the_instruction() -> None:
    lexed = nodes_of("# one\n  #two\nFROM a\n# three\n\nRUN b\n# four\n#\n# five\nRUN c \\\n# six\n d\nRUN e")
    assert [node.comments for node in lexed.nodes] == [("one", "two"), (), ("five",), ()]


def test_directives_and_the_shebang_are_no_comments() -> None:
    assert nodes_of("#!/bin/x\n# syntax=a\n# text\nFROM a").nodes[0].comments == ("text",)


def test_keyword_flags_and_rest_are_told_apart() -> None:
    (node,) = nodes_of("copy --a=b --c='d e' --f\\ g  x y").nodes
    assert (node.keyword, node.name, node.flags, node.rest) == ("copy", "COPY", ("--a=b", "--c=d e", "--f g"), "x y")


def test_two_dashes_alone_end_the_flags() -> None:
    (node,) = nodes_of("RUN --a -- --b c").nodes
    assert (node.flags, node.rest) == (("--a",), "--b c")


def test_an_instruction_of_a_million_characters_is_read() -> None:
    (node,) = nodes_of("RUN " + "echo a && " * 100_000 + "true").nodes
    assert len(node.text) > 1_000_000


@pytest.mark.parametrize("data", [b"", b"\n", b" \n\t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_an_empty_file_is_refused(data: bytes) -> None:
    assert "empty" in refusal_of(data).message


def test_a_file_of_comments_is_refused() -> None:
    assert "no instructions" in refusal_of(b"# a\n# b\n").message


def test_a_nul_byte_is_refused_with_its_line() -> None:
    error = refusal_of(b"FROM a\nRUN b\n\x7fELF\x00\x01\n")
    assert "NUL byte in line 3" in error.message
    assert error.source is not None
    assert (error.source.start, error.source.end) == (3, 3)
    assert error.hint is not None
    assert "binary" in error.hint


@pytest.mark.parametrize("data", ["FROM a".encode("utf-16"), b"\xfe\xff\x00F\x00R"])
def test_utf_16_is_refused_by_name(data: bytes) -> None:
    assert "UTF-16" in refusal_of(data).message


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    error = refusal_of(b"FROM a\nRUN b \\\n caf\xe9\n")
    assert "0xe9 in line 3" in error.message


def test_bytes_that_are_not_utf_8_are_refused_in_heredocs() -> None:
    assert "line 3" in refusal_of(b"FROM a\nCOPY <<E /x\n\xff\nE\n").message


def test_comments_may_hold_bytes_that_are_not_utf_8() -> None:
    lexed = nodes_of(b"# caf\xe9\nFROM a\nRUN b \\\n# \xe9\n c")
    assert lexed.nodes[0].comments == ("caf\ufffd",)
    lexed.source.text.encode()


def test_an_escape_character_alone_is_refused() -> None:
    assert "without an instruction" in refusal_of(b"FROM a\n\\\n").message


def test_the_excerpt_holds_the_whole_file() -> None:
    error = refusal_of(b"FROM a\nCOPY <<E /x\nbody\n")
    assert error.source is not None
    assert error.source.filename == "Dockerfile"
    assert error.source.text == "FROM a\nCOPY <<E /x\nbody\n"
