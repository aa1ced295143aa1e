"""Variables: their types, their defaults, what the environment says instead, and what they must satisfy.

Specification: docker/buildx, docs/bake-reference.md ("Variable").
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass

from boatyard.bake.definition import Variable
from boatyard.bake.entries import TRUTHS
from boatyard.bake.evaluate.evaluator import as_text, evaluate, truth
from boatyard.bake.evaluate.scope import Scope
from boatyard.bake.evaluate.typeexpr import type_of
from boatyard.bake.hcl.documents import as_native
from boatyard.bake.hcl.tree import Block, Body, Literal, Setting
from boatyard.bake.loading import schema
from boatyard.bake.source import Span, did_you_mean
from boatyard.bake.values import document
from boatyard.bake.values import number as numbers
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.type import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    Any,
    ListOf,
    MapOf,
    Primitive,
    SetOf,
    TupleOf,
    Type,
    friendly,
)
from boatyard.bake.values.value import NULL, Value, boolean, list_of, map_of, null, number, set_of, string, tuple_of

JSON_SUFFIX = "_JSON"

Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A `variable` block; of several by one name the last counts."""

    name: str
    span: Span
    body: Body

    @property
    def default(self) -> Setting | None:
        return self.body.settings.get("default")

    def type(self) -> Type | None:
        """None when it has none."""
        setting = self.body.settings.get("type")
        if setting is None or (isinstance(setting.expression, Literal) and setting.expression.value is NULL):
            return None
        return type_of(as_native(setting.expression))

    def description(self, scope: Scope) -> str:
        setting = self.body.settings.get("description")
        return "" if setting is None else as_text(evaluate(setting.expression, scope), setting.expression.span)


def declaration(block: Block) -> Declaration:
    if len(block.labels) != 1:
        raise block.span.error("a variable has one name", hint='write variable "NAME" { ... }')
    for name, setting in block.body.settings.items():
        if name not in schema.VARIABLE:
            hint = did_you_mean(name, schema.VARIABLE, otherwise=f"there are: {', '.join(schema.VARIABLE)}, validation")
            raise setting.span.error(f"a variable has no attribute {name!r}", hint=hint)
    for nested in block.body.blocks:
        if nested.type != "validation" or nested.labels:
            raise nested.span.error("in a variable there are only validation blocks", hint="write validation { ... }")
        for name in schema.VALIDATION:
            if name not in nested.body.settings:
                raise nested.span.error(f"a validation needs {name}")
        for name, setting in nested.body.settings.items():
            if name not in schema.VALIDATION:
                raise setting.span.error(f"a validation has no attribute {name!r}")
    return Declaration(block.labels[0], block.span, block.body)


def resolve(declared: Declaration, scope: Scope, lookup: Lookup, taken: Callable[[str], bool]) -> Value:
    """The value: what the environment says, else the default. `taken` tells whether a name is a variable's: then
    NAME_JSON of the environment is not this one's."""
    type = declared.type()
    default = declared.default
    value = null(type) if type is not None else string("")
    if default is not None:
        value = evaluate(default.expression, scope)
        if type is not None:
            try:
                value = convert(value, type)
            except ConversionError as error:
                raise default.expression.span.error(
                    f"invalid type for the default value of {declared.name}: {error}"
                ) from None
    text, as_json = _given(declared.name, lookup, taken, prefer_json=type is not None)
    if text is None:
        return value
    return override(declared.name, declared.span, text, as_json, type, value, has_default=default is not None)


def _given(name: str, lookup: Lookup, taken: Callable[[str], bool], *, prefer_json: bool) -> tuple[str | None, bool]:
    text = lookup(name)
    if (text is None or prefer_json) and not taken(name + JSON_SUFFIX):
        document = lookup(name + JSON_SUFFIX)
        if document is not None:
            return document, True
    return text, False


def override(
    name: str, span: Span, text: str, as_json: bool, type: Type | None, value: Value, *, has_default: bool
) -> Value:
    """The value that a text of the environment means."""
    try:
        if type is not None:
            return document.decode_as(text, type) if as_json else _typed(text, type)
        if not has_default or isinstance(value.type, Any):
            return string(text)
        if isinstance(value.type, Primitive):
            return _primitive(text, value.type)
    except ValueError as error:
        raise span.error(
            f"the variable {name} can't take this{' JSON' if as_json else ''} from outside: {error}"
        ) from None
    raise span.error(
        f"{name} can't be set from outside: unsupported type {friendly(value.type)}",
        hint="give the variable a type, as in type = list(string)",
    )


def _typed(text: str, type: Type) -> Value:
    """ValueError when it isn't of the type."""
    match type:
        case Primitive():
            return _primitive(text, type)
        case Any():
            return string(text)
        case ListOf(Primitive()):
            return list_of(type.element, (_primitive(each, type.element) for each in _csv(text)))
        case SetOf(Primitive()):
            return set_of(type.element, (_primitive(each, type.element) for each in _csv(text)))
        case MapOf(Primitive()):
            return map_of(type.element, dict(_pair(each, type.element) for each in _csv(text)))
        case TupleOf() if all(isinstance(each, Primitive) for each in type.elements):
            parts = _csv(text)
            if len(parts) != len(type.elements):
                raise ValueError(f"{len(type.elements)} elements are expected, not {len(parts)}")
            return tuple_of(_primitive(part, each) for part, each in zip(parts, type.elements, strict=True))
    raise ValueError(f"unsupported type {friendly(type)}: set it as JSON, with {JSON_SUFFIX} after its name")


def _csv(text: str, delimiter: str = ",") -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True, delimiter=delimiter))
    except csv.Error:
        raise ValueError(f"{text!r} is malformed") from None
    return rows[0] if rows and rows[0] else [""]


def _pair(text: str, element: Type) -> tuple[str, Value]:
    parts = _csv(text, ":")
    if len(parts) != 2:
        raise ValueError(f"{text!r} is not key:value")
    return parts[0], _primitive(parts[1], element)


def _primitive(text: str, type: Type) -> Value:
    if type == STRING:
        return string(text)
    if type == BOOL:
        if text not in TRUTHS:
            raise ValueError(f"{text!r} is neither true nor false")
        return boolean(TRUTHS[text])
    assert type == NUMBER
    try:
        return number(numbers.parse(text))
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def validate(declared: Declaration, scope: Scope) -> None:
    for block in declared.body.blocks:
        condition = block.body.settings["condition"].expression
        message = block.body.settings["error_message"].expression
        if not truth(evaluate(condition, scope), condition.span):
            raise condition.span.error(
                f"the value of {declared.name} is refused: {as_text(evaluate(message, scope), message.span)}"
            )


def listed(declared: Declaration, value: Value, scope: Scope) -> Variable:
    """For `--list`."""
    type = declared.type()
    return Variable(
        name=declared.name,
        type="" if type is None else _constraint(type),
        value=None if value.null else _shown(value),
        description=declared.description(scope),
    )


def _constraint(type: Type) -> str:
    return "any" if type == ANY else friendly(type)


def _shown(value: Value) -> str:
    if isinstance(value.type, Primitive):
        return str(convert(value, STRING).raw)
    return document.encode(value)
