"""Values as JSON and back.

Specification: zclconf/go-cty `cty/json`, and Go's encoding/json for how strings are written: `<`, `>` and `&` are
escaped.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any as Anything

from boatyard.bake.values import number as numbers
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.type import Any, ListOf, MapOf, ObjectOf, Primitive, SetOf, TupleOf, Type, friendly
from boatyard.bake.values.value import (
    NULL,
    Value,
    boolean,
    list_of,
    map_of,
    null,
    number,
    object_of,
    set_of,
    string,
    tuple_of,
)

_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def encode(value: Value) -> str:
    """One line without blanks, keys sorted."""
    if value.null:
        return "null"
    if isinstance(value.raw, dict):
        return "{" + ",".join(f"{_text(key)}:{encode(each)}" for key, each in value.raw.items()) + "}"
    if isinstance(value.raw, tuple):
        return "[" + ",".join(map(encode, value.raw)) + "]"
    if isinstance(value.raw, bool):
        return "true" if value.raw else "false"
    return _text(value.raw) if isinstance(value.raw, str) else numbers.text(value.raw)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)


def decode(text: str) -> Value:
    """What a JSON document says: arrays are tuples, objects are objects. ValueError when it is malformed."""
    return _implied(_parsed(text))


def decode_as(text: str, type: Type) -> Value:
    """A JSON document of this type, without any conversion but those JSON itself makes necessary; attributes that
    it doesn't have are null. ValueError otherwise."""
    return _typed(_parsed(text), type)


def _parsed(text: str) -> Anything:
    try:
        return json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _float(text: str) -> Fraction:
    return Fraction(numbers.parse(text))


def _int(text: str) -> int:
    return int(numbers.parse(text))


def _refuse(text: str) -> Anything:
    raise ValueError(f"{text} is no JSON")


def _implied(document: Anything) -> Value:
    match document:
        case None:
            return NULL
        case bool():
            return boolean(document)
        case str():
            return string(document)
        case list():
            return tuple_of(map(_implied, document))
        case dict():
            return object_of({key: _implied(each) for key, each in document.items()})
        case _:
            return number(document)


def _typed(document: Anything, type: Type) -> Value:
    if document is None:
        return null(type)
    match type:
        case Any():
            return _implied(document)
        case Primitive():
            given = _implied(document)
            if isinstance(given.type, Primitive):
                try:
                    return convert(given, type)
                except ConversionError as error:
                    raise ValueError(str(error)) from None
        case ListOf() if isinstance(document, list):
            return list_of(type.element, (_typed(each, type.element) for each in document))
        case SetOf() if isinstance(document, list):
            return set_of(type.element, (_typed(each, type.element) for each in document))
        case MapOf() if isinstance(document, dict):
            return map_of(type.element, {key: _typed(each, type.element) for key, each in document.items()})
        case TupleOf() if isinstance(document, list):
            if len(document) != len(type.elements):
                raise ValueError(f"a tuple of length {len(type.elements)} is required")
            return tuple_of(_typed(each, element) for each, element in zip(document, type.elements, strict=True))
        case ObjectOf() if isinstance(document, dict):
            return _typed_object(document, type)
    raise ValueError(f"{friendly(type)} required")


def _typed_object(document: dict[str, Anything], type: ObjectOf) -> Value:
    for name in document:
        if name not in type.attributes:
            raise ValueError(f'unsupported attribute "{name}"')
    return object_of({name: _typed(document.get(name), each) for name, each in type.attributes.items()})
