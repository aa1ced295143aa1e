"""Attributes and indexes: from a value to a part of it.

Specification: hclsyntax/spec.md, "Index Operator", "Attribute Access Operator".
"""

from __future__ import annotations

from boatyard.bake.hcl.tree import Attribute, Index, Step
from boatyard.bake.source import Span, did_you_mean
from boatyard.bake.values import number as numbers
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.type import NUMBER, STRING, ListOf, MapOf, ObjectOf, SetOf, TupleOf, friendly
from boatyard.bake.values.value import Value


def step(value: Value, step: Step) -> Value:
    return attribute(value, step) if isinstance(step, Attribute) else index(value, step.key, step.span)


def attribute(value: Value, step: Attribute) -> Value:
    if value.null:
        raise step.span.error(f"null has no attribute {step.name!r}")
    if value.keyed:
        if step.name in value.raw:
            found: Value = value.raw[step.name]
            return found
        what = "map has no element" if isinstance(value.type, MapOf) else "object has no attribute"
        raise step.span.error(f"this {what} {step.name!r}", hint=did_you_mean(step.name, value.raw))
    if isinstance(value.type, ListOf | TupleOf | SetOf):
        raise step.span.error(
            f"a {friendly(value.type)} has no attributes", hint=f"take one element, [0], or of each: [*].{step.name}"
        )
    raise step.span.error(f"a {friendly(value.type)} has no attributes")


def index(value: Value, key: Value, span: Span) -> Value:
    if value.null:
        raise span.error("null has no elements")
    if key.null:
        raise span.error("null is no index")
    if value.sequence:
        return _numbered(value, key, span)
    if value.keyed:
        return _named(value, key, span)
    if isinstance(value.type, SetOf):
        raise span.error("a set has no order: its elements have no index", hint="sort() makes a list of one")
    raise span.error(f"a {friendly(value.type)} has no elements")


def _numbered(value: Value, key: Value, span: Span) -> Value:
    try:
        position = convert(key, NUMBER).raw
    except ConversionError as error:
        raise span.error(f"this is no index of a {friendly(value.type)}: {error}") from None
    if not isinstance(position, int):
        raise span.error(f"an index is a whole number, not {numbers.text(position)}", hint="floor() makes one")
    if position < 0:
        raise span.error("an index is not negative")
    if position >= len(value):
        many = f"{len(value)} element{'s' if len(value) != 1 else ''}"
        raise span.error(f"there is no element {position}: there are {many}, counted from 0")
    found: Value = value.raw[position]
    return found


def _named(value: Value, key: Value, span: Span) -> Value:
    try:
        name = convert(key, STRING).raw
    except ConversionError as error:
        raise span.error(f"this is no index of a {friendly(value.type)}: {error}") from None
    if name in value.raw:
        found: Value = value.raw[name]
        return found
    kind = "object" if isinstance(value.type, ObjectOf) else "map"
    raise span.error(f"this {kind} has no element {name!r}", hint=did_you_mean(name, value.raw))


__all__ = ["Index", "attribute", "index", "step"]
