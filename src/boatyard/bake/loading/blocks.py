"""Targets and groups as blocks: named, multiplied by their matrix, with attributes that are evaluated when somebody
wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any as Anything

from boatyard.bake.definition import NAME, Group, Target
from boatyard.bake.evaluate.evaluator import as_text, evaluate
from boatyard.bake.evaluate.scope import Local, Scope
from boatyard.bake.hcl.tree import Block
from boatyard.bake.loading import schema
from boatyard.bake.source import Span, did_you_mean
from boatyard.bake.values.type import ListOf, SetOf, TupleOf
from boatyard.bake.values.value import Value


@dataclass(slots=True)
class Instance:
    """One target or group that a block makes. `block` is shared by all of its matrix; `scope` has the matrix's
    variables."""

    block: Block
    name: str
    scope: Scope
    _values: dict[str, Value] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)

    @property
    def kinds(self) -> Mapping[str, schema.Kind]:
        return schema.TARGET if self.block.type == "target" else schema.GROUP

    def has(self, attribute: str) -> bool:
        return attribute in self.block.body.settings

    def value(self, attribute: str, asker: Span) -> Value:
        """As it was written. DefinitionError at `asker` when it depends on itself."""
        if attribute not in self._values:
            if attribute in self._running:
                raise asker.error(f"{self.block.type}.{self.name}.{attribute} refers to itself, in a circle")
            self._running.add(attribute)
            try:
                self._values[attribute] = evaluate(self.block.body.settings[attribute].expression, self.scope)
            finally:
                self._running.discard(attribute)
        return self._values[attribute]

    def shown(self, attribute: str, asker: Span) -> Value:
        """What a reference to an attribute that it has means."""
        span = self.block.body.settings[attribute].expression.span
        return schema.show(self.kinds[attribute], attribute, self.value(attribute, asker), span)

    def made(self) -> Target | Group:
        """Without what nobody has said."""
        found: dict[str, Anything] = {}
        for name, setting in self.block.body.settings.items():
            if name in self.kinds:
                span = setting.expression.span
                taken = schema.take(self.kinds[name], name, self.value(name, span), span)
                if taken is not None:
                    found[name.replace("-", "_")] = taken
        kind = Target if self.block.type == "target" else Group
        return kind(name=self.name, span=self.block.span, **found)


def check(block: Block) -> None:
    """DefinitionError for what a block can't have."""
    if len(block.labels) != 1:
        label = f'{block.type} "NAME" {{ ... }}'
        raise block.span.error(f"a {block.type} has one name, not {len(block.labels)}", hint=f"write {label}")
    if block.type == "target":
        known, allowed = tuple(schema.TARGET), (*schema.TARGET, *schema.MATRIX)
    else:
        known = allowed = tuple(schema.GROUP)
    for name, setting in block.body.settings.items():
        if name in schema.MATRIX and block.type == "group":
            raise setting.span.error(f"{name} is not supported for groups")
        if name not in allowed:
            raise setting.span.error(
                f"a {block.type} has no attribute {name!r}",
                hint=did_you_mean(name, known, otherwise=f"there are: {', '.join(sorted(allowed))}"),
            )
    if block.type == "group" and "targets" not in block.body.settings:
        raise block.span.error("a group needs targets", hint='write targets = ["NAME", ...]')
    for nested in block.body.blocks:
        hint = f"write {nested.type} = ..." if nested.type in known else None
        raise nested.span.error(f"a {block.type} has no blocks in it", hint=hint)
    if "name" in block.body.settings and "matrix" not in block.body.settings:
        raise block.body.settings["name"].span.error("name needs a matrix", hint="a target is named by its label")


def instances(block: Block, scope: Scope) -> Iterator[Instance]:
    check(block)
    (label,), (span,) = block.labels, block.label_spans
    check_name(label, span)
    if "matrix" not in block.body.settings:
        yield Instance(block, label, scope)
        return
    seen: set[str] = set()
    for variables in _combinations(block, scope):
        local = Local(scope, variables)
        name = label
        if setting := block.body.settings.get("name"):
            at = setting.expression.span
            name = as_text(evaluate(setting.expression, local), at)
            check_name(name, at)
        if name in seen:
            at = block.body.settings["matrix"].span
            hint = "give each its own name, with the matrix's variables in it: name = ..."
            raise at.error(f"two targets of this matrix are called {name!r}", hint=hint)
        seen.add(name)
        yield Instance(block, name, local)


def check_name(name: str, span: Span) -> None:
    if not NAME.fullmatch(name):
        hint = "sanitize() makes a name of any text" if name else None
        raise span.error(f"invalid name {name!r}: names have letters, digits, - and _", hint=hint)


def _combinations(block: Block, scope: Scope) -> list[dict[str, Value]]:
    """The last axis by name goes round slowest, as buildx orders them: each axis multiplies what is there."""
    setting = block.body.settings["matrix"]
    span = setting.expression.span
    matrix = evaluate(setting.expression, scope)
    if matrix.null or not matrix.keyed:
        raise span.error("a matrix is an object of lists", hint='write matrix = { name = ["a", "b"] }')
    found: list[dict[str, Value]] = [{}]
    for name, values in matrix.raw.items():
        if values.null or not isinstance(values.type, ListOf | TupleOf | SetOf):
            raise span.error(f"the values of {name!r} in a matrix are a list")
        found = [{**each, name: value} for value in values.elements() for each in found]
    return found
