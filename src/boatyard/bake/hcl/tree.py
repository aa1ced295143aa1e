"""The tree of a parsed file: bodies of attributes and blocks, expressions below them.

Every expression knows its place. `Bare` stands for the item in a splat.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boatyard.bake.source import Source, Span
from boatyard.bake.values.value import Value


class Literal(msgspec.Struct, frozen=True):
    value: Value
    span: Span


class Attribute(msgspec.Struct, frozen=True):
    """`.name`."""

    name: str
    span: Span


class Index(msgspec.Struct, frozen=True):
    """`[key]` or `.0`, the key known."""

    key: Value
    span: Span


Step = Attribute | Index


class Reference(msgspec.Struct, frozen=True):
    """A variable, and the steps into it."""

    name: str
    steps: tuple[Step, ...]
    span: Span
    root: Span


class Access(msgspec.Struct, frozen=True):
    """Steps into what another expression gives."""

    source: Expression
    steps: tuple[Step, ...]
    span: Span


class Lookup(msgspec.Struct, frozen=True):
    """`collection[key]`, the key an expression."""

    collection: Expression
    key: Expression
    span: Span
    bracket: Span


class Splat(msgspec.Struct, frozen=True):
    source: Expression
    each: Expression
    span: Span
    marker: Span


class Bare(msgspec.Struct, frozen=True):
    span: Span


class Call(msgspec.Struct, frozen=True):
    name: str
    arguments: tuple[Expression, ...]
    expanded: bool
    """The last argument stands for all of its elements (`...`)."""
    span: Span
    name_span: Span


class Unary(msgspec.Struct, frozen=True):
    operator: str
    operand: Expression
    span: Span


class Binary(msgspec.Struct, frozen=True):
    operator: str
    left: Expression
    right: Expression
    span: Span


class Conditional(msgspec.Struct, frozen=True):
    condition: Expression
    yes: Expression
    no: Expression
    span: Span


class Parentheses(msgspec.Struct, frozen=True):
    inner: Expression
    span: Span


class Tuple(msgspec.Struct, frozen=True):
    elements: tuple[Expression, ...]
    span: Span


class Item(msgspec.Struct, frozen=True):
    """Of an object. A key that is a bare name means that name; `dynamic` says that it was in parentheses."""

    key: Expression
    value: Expression
    dynamic: bool = False


class Object(msgspec.Struct, frozen=True):
    items: tuple[Item, ...]
    span: Span


class For(msgspec.Struct, frozen=True):
    """`key` is None for a tuple. `names`: the value's, or the key's and the value's."""

    names: tuple[str, ...]
    collection: Expression
    key: Expression | None
    value: Expression
    condition: Expression | None
    grouped: bool
    span: Span


class Template(msgspec.Struct, frozen=True):
    """Parts that are joined as text."""

    parts: tuple[Expression, ...]
    span: Span


class Wrapped(msgspec.Struct, frozen=True):
    """A string that is nothing but one `${...}`: the value as it is."""

    inner: Expression
    span: Span


class Joined(msgspec.Struct, frozen=True):
    """A template's `%{for}`: the texts one after the other."""

    tuple: For
    span: Span


Expression = (
    Literal
    | Reference
    | Access
    | Lookup
    | Splat
    | Bare
    | Call
    | Unary
    | Binary
    | Conditional
    | Parentheses
    | Tuple
    | Object
    | For
    | Template
    | Wrapped
    | Joined
)


class Setting(msgspec.Struct, frozen=True):
    """An attribute of a body: `name = expression`."""

    name: str
    expression: Expression
    span: Span


class Block(msgspec.Struct, frozen=True):
    type: str
    labels: tuple[str, ...]
    body: Body
    span: Span
    """Its header."""
    label_spans: tuple[Span, ...] = ()


class Body(msgspec.Struct, frozen=True):
    settings: dict[str, Setting] = {}
    blocks: tuple[Block, ...] = ()


class File(msgspec.Struct, frozen=True):
    source: Source
    body: Body


def keyword(expression: Expression) -> str:
    """The name that an expression is, if it is nothing but a name; else ""."""
    if isinstance(expression, Reference) and not expression.steps:
        return expression.name
    if isinstance(expression, Literal) and expression.span.text in ("true", "false", "null"):
        return expression.span.text
    return ""


def text(expression: Expression) -> str | None:
    """The string that an expression is, without evaluating anything; None when it is none."""
    if isinstance(expression, Template) and all(isinstance(part, Literal) for part in expression.parts):
        return "".join(part.value.raw for part in expression.parts if isinstance(part, Literal))
    if isinstance(expression, Literal) and isinstance(expression.value.raw, str):
        return expression.value.raw
    return None


def children(expression: Expression) -> Iterator[Expression]:
    match expression:
        case Access() | Splat():
            yield expression.source
            if isinstance(expression, Splat):
                yield expression.each
        case Lookup():
            yield from (expression.collection, expression.key)
        case Call():
            yield from expression.arguments
        case Unary():
            yield expression.operand
        case Binary():
            yield from (expression.left, expression.right)
        case Conditional():
            yield from (expression.condition, expression.yes, expression.no)
        case Parentheses() | Wrapped():
            yield expression.inner
        case Tuple():
            yield from expression.elements
        case Object():
            for item in expression.items:
                if item.dynamic or not keyword(item.key):
                    yield item.key
                yield item.value
        case For():
            optional = (expression.key, expression.condition)
            yield from (expression.collection, expression.value, *(each for each in optional if each is not None))
        case Template():
            yield from expression.parts
        case Joined():
            yield expression.tuple
        case _:
            pass
