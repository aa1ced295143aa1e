"""Types of values: three primitives, three collections, tuples, objects, and `ANY` for what isn't known.

Specification: HCL's types (hashicorp/hcl, spec.md, "HCL User-Facing Data Types"); names as people read them in errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Primitive:
    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    element: Type


@dataclass(frozen=True, slots=True)
class SetOf:
    element: Type


@dataclass(frozen=True, slots=True)
class MapOf:
    element: Type


@dataclass(frozen=True, slots=True)
class TupleOf:
    elements: tuple[Type, ...]


@dataclass(frozen=True)
class ObjectOf:
    """`optional` names attributes that a value converted to this type may lack: they are null then."""

    attributes: Mapping[str, Type]
    optional: frozenset[str] = field(default=frozenset())

    def __hash__(self) -> int:
        return hash((frozenset(self.attributes.items()), self.optional))

    def without_optional(self) -> ObjectOf:
        return ObjectOf(self.attributes) if self.optional else self


@dataclass(frozen=True, slots=True)
class Any:
    """No type in particular: that of a bare `null`, and what a constraint that takes everything says."""


Type = Primitive | ListOf | SetOf | MapOf | TupleOf | ObjectOf | Any

STRING = Primitive("string")
NUMBER = Primitive("number")
BOOL = Primitive("bool")
ANY = Any()
Collection = ListOf | SetOf | MapOf


def friendly(type: Type) -> str:
    """The type in an error: nested types of tuples and objects are left out."""
    match type:
        case Primitive():
            return type.name
        case ListOf():
            return f"list of {friendly(type.element)}"
        case SetOf():
            return f"set of {friendly(type.element)}"
        case MapOf():
            return f"map of {friendly(type.element)}"
        case TupleOf():
            return "tuple"
        case ObjectOf():
            return "object"
        case Any():
            return "any type"
