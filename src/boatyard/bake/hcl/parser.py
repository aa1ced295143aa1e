"""Parse HCL's native syntax: bodies of attributes and blocks.

Specification: hclsyntax/spec.md, "Structural Elements".
"""

from __future__ import annotations

from boatyard.bake.hcl.cursor import Cursor, unexpected
from boatyard.bake.hcl.expressions import parse_expression
from boatyard.bake.hcl.template import parse_template
from boatyard.bake.hcl.tokens import (
    CLOSE_QUOTE,
    CONTROL,
    EOF,
    IDENT,
    INTERPOLATION,
    LITERAL,
    NEWLINE,
    OPEN_QUOTE,
    Token,
    tokenize,
)
from boatyard.bake.hcl.tree import Block, Body, Expression, File, Setting, text
from boatyard.bake.source import Source, Span


def parse(source: Source) -> File:
    """DefinitionError for the first thing that is wrong."""
    return File(source, _body(Cursor(tokenize(source), parse_template), None))


def parse_text(source: Source, start: int) -> Expression:
    """A template without quotes around it, from `start` on (JSON has such)."""
    tokens = tokenize(source, start=start, template=True)
    opening = Token(LITERAL, "", source.span(start, start))
    return parse_template(Cursor(tokens, parse_template), opening, EOF)


def parse_alone(source: Source) -> Expression:
    """One expression that is the whole text."""
    cursor = Cursor(tokenize(source), parse_template)
    with cursor.newlines(False):
        expression = parse_expression(cursor)
        if not cursor.at(EOF):
            raise unexpected(cursor.peek(), "nothing after the expression")
    return expression


def _body(cursor: Cursor, opening: Span | None) -> Body:
    """Up to the closing brace of the block that began at `opening`, or the end of the file."""
    settings: dict[str, Setting] = {}
    blocks: list[Block] = []
    while True:
        while cursor.accept(NEWLINE):
            pass
        token = cursor.peek()
        if token.kind == ("}" if opening else EOF):
            cursor.read()
            return Body(settings, tuple(blocks))
        if token.kind == EOF:
            assert opening is not None
            raise opening.error("this block has no end: there is no '}' for it")
        if token.kind == OPEN_QUOTE:
            raise token.span.error("the name of an attribute or a block is not quoted")
        if token.kind == "}":
            raise token.span.error("there is no block that this could end")
        if token.kind != IDENT:
            raise unexpected(token, "an attribute (name = value) or a block")
        cursor.read()
        if cursor.at("="):
            setting = _setting(cursor, token)
            _add(settings, setting)
            _end_of_line(cursor, "an attribute")
        elif cursor.at(OPEN_QUOTE, IDENT, "{"):
            with cursor.nested():
                blocks.append(_block(cursor, token))
            _end_of_line(cursor, "a block")
        else:
            hint = "attributes are set with =" if cursor.at(":") else None
            raise unexpected(cursor.peek(), f"'=' or a block after {token.text!r}", hint=hint)


def _add(settings: dict[str, Setting], setting: Setting) -> None:
    if earlier := settings.get(setting.name):
        raise setting.span.error(f"{setting.name!r} was set already at {earlier.span.place()}")
    settings[setting.name] = setting


def _setting(cursor: Cursor, name: Token) -> Setting:
    cursor.read()
    return Setting(name.text, parse_expression(cursor), name.span)


def _end_of_line(cursor: Cursor, what: str) -> None:
    if not cursor.at(NEWLINE, EOF):
        hint = "attributes stand on lines of their own, without commas" if cursor.at(",") else None
        raise unexpected(cursor.peek(), f"a new line after {what}", hint=hint)


def _block(cursor: Cursor, type: Token) -> Block:
    labels: list[str] = []
    spans: list[Span] = []
    while not cursor.at("{"):
        token = cursor.read()
        if token.kind == IDENT:
            label = token.text
        elif token.kind == OPEN_QUOTE:
            label = _label(cursor, token)
        else:
            raise unexpected(token, "a label in quotes, or '{' on the same line", hint='a block is NAME "LABEL" {')
        labels.append(label)
        spans.append(token.span.to(cursor.previous))
    open = cursor.read().span
    header = type.span.to(spans[-1] if spans else type.span)
    body = _body(cursor, open) if cursor.at(NEWLINE, EOF, "}") else _single(cursor)
    return Block(type.text, tuple(labels), body, header, tuple(spans))


def _single(cursor: Cursor) -> Body:
    """`{ name = value }` on one line."""
    name = cursor.accept(IDENT)
    if name is None or not cursor.at("="):
        raise unexpected(cursor.peek(), "one attribute (name = value) or a new line after '{'")
    setting = _setting(cursor, name)
    if not cursor.at("}"):
        hint = "a block with more than one attribute has each on its own line"
        raise unexpected(cursor.peek(), "'}' after the only attribute of the line", hint=hint)
    cursor.read()
    return Body({setting.name: setting})


def _label(cursor: Cursor, opening: Token) -> str:
    if cursor.at(INTERPOLATION, CONTROL):
        raise cursor.peek().span.error("the label of a block can't be computed", hint="use matrix and name instead")
    label = text(template := parse_template(cursor, opening, CLOSE_QUOTE))
    if label is None:
        raise template.span.error("the label of a block can't be computed", hint="use matrix and name instead")
    return label
