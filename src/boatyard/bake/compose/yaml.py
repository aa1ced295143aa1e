"""YAML to plain values, with the place of each.

As compose reads it: only `true` and `false` are truth values, dates are texts, no key comes twice. `!reset` and
`!override` say how a value merges with that of an earlier file.

Specification: YAML 1.2 (core schema) with merge keys (`<<`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from boatyard.bake.source import Source, Span
from boatyard.errors import DefinitionError

_DEEPEST = 60
_MOST_NODES = 200_000
"""Aliases can make a small file mean endlessly much."""
_TRUTH = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")

Path = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Marked:
    """A value under `!reset` or `!override`."""

    tag: str
    value: Any


@dataclass(frozen=True, slots=True)
class Document:
    """`places`: where each value stands, by its path."""

    value: Any
    source: Source
    places: dict[Path, Span] = field(repr=False)

    def error(self, path: Path, message: str, *, hint: str | None = None) -> DefinitionError:
        """For the nearest place that is known."""
        while path and path not in self.places:
            path = path[:-1]
        span = self.places.get(path) or self.source.span(0, 1)
        return span.error(message, hint=hint)


def parse(source: Source) -> Document:
    """DefinitionError for what is no YAML, or more than one document."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(source.text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = 0 if mark is None else min(_offset(source, mark), len(source.text))
        problem = error.problem or error.context or "it can't be read"
        raise source.span(at, at + 1).error(f"this is no YAML: {problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise source.span(0, 1).error(f"this is no YAML: {str(error).splitlines()[0]}") from None
    reader = _Reader(source)
    return Document(reader.value(root, (), 0), source, reader.places)


def _offset(source: Source, mark: yaml.Mark) -> int:
    """The C parser's marks count lines and columns in characters."""
    at = 0
    for _ in range(mark.line):
        at = source.text.find("\n", at) + 1
    return at + mark.column


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0
        self._open: set[int] = set()
        self._lines = [0]
        for match in re.finditer("\n", source.text):
            self._lines.append(match.end())
        self.places: dict[Path, Span] = {}

    def _span(self, node: yaml.Node) -> Span:
        start, end = node.start_mark, node.end_mark
        first = self._lines[min(start.line, len(self._lines) - 1)] + start.column
        last = self._lines[min(end.line, len(self._lines) - 1)] + end.column
        return self._source.span(first, max(last, first))

    def value(self, node: yaml.Node | None, path: Path, depth: int) -> Any:
        if node is None:
            return None
        self._nodes += 1
        span = self._span(node)
        self.places.setdefault(path, span)
        if self._nodes > _MOST_NODES or depth > _DEEPEST or id(node) in self._open:
            raise span.error("this is too large, too deep, or contains itself")
        self._open.add(id(node))
        try:
            found = self._plain(node, path, depth)
        finally:
            self._open.discard(id(node))
        if node.tag in ("!reset", "!override"):
            return Marked(node.tag, found)
        return found

    def _plain(self, node: yaml.Node, path: Path, depth: int) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, (*path, index), depth + 1) for index, each in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if node.style:  # quoted, or a block
            return text
        if _NULL.match(text):
            return None
        if _TRUTH.match(text):
            return text.lower() == "true"
        if _INT.match(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        return float(text) if _FLOAT.match(text) else text

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge" or (key_node.value == "<<" and not key_node.style):
                self._merge(value_node, path, depth, merged)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._span(key_node).error("a key is a plain text here")
            key = key_node.value
            if key in found:
                raise self._span(key_node).error(f"the key {key!r} is there twice")
            inner = (*path, key)
            self.places[inner] = self._span(key_node)
            found[key] = self.value(value_node, inner, depth + 1)
        return {**merged, **found}

    def _merge(self, node: yaml.Node, path: Path, depth: int, merged: dict[Any, Any]) -> None:
        """`<<: *base` or `<<: [*one, *two]`: of several, the earlier counts."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for each in nodes:
            if not isinstance(each, yaml.MappingNode):
                raise self._span(each).error("<< merges mappings only")
            for key, value in self.value(each, path, depth + 1).items():
                merged.setdefault(key, value)
