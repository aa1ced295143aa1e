"""Parse HCL's JSON syntax to the same tree: properties are attributes or blocks, strings are templates.

Which properties are blocks the schema tells; below their labels is their body, or a list of bodies.

Specification: hashicorp/hcl v2, json/spec.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from boatyard.bake.hcl.parser import parse_alone, parse_text
from boatyard.bake.hcl.tree import Block, Body, Expression, File, Item, Literal, Object, Setting, Template, Tuple
from boatyard.bake.hcl.tree import text as plain_text
from boatyard.bake.source import Source, Span
from boatyard.bake.values import number as numbers
from boatyard.bake.values.value import FALSE, NULL, TRUE, Value, number, string
from boatyard.errors import DefinitionError

_DEEPEST = 60
_BLANKS = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORDS = {"true": TRUE, "false": FALSE, "null": NULL}


@dataclass(frozen=True, slots=True)
class Scalar:
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Text:
    """`value`: what the string says, `span` with its quotes."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Array:
    elements: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Mapped:
    """Properties in order; a key may come twice."""

    properties: tuple[tuple[Text, Node], ...]
    span: Span


Node = Scalar | Text | Array | Mapped


def parse(source: Source, labels: Mapping[str, int], nested: Mapping[str, Mapping[str, int]]) -> File:
    """`labels`: the blocks of the file and how many labels each has; `nested`: the same for what is in them."""
    reader = _Reader(source)
    root = reader.document()
    objects = root.elements if isinstance(root, Array) else (root,)
    bodies = [_body(each, labels, nested) for each in objects]
    settings: dict[str, Setting] = {}
    for body in bodies:
        settings.update(body.settings)
    return File(source, Body(settings, tuple(block for body in bodies for block in body.blocks)))


# -- JSON with places ------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._text = source.text
        self._at = 0

    def document(self) -> Node:
        node = self._value(0)
        self._blanks()
        if self._at < len(self._text):
            raise self._error("there is something after the end of the JSON document")
        return node

    def _blanks(self) -> None:
        match = _BLANKS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _error(self, message: str, *, hint: str | None = None) -> DefinitionError:
        return self._source.span(self._at, min(self._at + 1, len(self._text))).error(message, hint=hint)

    def _found(self) -> str:
        return repr(self._text[self._at]) if self._at < len(self._text) else "the file ends"

    def _value(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self._error("this is nested too deeply")
        self._blanks()
        start = self._at
        if self._text.startswith("{", start):
            return self._object(depth)
        if self._text.startswith("[", start):
            return self._array(depth)
        if self._text.startswith('"', start):
            return self._string()
        for word, value in _WORDS.items():
            if self._text.startswith(word, start):
                self._at += len(word)
                return Scalar(value, self._source.span(start, self._at))
        if match := _NUMBER.match(self._text, start):
            self._at = match.end()
            try:
                return Scalar(number(numbers.parse(match[0])), self._source.span(start, self._at))
            except ValueError as error:
                raise self._source.span(start, self._at).error(str(error)) from None
        raise self._error(f"expected a JSON value, but found {self._found()}")

    def _string(self) -> Text:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self._error("this string is malformed, or has no end", hint="line ends are written \\n in JSON")
        span = self._source.span(self._at, match.end())
        try:
            value = json.loads(match[0])
        except ValueError:
            raise span.error("this string has an escape sequence that JSON doesn't know") from None
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise span.error("this string has half of a character (a lone surrogate)")
        self._at = match.end()
        return Text(value, span)

    def _object(self, depth: int) -> Mapped:
        start = self._at
        self._at += 1
        properties: list[tuple[Text, Node]] = []
        for _ in self._members("}", start):
            if not self._text.startswith('"', self._at):
                raise self._error(f"expected a property's name in quotes, but found {self._found()}")
            key = self._string()
            self._blanks()
            if not self._text.startswith(":", self._at):
                hint = "JSON has ':' between name and value" if self._text.startswith("=", self._at) else None
                raise self._error(f"expected ':' after the property's name, but found {self._found()}", hint=hint)
            self._at += 1
            properties.append((key, self._value(depth + 1)))
        return Mapped(tuple(properties), self._source.span(start, self._at))

    def _array(self, depth: int) -> Array:
        start = self._at
        self._at += 1
        elements = [self._value(depth + 1) for _ in self._members("]", start)]
        return Array(tuple(elements), self._source.span(start, self._at))

    def _members(self, close: str, start: int) -> Iterator[None]:
        """Yields where a member is to be read."""
        self._blanks()
        if self._text.startswith(close, self._at):
            self._at += 1
            return
        while True:
            self._blanks()
            yield
            self._blanks()
            if self._text.startswith(close, self._at):
                self._at += 1
                return
            if not self._text.startswith(",", self._at):
                if self._at >= len(self._text):
                    raise self._source.span(start, start + 1).error(f"there is no {close!r} for this")
                raise self._error(f"expected ',' or {close!r}, but found {self._found()}")
            self._at += 1
            self._blanks()
            if self._text.startswith(close, self._at):
                raise self._error("JSON has no comma after the last one")


# -- JSON as HCL -----------------------------------------------------------------------------------------------------


def _body(node: Node, labels: Mapping[str, int], nested: Mapping[str, Mapping[str, int]]) -> Body:
    if not isinstance(node, Mapped):
        raise node.span.error("an object is required here: { ... }")
    settings: dict[str, Setting] = {}
    blocks: list[Block] = []
    for key, value in node.properties:
        if key.value == "//":  # a comment
            continue
        if key.value in labels:
            for found in _labelled(value, labels[key.value]):
                names, spans, content = found
                body = _body(content, nested.get(key.value, {}), {})
                blocks.append(Block(key.value, names, body, spans[-1] if spans else key.span, spans))
        elif key.value in settings:
            raise key.span.error(f"{key.value!r} was set already at {settings[key.value].span.place()}")
        else:
            settings[key.value] = Setting(key.value, expression(value), key.span)
    return Body(settings, tuple(blocks))


def _labelled(node: Node, depth: int) -> Iterator[tuple[tuple[str, ...], tuple[Span, ...], Node]]:
    """Bodies below so many levels of labels; on each level there may be a list."""
    if isinstance(node, Array):
        for element in node.elements:
            yield from _labelled(element, depth)
    elif not depth:
        yield (), (), node
    elif isinstance(node, Mapped):
        for key, value in node.properties:
            for names, spans, content in _labelled(value, depth - 1):
                yield (key.value, *names), (key.span, *spans), content
    elif not (isinstance(node, Scalar) and node.value is NULL):
        raise node.span.error("an object is required here: the names are its keys")


def expression(node: Node) -> Expression:
    """Strings, keys too, are templates."""
    match node:
        case Scalar():
            return Literal(node.value, node.span)
        case Text():
            return _template(node)
        case Array():
            return Tuple(tuple(expression(each) for each in node.elements), node.span)
        case Mapped():
            seen: dict[str, Span] = {}
            for key, _ in node.properties:
                if key.value in seen:
                    raise key.span.error(f"{key.value!r} was set already at {seen[key.value].place()}")
                seen[key.value] = key.span
            items = (Item(_template(key), expression(value), dynamic=True) for key, value in node.properties)
            return Object(tuple(items), node.span)


def _template(node: Text) -> Expression:
    if "${" not in node.value and "%{" not in node.value:
        return Template((Literal(string(node.value), node.span),), node.span)
    if node.value == node.span.text[1:-1]:  # without escapes, places in the string are places in the file
        inner = Source(node.span.source.name, node.span.source.text[: node.span.end - 1])
        return _placed(node, inner, node.span.start + 1)
    return _placed(node, Source(node.span.source.name, node.value), 0)


def _placed(node: Text, source: Source, start: int) -> Expression:
    """What is wrong in the string is shown where the string is."""
    try:
        return parse_text(source, start)
    except DefinitionError as error:
        raise node.span.error(error.message, hint=error.hint) from None


def as_native(expression: Expression) -> Expression:
    """A JSON string where the language wants an expression as such (a type, a parameter's name): what it says, parsed.
    Others are returned as they are."""
    found = plain_text(expression)
    if found is None:
        return expression
    try:
        return parse_alone(Source(expression.span.source.name, found))
    except DefinitionError as error:
        raise expression.span.error(error.message, hint=error.hint) from None
