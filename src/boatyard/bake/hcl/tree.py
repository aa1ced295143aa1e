"""The tree of a parsed file: bodies of attributes and blocks, expressions below them.

Every expression knows its place. `Bare` stands for the item in a splat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from boatyard.bake.source import Source, Span
from boatyard.bake.values.value import Value


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`.name`."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`[key]` or `.0`, the key known."""

    key: Value
    span: Span


Step = Attribute | Index


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable, and the steps into it."""

    name: str
    steps: tuple[Step, ...]
    span: Span
    root: Span


@dataclass(frozen=True, slots=True)
class Access:
    """Steps into what another expression gives."""

    source: Expression
    steps: tuple[Step, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Lookup:
    """`collection[key]`, the key an expression."""

    collection: Expression
    key: Expression
    span: Span
    bracket: Span


@dataclass(frozen=True, slots=True)
class Splat:
    source: Expression
    each: Expression
    span: Span
    marker: Span


@dataclass(frozen=True, slots=True)
class Bare:
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Expression, ...]
    expanded: bool
    """The last argument stands for all of its elements (`...`)."""
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Conditional:
    condition: Expression
    yes: Expression
    no: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Parentheses:
    inner: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Tuple:
    elements: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Item:
    """Of an object. A key that is a bare name means that name; `dynamic` says that it was in parentheses."""

    key: Expression
    value: Expression
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    """`key` is None for a tuple. `names`: the value's, or the key's and the value's."""

    names: tuple[str, ...]
    collection: Expression
    key: Expression | None
    value: Expression
    condition: Expression | None
    grouped: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Template:
    """Parts that are joined as text. `plain`: a quoted or bare string of no more than one literal."""

    parts: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A string that is nothing but one `${...}`: the value as it is."""

    inner: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Joined:
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


@dataclass(frozen=True, slots=True)
class Setting:
    """An attribute of a body: `name = expression`."""

    name: str
    expression: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    type: str
    labels: tuple[str, ...]
    body: Body
    span: Span
    """Its header."""
    label_spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    settings: dict[str, Setting] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
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
