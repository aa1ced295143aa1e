"""Functions of sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.convert import ConversionError, convert, unify
from boatyard.bake.values.type import ANY, Any, ListOf, SetOf, TupleOf, Type, friendly
from boatyard.bake.values.value import Value, boolean, list_of, set_of, tuple_of

_SET = SetOf(ANY)
_MOST = 1 << 16
"""Elements of a product."""

Elements = dict[Value, None]


def _combined(operation: Callable[[Elements, Elements], Elements]) -> Callable[..., Value]:
    def implementation(*sets: Value) -> Value:
        types = [each.type.element for each in sets if isinstance(each.type, SetOf)]
        element = unify([type for type in types if not isinstance(type, Any)]) if any(map(_closed, types)) else ANY
        if element is None:
            raise CallError("the sets' elements must have compatible types")
        first, *others = (_elements(index, each, element) for index, each in enumerate(sets))
        for other in others:
            first = operation(first, other)
        return set_of(element, first)

    return implementation


def _closed(type: Type) -> bool:
    return not isinstance(type, Any)


def _elements(index: int, value: Value, element: Type) -> Elements:
    try:
        return dict.fromkeys(convert(value, SetOf(element)).elements())
    except ConversionError as error:
        raise CallError(str(error), index) from None


def _has_element(value: Value, element: Value) -> Value:
    return boolean(element in value.elements())


def _product(*values: Value) -> Value:
    if len(values) < 2:
        raise CallError("at least two arguments are required")
    columns: list[list[Value]] = []
    size = 1
    for index, value in enumerate(values):
        if not isinstance(value.type, ListOf | SetOf | TupleOf):
            raise CallError(f"a set or a list is required, not {friendly(value.type)}", index)
        elements = value.elements()
        common = unify([each.type for each in elements]) if elements else ANY
        if common is None:
            raise CallError("all elements must be of the same type", index)
        columns.append([convert(each, common) for each in elements])
        size *= len(elements)
    if size > _MOST:
        raise CallError(f"the product has more than {_MOST} elements")
    ordered = all(value.sequence for value in values)
    element = TupleOf(tuple(column[0].type if column else ANY for column in columns))
    found = map(tuple_of, product(*columns))
    return list_of(element, found) if ordered else set_of(element, found)


def _function(operation: Callable[[Elements, Elements], Elements]) -> Function:
    return function(_combined(operation), Parameter("first_set", _SET), variadic=Parameter("other_sets", _SET))


FUNCTIONS: Mapping[str, Function] = {
    "sethaselement": function(_has_element, Parameter("set", _SET), Parameter("elem")),
    "setunion": _function(lambda left, right: {**left, **right}),
    "setintersection": _function(lambda left, right: {each: None for each in left if each in right}),
    "setsymmetricdifference": _function(
        lambda left, right: {each: None for each in {**left, **right} if (each in left) != (each in right)}
    ),
    "setsubtract": function(
        _combined(lambda left, right: {each: None for each in left if each not in right}),
        Parameter("a", _SET),
        Parameter("b", _SET),
    ),
    "setproduct": function(_product, variadic=Parameter("sets")),
}
