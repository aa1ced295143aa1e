"""Functions of lists, tuples, maps and objects."""

from __future__ import annotations

from collections.abc import Mapping

from boatyard.bake.functions.arithmetic import whole
from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.convert import ConversionError, convert, unify
from boatyard.bake.values.type import (
    ANY,
    NUMBER,
    STRING,
    ListOf,
    MapOf,
    ObjectOf,
    SetOf,
    TupleOf,
    Type,
    friendly,
)
from boatyard.bake.values.value import (
    Value,
    boolean,
    list_of,
    map_of,
    number,
    object_of,
    string,
    strings,
    tuple_of,
)

MOST = 1024
"""`range` makes no more numbers than these."""


def equal(left: Value, right: Value) -> bool:
    if left.null or right.null:
        return left.null and right.null
    return left == right


def _element_type(value: Value) -> Type:
    return value.type.element if isinstance(value.type, ListOf | SetOf | MapOf) else ANY


def _like(value: Value, elements: tuple[Value, ...]) -> Value:
    """A list of a list's elements, a tuple of a tuple's."""
    return tuple_of(elements) if isinstance(value.type, TupleOf) else list_of(_element_type(value), elements)


def _require_sequence(value: Value, argument: int = 0) -> None:
    if not value.sequence:
        raise CallError(f"a list or a tuple is required, not {friendly(value.type)}", argument)


def _length(value: Value) -> Value:
    if not isinstance(value.type, ListOf | SetOf | MapOf | TupleOf):
        raise CallError(f"a list, a set, a map or a tuple is required, not {friendly(value.type)}", 0)
    return number(len(value))


def _element(value: Value, index: Value) -> Value:
    _require_sequence(value)
    if not len(value):
        raise CallError("an empty list has no elements", 0)
    return value.elements()[whole(index, 1) % len(value)]


def _has_index(value: Value, key: Value) -> Value:
    if value.sequence:
        return boolean(key.type == NUMBER and isinstance(key.raw, int) and 0 <= key.raw < len(value))
    if isinstance(value.type, MapOf):
        return boolean(key.type == STRING and key.raw in value.raw)
    raise CallError("a list, a map or a tuple is required", 0)


def _index(value: Value, key: Value) -> Value:
    if isinstance(value.type, ObjectOf) or not _has_index(value, key).raw:
        raise CallError("a list, a map or a tuple is required" if value.keyed else "there is no such element")
    found: Value = value.raw[key.raw]
    return found


def _index_of(value: Value, wanted: Value) -> Value:
    _require_sequence(value)
    for index, element in enumerate(value.elements()):
        if equal(element, wanted):
            return number(index)
    raise CallError("there is no such element" if len(value) else "an empty list has no elements")


def _coalesce(*values: Value) -> Value:
    common = unify([value.type for value in values])
    if common is None:
        raise CallError("all arguments must have the same type" if values else "at least one argument is required")
    for value in values:
        if not value.null:
            return convert(value, common)
    raise CallError("there is no argument that isn't null")


def _coalesce_list(*values: Value) -> Value:
    if not values:
        raise CallError("at least one argument is required")
    for index, value in enumerate(values):
        _require_sequence(value, index)
    for value in values:
        if not value.null and len(value):
            return value
    raise CallError("there is no argument with elements")


def _compact(value: Value) -> Value:
    return strings(each.raw for each in value.elements() if each.raw)


def _concat(*values: Value) -> Value:
    if not values:
        raise CallError("at least one argument is required")
    for index, value in enumerate(values):
        _require_sequence(value, index)
    elements = tuple(each for value in values for each in value.elements())
    if all(isinstance(value.type, ListOf) for value in values):
        common = unify([value.type for value in values])
        if isinstance(common, ListOf):
            return list_of(common.element, (convert(each, common.element) for each in elements))
    return tuple_of(elements)


def _contains(value: Value, wanted: Value) -> Value:
    if not isinstance(value.type, ListOf | TupleOf | SetOf):
        raise CallError(f"a list, a tuple or a set is required, not {friendly(value.type)}", 0)
    return boolean(any(equal(each, wanted) for each in value.elements()))


def _distinct(value: Value) -> Value:
    return list_of(_element_type(value), dict.fromkeys(value.elements()))


def _chunklist(value: Value, size: Value) -> Value:
    count = whole(size, 1)
    if count < 0:
        raise CallError("a size is not negative", 1)
    elements = value.elements()
    if not elements:
        return list_of(value.type, ())
    step = count or len(elements)
    chunks = (elements[start : start + step] for start in range(0, len(elements), step))
    return list_of(value.type, (list_of(_element_type(value), chunk) for chunk in chunks))


def _flatten(value: Value) -> Value:
    if not isinstance(value.type, ListOf | SetOf | TupleOf):
        raise CallError(f"a list, a set or a tuple is required, not {friendly(value.type)}", 0)
    found: list[Value] = []
    stack = list(reversed(value.elements()))
    while stack:
        each = stack.pop()
        if not each.null and isinstance(each.type, ListOf | SetOf | TupleOf):
            stack.extend(reversed(each.elements()))
        else:
            found.append(each)
    return tuple_of(found)


def _keys(value: Value) -> Value:
    if isinstance(value.type, MapOf):
        return strings(value.raw)
    if isinstance(value.type, ObjectOf):
        return tuple_of(map(string, value.raw))
    raise CallError(f"a map or an object is required, not {friendly(value.type)}", 0)


def _values(value: Value) -> Value:
    if isinstance(value.type, MapOf):
        return list_of(value.type.element, value.elements())
    if isinstance(value.type, ObjectOf):
        return tuple_of(value.elements())
    raise CallError(f"a map or an object is required, not {friendly(value.type)}", 0)


def _lookup(value: Value, key: Value, default: Value) -> Value:
    if not value.keyed:
        raise CallError(f"a map or an object is required, not {friendly(value.type)}", 0)
    if key.raw in value.raw:
        found: Value = value.raw[key.raw]
        return found
    if isinstance(value.type, ObjectOf):
        return default
    try:
        return convert(default, _element_type(value))
    except ConversionError:
        raise CallError("the default must be of the same type as the map's elements", 2) from None


def _merge(*values: Value) -> Value:
    merged: dict[str, Value] = {}
    for index, value in enumerate(values):
        if value.null:
            continue
        if not value.keyed:
            raise CallError(f"a map or an object is required, not {friendly(value.type)}", index)
        merged.update(value.raw)
    first = values[0].type if values else ANY
    if isinstance(first, MapOf) and all(value.type == first for value in values):
        return map_of(first.element, merged)
    return object_of(merged)


def _reverse_list(value: Value) -> Value:
    if not isinstance(value.type, ListOf | TupleOf | SetOf):
        raise CallError(f"a list or a tuple is required, not {friendly(value.type)}", 0)
    return _like(value, tuple(reversed(value.elements())))


def _slice(value: Value, start: Value, end: Value) -> Value:
    _require_sequence(value)
    first, last = whole(start, 1), whole(end, 2)
    if not 0 <= first <= len(value):
        raise CallError(f"a start index is from 0 to {len(value)} here", 1)
    if not first <= last <= len(value):
        raise CallError(f"an end index is from {first} to {len(value)} here", 2)
    return _like(value, tuple(value.elements()[first:last]))


def _zipmap(keys: Value, values: Value) -> Value:
    _require_sequence(values, 1)
    if len(keys) != len(values):
        raise CallError(f"there are {len(keys)} keys for {len(values)} values")
    for index, key in enumerate(keys.elements()):
        if key.null:
            raise CallError(f"key {index} is null", 0)
    found = {key.raw: each for key, each in zip(keys.elements(), values.elements(), strict=True)}
    return map_of(_element_type(values), found) if isinstance(values.type, ListOf) else object_of(found)


def _range(*limits: Value) -> Value:
    given = [limit.raw for limit in limits]
    if not 1 <= len(given) <= 3:
        raise CallError("one, two or three arguments are expected")
    start, end = (0, given[0]) if len(given) == 1 else given[:2]
    step = given[2] if len(given) == 3 else (-1 if end < start else 1)
    if step == 0:
        raise CallError("a step is not zero", 2)
    if (end > start) if step < 0 else (end < start):
        raise CallError("the end can't be reached with this step", 1)
    if abs((end - start) / step) > MOST:
        raise CallError(f"these are more than {MOST} numbers")
    found = []
    while (start > end) if step < 0 else (start < end):
        found.append(number(start))
        start += step
    return list_of(NUMBER, found)


_LIST = Parameter("list", ListOf(ANY))
_COLLECTION, _KEY = Parameter("collection"), Parameter("key")

FUNCTIONS: Mapping[str, Function] = {
    "equal": function(
        lambda left, right: boolean(equal(left, right)),
        Parameter("a", nullable=True),
        Parameter("b", nullable=True),
    ),
    "notequal": function(
        lambda left, right: boolean(not equal(left, right)),
        Parameter("a", nullable=True),
        Parameter("b", nullable=True),
    ),
    "length": function(_length, _COLLECTION),
    "element": function(_element, Parameter("list"), Parameter("index", NUMBER)),
    "hasindex": function(_has_index, _COLLECTION, _KEY),
    "index": function(_index, _COLLECTION, _KEY),
    "indexof": function(_index_of, Parameter("list"), Parameter("value")),
    "coalesce": function(_coalesce, variadic=Parameter("vals", nullable=True)),
    "coalescelist": function(_coalesce_list, variadic=Parameter("vals", nullable=True)),
    "compact": function(_compact, Parameter("list", ListOf(STRING))),
    "concat": function(_concat, variadic=Parameter("seqs")),
    "contains": function(_contains, Parameter("list"), Parameter("value")),
    "distinct": function(_distinct, _LIST),
    "chunklist": function(_chunklist, _LIST, Parameter("size", NUMBER)),
    "flatten": function(_flatten, Parameter("list")),
    "keys": function(_keys, Parameter("inputMap")),
    "values": function(_values, Parameter("mapping")),
    "lookup": function(_lookup, Parameter("inputMap"), Parameter("key", STRING), Parameter("default")),
    "merge": function(_merge, variadic=Parameter("maps", nullable=True)),
    "reverselist": function(_reverse_list, Parameter("list")),
    "slice": function(_slice, Parameter("list"), Parameter("start_index", NUMBER), Parameter("end_index", NUMBER)),
    "zipmap": function(_zipmap, Parameter("keys", ListOf(STRING)), Parameter("values")),
    "range": function(_range, variadic=Parameter("params", NUMBER)),
}
