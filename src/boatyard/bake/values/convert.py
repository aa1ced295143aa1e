"""How a value of one type becomes one of another, and which type several can all become.

`convertible` tells by the types alone, as it must be told for a conditional's two results; `convert` does it, and fails
for what only the value shows ("abc" is no number).

Specification: zclconf/go-cty `cty/convert`: its "unsafe" conversions, the ones HCL makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key

from boatyard.bake.values import number as numbers
from boatyard.bake.values.type import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    Any,
    ListOf,
    MapOf,
    ObjectOf,
    Primitive,
    SetOf,
    TupleOf,
    Type,
    friendly,
)
from boatyard.bake.values.value import (
    FALSE,
    TRUE,
    Value,
    list_of,
    map_of,
    null,
    number,
    object_of,
    set_of,
    string,
    tuple_of,
)


class ConversionError(Exception):
    """A value isn't of the type that is wanted, and can't be made one. Turned into an error with a place by whoever
    knows the place."""


def convert(value: Value, type: Type) -> Value:
    """Raises ConversionError with what is wanted instead."""
    if value.type == type or isinstance(type, Any):
        return value
    if not convertible(value.type, type):
        raise ConversionError(_mismatch(value.type, type))
    if value.null:
        return null(_settled(value.type, type))
    match type:
        case Primitive():
            return _primitive(value, type)
        case ListOf():
            return _list(value, type)
        case SetOf():
            element = _element(value, type.element)
            return set_of(_bare(element), (_part(each, element) for each in value.elements()))
        case MapOf():
            return _map(value, type)
        case TupleOf():
            return tuple_of(_part(each, element) for each, element in zip(value.elements(), type.elements, strict=True))
        case ObjectOf():
            return _object(value, type)
    raise ConversionError(_mismatch(value.type, type))


def convertible(given: Type, wanted: Type, *, safe: bool = False) -> bool:
    """Whether values of a type can become another. `safe`: whether all of them can."""
    if given == wanted or isinstance(wanted, Any):
        return True
    if isinstance(given, Any):
        return not safe
    match given, wanted:
        case (Primitive(), Primitive()):
            return wanted == STRING or (given == STRING and not safe)
        case (ListOf() | SetOf(), ListOf()):
            return convertible(given.element, wanted.element, safe=safe)
        case (ListOf() | SetOf(), SetOf()):
            return not (safe and isinstance(given, ListOf)) and convertible(given.element, wanted.element, safe=safe)
        case (MapOf(), MapOf()):
            return convertible(given.element, wanted.element, safe=safe)
        case (TupleOf(), ListOf() | SetOf()):
            return _all_to_one(given.elements, wanted.element, safe)
        case (ObjectOf(), MapOf()):
            return _all_to_one(tuple(given.attributes.values()), wanted.element, safe)
        case (MapOf(), ObjectOf()):
            return not safe and all(
                name in wanted.optional or convertible(given.element, attribute)
                for name, attribute in wanted.attributes.items()
            )
        case (TupleOf(), TupleOf()):
            return len(given.elements) == len(wanted.elements) and all(
                convertible(one, other, safe=safe) for one, other in zip(given.elements, wanted.elements, strict=True)
            )
        case (ObjectOf(), ObjectOf()):
            return all(
                convertible(given.attributes[name], attribute, safe=safe)
                if name in given.attributes
                else name in wanted.optional
                for name, attribute in wanted.attributes.items()
            )
        case _:
            return False


def unify(types: Sequence[Type]) -> Type | None:
    """A type that values of all these types can become, or None."""
    if not types:
        return None
    kinds = {type(each) for each in types}
    open = Any in kinds
    kinds.discard(Any)
    for collection, structure in ((MapOf, ObjectOf), (ListOf, TupleOf)):
        if collection in kinds and kinds <= {collection, structure}:
            if len(kinds) == 1:
                return _unified_collections(collection, types, open)
            if (found := _unified_mixture(collection, structure, types)) is not None:
                return found
    if kinds == {SetOf}:
        return _unified_collections(SetOf, types, open)
    if kinds == {ObjectOf}:
        return ANY if open else _unified_objects([each for each in types if isinstance(each, ObjectOf)])
    if kinds == {TupleOf}:
        return ANY if open else _unified_tuples([each for each in types if isinstance(each, TupleOf)])
    if kinds >= {ObjectOf, TupleOf}:
        return None
    for wanted in sorted(types, key=cmp_to_key(_generality)):
        if all(convertible(given, wanted) for given in types):
            return wanted
    return None


# -- the parts of a conversion ---------------------------------------------------------------------------------------


def _primitive(value: Value, type: Primitive) -> Value:
    if type == STRING:
        return string(numbers.text(value.raw)) if value.type == NUMBER else string("true" if value.raw else "false")
    if type == NUMBER:
        try:
            return number(numbers.parse(value.raw))
        except ValueError as error:
            raise ConversionError(str(error)) from None
    text = value.raw
    if text in ("true", "1"):
        return TRUE
    if text in ("false", "0"):
        return FALSE
    case = f'; to convert from string, use lowercase "{text.lower()}"' if text.lower() in ("true", "false") else ""
    raise ConversionError(f"a bool is required{case}")


def _list(value: Value, type: ListOf) -> Value:
    element = _element(value, type.element)
    parts = [_part(each, element) for each in value.elements()]
    return list_of(_bare(element), _alike(parts, "list"))


def _map(value: Value, type: MapOf) -> Value:
    element = _element(value, type.element)
    parts = {key: _part(each, element) for key, each in value.raw.items()}
    return map_of(_bare(element), dict(zip(parts, _alike(list(parts.values()), "map"), strict=True)))


def _object(value: Value, type: ObjectOf) -> Value:
    attributes = {}
    for name, wanted in type.attributes.items():
        if name in value.raw:
            attributes[name] = _part(value.raw[name], wanted)
        elif name in type.optional:
            attributes[name] = null(_bare(wanted))
        else:
            raise ConversionError(f'map has no element for required attribute "{name}"')
    return object_of(attributes)


def _part(value: Value, type: Type) -> Value:
    if value.null and isinstance(value.type, Any):
        return null(_bare(type))
    return convert(value, type)


def _element(value: Value, wanted: Type) -> Type:
    """The element type of a collection made of `value`; an open one is that of what is in it."""
    if not isinstance(wanted, Any):
        return wanted
    if isinstance(value.type, ListOf | SetOf | MapOf):
        return value.type.element
    return _common([each.type for each in value.elements()]) or ANY


def _common(types: Iterable[Type]) -> Type | None:
    """What elements of these types can all become; nulls become anything."""
    known = [each for each in types if not isinstance(each, Any)]
    return unify(known) if known else ANY


def _alike(parts: Sequence[Value], kind: str) -> Sequence[Value]:
    """Optional attributes and open types may have come out different: elements of a collection are of one type."""
    if len({part.type for part in parts}) < 2:
        return parts
    common = unify([part.type for part in parts])
    if common is None or isinstance(common, Any):
        raise ConversionError(f"element types must all match for conversion to {kind}")
    return [_part(part, common) for part in parts]


def _bare(type: Type) -> Type:
    return type.without_optional() if isinstance(type, ObjectOf) else type


def _settled(given: Type, wanted: Type) -> Type:
    """The type of a null value after its conversion: what is left open is filled in from what it had."""
    match given, wanted:
        case (_, Any()):
            return given
        case (ListOf() | SetOf() | MapOf(), ListOf() | SetOf() | MapOf()):
            return type(wanted)(_settled(given.element, wanted.element))
        case _:
            return _bare(wanted)


def _all_to_one(types: Sequence[Type], wanted: Type, safe: bool) -> bool:
    if not types:
        return True
    if isinstance(wanted, Any):
        common = _common(types)
        if common is None:
            return False
        wanted = common
    return all(convertible(each, wanted, safe=safe) for each in types)


def _mismatch(given: Type, wanted: Type) -> str:
    """What is wanted, and for structures which part of them is the problem."""
    match given, wanted:
        case (ObjectOf(), ObjectOf()):
            for name, attribute in sorted(wanted.attributes.items()):
                if name not in given.attributes:
                    if name not in wanted.optional:
                        return f'attribute "{name}" is required'
                elif not convertible(given.attributes[name], attribute):
                    return f'attribute "{name}": {_mismatch(given.attributes[name], attribute)}'
        case (TupleOf(), TupleOf()) if len(given.elements) == len(wanted.elements):
            for index, (one, other) in enumerate(zip(given.elements, wanted.elements, strict=True)):
                if not convertible(one, other):
                    return f"element {index}: {_mismatch(one, other)}"
        case (TupleOf(), TupleOf()):
            return f"tuple of length {len(wanted.elements)} required"
        case (TupleOf(), ListOf() | SetOf()) if not isinstance(wanted.element, Any):
            for index, one in enumerate(given.elements):
                if not convertible(one, wanted.element):
                    return f"element {index}: {_mismatch(one, wanted.element)}"
        case (ObjectOf(), MapOf()) if not isinstance(wanted.element, Any):
            for name, attribute in sorted(given.attributes.items()):
                if not convertible(attribute, wanted.element):
                    return f'element "{name}": {_mismatch(attribute, wanted.element)}'
        case (TupleOf() | ObjectOf(), ListOf() | SetOf() | MapOf()) if isinstance(wanted.element, Any):
            return "all elements must have the same type"
    return f"{friendly(wanted)} required"


# -- the parts of a unification --------------------------------------------------------------------------------------


def _unified_collections(kind: Callable[[Type], Type], types: Sequence[Type], open: bool) -> Type | None:
    if open:
        return ANY
    element = unify([each.element for each in types if isinstance(each, ListOf | SetOf | MapOf)])
    return None if element is None else kind(element)


def _unified_mixture(collection: type, structure: type, types: Sequence[Type]) -> Type | None:
    """Lists and tuples become a list, maps and objects a map, when their elements agree."""
    parts: list[Type] = []
    for each in types:
        if isinstance(each, TupleOf):
            parts.extend(each.elements)
        elif isinstance(each, ObjectOf):
            parts.extend(each.attributes.values())
    if any(isinstance(each, Any) for each in types):
        return ANY
    element = unify([each.element for each in types if isinstance(each, ListOf | MapOf)] + parts)
    return None if element is None else collection(element)


def _unified_objects(types: Sequence[ObjectOf]) -> Type | None:
    names = set(types[0].attributes)
    if all(set(each.attributes) == names for each in types):
        attributes: dict[str, Type] = {}
        for name in sorted(names):
            common = unify([each.attributes[name] for each in types])
            if common is None:
                return None
            attributes[name] = common
        return ObjectOf(attributes)
    element = unify([attribute for each in types for attribute in each.attributes.values()])
    return None if element is None else MapOf(element)


def _unified_tuples(types: Sequence[TupleOf]) -> Type | None:
    length = len(types[0].elements)
    if all(len(each.elements) == length for each in types):
        elements: list[Type] = []
        for index in range(length):
            common = unify([each.elements[index] for each in types])
            if common is None:
                return None
            elements.append(common)
        return TupleOf(tuple(elements))
    element = unify([element for each in types for element in each.elements])
    return None if element is None else ListOf(element)


def _generality(one: Type, other: Type) -> int:
    """Negative when `one` is the more general of two types: what both should become."""
    ranks = (ANY, STRING, NUMBER, BOOL)
    if one in ranks and other in ranks:
        rank = {ANY: 0, STRING: 1}
        return rank.get(one, 2) - rank.get(other, 2)
    return 0
