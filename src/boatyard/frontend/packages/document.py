"""A YAML document whose every value knows its lines.

Knows YAML and places; knows nothing of images. Anchors and aliases are YAML's own and work; what a document may hold is
its reader's affair.

Specification: YAML 1.1, as PyYAML reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import yaml

from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.errors import FrontendError
from boatyard.frontend.place import Place, SourceFile

LARGEST = 1 << 20
"""Bytes. Nobody writes a longer one by hand."""


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar as it was written, with its place."""

    value: str
    at: Place

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Value:
    """A node of the document. `name` is how errors call it."""

    node: yaml.Node
    file: SourceFile
    name: str

    @property
    def at(self) -> Place:
        """Its lines. The end mark of a block stands where the next thing begins: what is blank before that isn't
        its."""
        lines = self.file.text.split("\n")
        start, mark = self.node.start_mark.line, self.node.end_mark
        end = mark.line if mark.line < len(lines) and lines[mark.line][: mark.column].strip() else mark.line - 1
        while end > start and (not lines[end].strip() or lines[end].lstrip().startswith("#")):
            end -= 1
        return self.file.place(start + 1, end + 1)

    def error(self, message: str, *, hint: str | None = None) -> FrontendError:
        return self.at.error(message, hint=hint)

    def text(self) -> Text:
        """A single value; a number or `true` is what is written there."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag == "tag:yaml.org,2002:null":
            raise self.error(f"{self.name} is {_kind(self.node)}, and has to be a text")
        return Text(self.node.value, self.at)

    def texts(self) -> tuple[Text, ...]:
        """A list of single values; one alone stands for a list of one."""
        if isinstance(self.node, yaml.ScalarNode):
            return (self.text(),)
        return tuple(item.text() for item in self.items())

    def items(self) -> Iterator[Value]:
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"{self.name} is {_kind(self.node)}, and has to be a list")
        for number, node in enumerate(self.node.value, 1):
            yield Value(node, self.file, f"item {number} of {self.name}")

    def fields(self, known: Collection[str] | None = None) -> dict[str, Value]:
        """By key; only those of `known`, where it is given."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"{self.name} is {_kind(self.node)}, and has to be a mapping, as in `key: value`")
        found: dict[str, Value] = {}
        for key_node, node in self.node.value:
            key = Value(key_node, self.file, f"a key of {self.name}").text()
            if known is not None and key.value not in known:
                raise key.at.error(
                    f"{self.name} has no key {key.value!r}{did_you_mean(key.value, known)}",
                    hint=f"its keys are {', '.join(known)}",
                )
            if key.value in found:
                raise key.at.error(f"{key.value!r} is given twice in {self.name}")
            found[key.value] = Value(node, self.file, key.value)
        return found

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)


def parse(file: SourceFile) -> Value:
    """The whole document. FrontendError, with its place, when it is no YAML."""
    if len(file.text) > LARGEST:
        raise FrontendError(f"{file.name} is larger than {LARGEST >> 20} MiB", hint="is it the right file?")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(file.text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = file.place(mark.line + 1) if mark is not None else file.whole
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise place.error(f"{file.name} is no YAML: {what}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise file.whole.error(f"{file.name} is no YAML: {error}") from error
    if node is None:
        raise FrontendError(
            f"{file.name} is empty", hint="it needs at least a base, as in `base: debian:bookworm-slim`"
        )
    return Value(node, file, file.name)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if node.tag == "tag:yaml.org,2002:null" else "a text"
