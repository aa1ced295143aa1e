"""Values: a type, and the Python object that holds what it is.

    string str · number int or Fraction · bool bool · list, set, tuple: tuple of values · map, object: dict of values

Sets are kept sorted and without duplicates, maps and objects sorted by key: iteration has one order. Strings are in
Unicode's normal form C. A null value's object is None, whatever its type.

Specification: zclconf/go-cty.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any as Anything

from boatyard.bake.values.number import Number, rounded
from boatyard.bake.values.type import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    Any,
    ListOf,
    MapOf,
    ObjectOf,
    SetOf,
    TupleOf,
    Type,
)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """Immutable. Equal to another when type and content are."""

    type: Type
    raw: Anything

    @property
    def null(self) -> bool:
        return self.raw is None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.type == other.type and self.raw == other.raw

    def __hash__(self) -> int:
        raw = tuple(self.raw.items()) if isinstance(self.raw, dict) else self.raw
        return hash((self.type, raw))

    @property
    def iterable(self) -> bool:
        return isinstance(self.type, ListOf | SetOf | MapOf | TupleOf | ObjectOf)

    @property
    def sequence(self) -> bool:
        """Whether elements are found by their number: a list or a tuple."""
        return isinstance(self.type, ListOf | TupleOf)

    @property
    def keyed(self) -> bool:
        """Whether elements are found by a name: a map or an object."""
        return isinstance(self.type, MapOf | ObjectOf)

    def items(self) -> Iterator[tuple[Value, Value]]:
        """Keys and elements in order; elements of a set are their own keys."""
        if self.keyed:
            yield from ((string(key), element) for key, element in self.raw.items())
        elif isinstance(self.type, SetOf):
            yield from ((element, element) for element in self.raw)
        else:
            yield from ((number(index), element) for index, element in enumerate(self.raw))

    def elements(self) -> Sequence[Value]:
        return tuple(self.raw.values()) if self.keyed else tuple(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


NULL = Value(ANY, None)
TRUE = Value(BOOL, True)
FALSE = Value(BOOL, False)


def string(text: str) -> Value:
    return Value(STRING, text if text.isascii() else unicodedata.normalize("NFC", text))


def number(value: Number) -> Value:
    return Value(NUMBER, rounded(value))


def boolean(value: bool) -> Value:
    return TRUE if value else FALSE


def null(type: Type) -> Value:
    return Value(type, None)


def list_of(element: Type, elements: Iterable[Value]) -> Value:
    """`element` counts only when there are no elements."""
    found = tuple(elements)
    return Value(ListOf(found[0].type if found else element), found)


def set_of(element: Type, elements: Iterable[Value]) -> Value:
    found = tuple(sorted(dict.fromkeys(elements), key=order))
    return Value(SetOf(found[0].type if found else element), found)


def map_of(element: Type, elements: Mapping[str, Value]) -> Value:
    found = dict(sorted(elements.items()))
    return Value(MapOf(next(iter(found.values())).type if found else element), found)


def tuple_of(elements: Iterable[Value]) -> Value:
    found = tuple(elements)
    return Value(TupleOf(tuple(element.type for element in found)), found)


def object_of(attributes: Mapping[str, Value]) -> Value:
    found = dict(sorted(attributes.items()))
    return Value(ObjectOf({name: value.type for name, value in found.items()}), found)


def strings(texts: Iterable[str]) -> Value:
    return list_of(STRING, map(string, texts))


def order(value: Value) -> tuple[Anything, ...]:
    """A sort key for elements of one set: numbers by size, strings by their characters, the rest by what is in it."""
    if value.raw is None:
        return (1,)
    if isinstance(value.raw, dict):
        return (0, *((key, order(element)) for key, element in value.raw.items()))
    if isinstance(value.raw, tuple):
        return (0, *(order(element) for element in value.raw))
    return (0, value.raw)


def known(type: Type) -> bool:
    """Whether nothing in a type is left open."""
    match type:
        case Any():
            return False
        case ListOf() | SetOf() | MapOf():
            return known(type.element)
        case TupleOf():
            return all(map(known, type.elements))
        case ObjectOf():
            return all(map(known, type.attributes.values()))
        case _:
            return True
