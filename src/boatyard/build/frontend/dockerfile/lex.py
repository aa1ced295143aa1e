"""A Dockerfile's bytes as logical lines: one `Node` an instruction.

Lines end with LF; a CR before it doesn't count. A line that ends with the escape character goes on in the next one, as
it is: leading blanks stay. Comment lines within are left out, and so are empty lines, for which there is a lint rule.
Heredoc bodies follow the line that announces them, byte for byte.

Specification: the Dockerfile reference, "Format" and "Here-Documents".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from boatyard.build.frontend.dockerfile.ast import BLANKS, Heredoc, Node, Range, Source
from boatyard.build.frontend.dockerfile.directives import Directives, parse_directives, strip_mark
from boatyard.build.frontend.dockerfile.heredoc import find_heredocs
from boatyard.build.frontend.dockerfile.words import parse_json_words, split_keyword
from boatyard.errors import InvalidError

_TAKE_HEREDOCS = ("ADD", "COPY", "RUN")
_SURROGATE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Lexed:
    """`empty_continuations` are the lines at which an instruction ends that has empty lines in it."""

    source: Source
    directives: Directives
    nodes: tuple[Node, ...]
    empty_continuations: tuple[Range, ...]


def lex(data: bytes, filename: str) -> Lexed:
    """DockerfileError when the file is empty, binary, or ends within a heredoc."""
    source = Source(filename, strip_mark(data).decode("utf-8", "replace"))
    _refuse_binary(data, source)
    lines = strip_mark(data).decode("utf-8", "surrogateescape").split("\n")
    if lines[-1] == "":
        lines.pop()
    if not any(line.strip(BLANKS) for line in lines):
        raise source.error("the Dockerfile is empty", Range(1, 1), hint="it needs at least a FROM line")
    directives = parse_directives(lines, source)
    lexer = _Lexer(lines, source, directives)
    lexer.run()
    if not lexer.nodes:
        raise source.error(
            "the Dockerfile has comments but no instructions",
            Range(len(lines), len(lines)),
            hint="it needs at least a FROM line",
        )
    return Lexed(source, directives, tuple(lexer.nodes), tuple(lexer.empty_continuations))


def lex_trigger(expression: str, source: Source) -> tuple[Node, ...]:
    """The instructions of an ONBUILD trigger from an image's config: one, when it is well-formed. No directives."""
    lines = expression.split("\n")
    lexer = _Lexer(lines, source, Directives())
    lexer.run()
    return tuple(lexer.nodes)


def inner_node(node: Node, escape: str) -> Node:
    """The instruction that an ONBUILD holds."""
    keyword, flags, rest = split_keyword(node.rest, escape)
    return replace(node, keyword=keyword, flags=flags, rest=rest, text=node.rest)


def _refuse_binary(data: bytes, source: Source) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise source.error("the Dockerfile is written in UTF-16", Range(1, 1), hint="save it as UTF-8")
    at = data.find(b"\0")
    if at >= 0:
        line = data.count(b"\n", 0, at) + 1
        raise source.error(
            f"the Dockerfile has a NUL byte in line {line}",
            Range(line, line),
            hint="it looks like a binary file: is it the right one?",
        )


class _Lexer:
    """One pass over the lines of a file."""

    def __init__(self, lines: Sequence[str], source: Source, directives: Directives) -> None:
        self.nodes: list[Node] = []
        self.empty_continuations: list[Range] = []
        self._lines = lines
        self._source = source
        self._directives = directives
        self._escape = directives.escape
        self._at = 0
        """How many lines were read: the number of the last one."""

    def run(self) -> None:
        comments: list[str] = []
        while self._at < len(self._lines):
            line = self._next_line().lstrip(BLANKS)
            if line.startswith("#"):
                self._add_comment(comments, line[1:].strip(BLANKS))
            elif not line:
                comments.clear()
            else:
                self.nodes.append(self._read_node(line, tuple(comments)))
                comments.clear()

    def _add_comment(self, comments: list[str], comment: str) -> None:
        if self._at <= self._directives.last_line:
            return
        if comment:
            comments.append(_SURROGATE.sub("\ufffd", comment))
        else:
            comments.clear()

    def _next_line(self) -> str:
        line = self._lines[self._at].rstrip("\r")
        self._at += 1
        return line

    def _read_node(self, line: str, comments: tuple[str, ...]) -> Node:
        start = self._at
        text = self._read_continued(line)
        range = Range(start, self._at)
        self._refuse_foreign(text, start)
        keyword, flags, rest = split_keyword(text, self._escape)
        if not keyword:
            raise self._source.error(
                "a line continuation without an instruction",
                range,
                hint="remove the line with the escape character alone",
            )
        node = Node(keyword, flags, rest, text.strip(BLANKS), range, comments=comments)
        if "<<" not in text or not self._takes_heredocs(node):
            return node
        try:
            announced = find_heredocs(text)
        except InvalidError as error:
            raise self._source.error(error.message, range, hint=error.hint) from error
        heredocs = tuple(self._read_heredoc(heredoc, start) for heredoc in announced)
        return replace(node, heredocs=heredocs, range=Range(start, self._at))

    def _read_continued(self, line: str) -> str:
        """The logical line that begins with `line`."""
        parts: list[str] = []
        has_empty = False
        line, goes_on = self._without_continuation(line)
        parts.append(line)
        while goes_on and self._at < len(self._lines):
            line = self._next_line()
            stripped = line.lstrip(BLANKS)
            if stripped.startswith("#"):
                continue
            if not stripped:
                has_empty = True
                continue
            line, goes_on = self._without_continuation(line)
            parts.append(line)
        if has_empty:
            self.empty_continuations.append(Range(self._at, self._at))
        return "".join(parts)

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        stripped = line.rstrip(" \t")
        if not stripped.endswith(self._escape) or stripped.endswith(self._escape * 2):
            return line, False
        return stripped[: -len(self._escape)], True

    def _takes_heredocs(self, node: Node) -> bool:
        if node.name == "ONBUILD":
            node = inner_node(node, self._escape)
        if node.name not in _TAKE_HEREDOCS:
            return False
        try:
            return parse_json_words(node.rest) is None
        except InvalidError:
            return False

    def _read_heredoc(self, heredoc: Heredoc, start: int) -> Heredoc:
        begin = self._at
        while self._at < len(self._lines):
            line = self._next_line()
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                body = self._lines[begin : self._at - 1]
                content = "".join(f"{line}\n" for line in body)
                self._refuse_foreign(content, begin + 1)
                return replace(heredoc, content=content)
        raise self._source.error(
            f"the heredoc {heredoc.name!r} is not ended",
            Range(start, start),
            hint=f"put {heredoc.name} on a line of its own below it; if << is no heredoc here, quote it",
        )

    def _refuse_foreign(self, text: str, start: int) -> None:
        """Image documents are UTF-8: other bytes could only be changed silently. Comments may hold them."""
        if _SURROGATE.search(text) is None:
            return
        for number in range(start, self._at + 1):
            found = _SURROGATE.search(self._lines[number - 1])
            if found is not None and not self._lines[number - 1].lstrip(BLANKS).startswith("#"):
                raise self._source.error(
                    f"byte 0x{ord(found[0]) - 0xDC00:02x} in line {number} is not UTF-8",
                    Range(number, number),
                    hint="save the file as UTF-8",
                )
