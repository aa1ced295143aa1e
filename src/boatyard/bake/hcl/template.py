"""Parse templates: the text of quoted strings and heredocs, with `${...}` and `%{if}`, `%{for}` in it.

Specification: hclsyntax/spec.md, "Template Sub-language".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from boatyard.bake.hcl.cursor import Cursor, unexpected
from boatyard.bake.hcl.expressions import loop_names, parse_expression
from boatyard.bake.hcl.tokens import (
    CLOSE_QUOTE,
    EOF,
    IDENT,
    INTERPOLATION,
    LITERAL,
    OPEN_HEREDOC,
    SEQUENCE_END,
    Token,
)
from boatyard.bake.hcl.tree import Conditional, Expression, For, Joined, Literal, Template, Wrapped
from boatyard.bake.source import Span, did_you_mean
from boatyard.bake.values.value import string

_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)|\$\$\{|%%\{", re.DOTALL)
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_DIRECTIVES = ("if", "else", "endif", "for", "endfor")
_LAST_CHARACTER = 0x10FFFF
_DEEPEST = 30


@dataclass(slots=True)
class _Text:
    value: str
    span: Span


@dataclass(slots=True)
class _Interpolation:
    expression: Expression
    span: Span


@dataclass(slots=True)
class _Directive:
    name: str
    span: Span
    expression: Expression | None = None
    names: tuple[str, ...] = ()


_Part = _Text | _Interpolation | _Directive


def parse_template(cursor: Cursor, opening: Token, end: str) -> Expression:
    """The cursor is behind the opening; it is left behind the end."""
    with cursor.nested():
        parts = _parts(cursor, end)
        if opening.kind == OPEN_HEREDOC and opening.text.startswith("<<-"):
            _flush(parts)
        span = opening.span.to(cursor.previous)
        if len(parts) == 1 and isinstance(parts[0], _Interpolation):
            return Wrapped(parts[0].expression, span)
        return Template(_Tree(parts, span).all(), span)


def _parts(cursor: Cursor, end: str) -> list[_Part]:
    """A flat list; blanks are taken away where `~` says so."""
    parts: list[_Part] = []
    strip = False
    while not cursor.at(end):
        token = cursor.read()
        if token.kind == LITERAL:
            value = _unescaped(token, quoted=end == CLOSE_QUOTE)
            parts.append(_Text(value.lstrip() if strip else value, token.span))
            strip = False
            continue
        if token.kind == EOF:
            raise unexpected(token, "the end of the text")
        if token.text.endswith("~") and parts and isinstance(last := parts[-1], _Text):
            last.value = last.value.rstrip()
        with cursor.newlines(False):
            if token.kind == INTERPOLATION:
                parts.append(_interpolation(cursor, token))
            else:
                parts.append(_directive(cursor, token))
            strip = cursor.read().text.startswith("~")
    cursor.read()
    return parts


def _interpolation(cursor: Cursor, token: Token) -> _Part:
    expression = parse_expression(cursor)
    if not cursor.at(SEQUENCE_END):
        raise unexpected(cursor.peek(), "'}' to end the interpolation", hint="write $${ to mean just that")
    return _Interpolation(expression, token.span.to(cursor.peek().span))


def _directive(cursor: Cursor, token: Token) -> _Part:
    word = cursor.accept(IDENT)
    if word is None:
        raise unexpected(cursor.peek(), "'if', 'else', 'endif', 'for' or 'endfor' after %{")
    if word.text not in _DIRECTIVES:
        hint = did_you_mean(word.text, _DIRECTIVES, otherwise="write %%{ to mean just that")
        raise word.span.error(f"there is no template directive {word.text!r}", hint=hint)
    names = loop_names(cursor) if word.text == "for" else ()
    expression = parse_expression(cursor) if word.text in ("if", "for") else None
    if not cursor.at(SEQUENCE_END):
        raise unexpected(cursor.peek(), "'}' to end the directive")
    return _Directive(word.text, token.span.to(cursor.peek().span), expression, names)


def _unescaped(token: Token, *, quoted: bool) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][1:]
        if not quoted:
            return match[0]
        if match[1] in _SIMPLE:
            return _SIMPLE[match[1]]
        span = token.span.source.span(token.span.start + match.start(), token.span.start + match.end())
        if match[1][0] in "uU" and len(match[1]) > 1:
            code = int(match[1][1:], 16)
            if code <= _LAST_CHARACTER and not 0xD800 <= code <= 0xDFFF:
                return chr(code)
            raise span.error(f"there is no character U+{match[1][1:]}")
        hint = r"escapes are \n \r \t \" \\ \uNNNN \UNNNNNNNN; write \\ for a backslash"
        raise span.error(f"unknown escape sequence {match[0]}", hint=hint)

    return _ESCAPE.sub(one, token.text)


def _flush(parts: list[_Part]) -> None:
    """`<<-`: the blanks that all lines begin with are taken away; empty lines don't count."""
    beginnings: list[_Text] = []
    least: int | None = None
    fresh = True
    for part in parts:
        if fresh:
            fresh = False
            blanks = 0
            if isinstance(part, _Text):
                stripped = part.value.lstrip()
                if stripped or not part.value.endswith("\n"):
                    blanks = len(part.value) - len(stripped)
                    beginnings.append(part)
                    least = blanks if least is None else min(least, blanks)
            else:
                least = 0
        if isinstance(part, _Text) and part.value.endswith("\n"):
            fresh = True
    for text in beginnings:
        text.value = text.value[least or 0 :]


class _Tree:
    """Makes a tree of the flat list."""

    def __init__(self, parts: Sequence[_Part], span: Span) -> None:
        self._parts = parts
        self._span = span
        self._at = 0
        self._depth = 0

    def all(self) -> tuple[Expression, ...]:
        return self._until(None)

    def _until(self, opening: _Directive | None, *ends: str) -> tuple[Expression, ...]:
        """Up to one of the directives that may come; the cursor is left before it."""
        found: list[Expression] = []
        while self._at < len(self._parts):
            part = self._parts[self._at]
            if isinstance(part, _Directive) and part.name not in ("if", "for"):
                if part.name in ends:
                    return tuple(found)
                raise part.span.error(self._misplaced(part, opening))
            self._at += 1
            match part:
                case _Text():
                    found.append(Literal(string(part.value), part.span))
                case _Interpolation():
                    found.append(part.expression)
                case _Directive():
                    found.append(self._block(part))
        if opening is not None:
            raise opening.span.error(f"this %{{{opening.name}}} has no %{{end{opening.name}}}")
        return tuple(found)

    def _misplaced(self, part: _Directive, opening: _Directive | None) -> str:
        if opening is None:
            return f"%{{{part.name}}} without anything that it could end"
        if part.name == "else":
            return "a second %{else} for one %{if}" if opening.name == "if" else "%{for} has no %{else}"
        return f"%{{{part.name}}} where %{{end{opening.name}}} is due"

    def _block(self, opening: _Directive) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise opening.span.error("template directives are nested too deeply")
        block = self._if(opening) if opening.name == "if" else self._for(opening)
        self._depth -= 1
        return block

    def _if(self, opening: _Directive) -> Expression:
        yes = self._until(opening, "else", "endif")
        no: tuple[Expression, ...] = ()
        if self._take().name == "else":
            no = self._until(opening, "endif")
            self._take()
        assert opening.expression is not None
        return Conditional(opening.expression, Template(yes, opening.span), Template(no, opening.span), opening.span)

    def _for(self, opening: _Directive) -> Expression:
        content = self._until(opening, "endfor")
        self._take()
        assert opening.expression is not None
        body = Template(content, opening.span)
        return Joined(For(opening.names, opening.expression, None, body, None, False, opening.span), opening.span)

    def _take(self) -> _Directive:
        part = self._parts[self._at]
        assert isinstance(part, _Directive)
        self._at += 1
        return part
