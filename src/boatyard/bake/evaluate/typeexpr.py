"""Types as expressions say them: `string`, `list(number)`, `object({name = string})`.

Specification: hashicorp/hcl, ext/typeexpr.
"""

from __future__ import annotations

from collections.abc import Callable

from boatyard.bake.hcl.tree import Call, Expression, Object, Tuple, keyword, text
from boatyard.bake.source import did_you_mean
from boatyard.bake.values.type import ANY, BOOL, NUMBER, STRING, ListOf, MapOf, ObjectOf, SetOf, TupleOf, Type

_SIMPLE: dict[str, Type] = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": ANY}
_COLLECTIONS: dict[str, Callable[[Type], Type]] = {"list": ListOf, "set": SetOf, "map": MapOf}
_NAMES = (*_SIMPLE, *_COLLECTIONS, "tuple", "object")


def type_of(expression: Expression) -> Type:
    if name := keyword(expression):
        if name in _SIMPLE:
            return _SIMPLE[name]
        if name in _NAMES:
            raise expression.span.error(f"the type {name} needs an argument", hint=f"write {_example(name)}")
        raise expression.span.error(f"{name!r} is not a valid type", hint=did_you_mean(name, _NAMES, otherwise=_KNOWN))
    if isinstance(expression, Call):
        return _constructed(expression)
    hint = "types are written without quotes" if text(expression) is not None else _KNOWN
    raise expression.span.error("this is not a valid type", hint=hint)


def _constructed(call: Call) -> Type:
    if call.name not in ("tuple", "object", *_COLLECTIONS):
        raise call.span.error(
            f"{call.name}() is not a valid type", hint=did_you_mean(call.name, _NAMES, otherwise=_KNOWN)
        )
    if len(call.arguments) != 1 or call.expanded:
        raise call.span.error(f"the type {call.name} takes one argument", hint=f"write {_example(call.name)}")
    (argument,) = call.arguments
    if call.name in _COLLECTIONS:
        return _COLLECTIONS[call.name](type_of(argument))
    if call.name == "tuple":
        if not isinstance(argument, Tuple):
            raise argument.span.error("a tuple type takes a list of types", hint=f"write {_example('tuple')}")
        return TupleOf(tuple(map(type_of, argument.elements)))
    if not isinstance(argument, Object):
        raise argument.span.error("an object type takes attributes and their types", hint=f"write {_example('object')}")
    return _object(argument)


def _object(argument: Object) -> Type:
    attributes: dict[str, Type] = {}
    optional: set[str] = set()
    for item in argument.items:
        name = keyword(item.key) or text(item.key)
        if not name:
            raise item.key.span.error("the name of an attribute can't be computed")
        if name in attributes:
            raise item.key.span.error(f"{name!r} is there twice")
        wanted = item.value
        if isinstance(wanted, Call) and wanted.name == "optional":
            if len(wanted.arguments) != 1:
                raise wanted.span.error("optional() takes a type, and nothing more", hint="write optional(string)")
            optional.add(name)
            (wanted,) = wanted.arguments
        attributes[name] = type_of(wanted)
    return ObjectOf(attributes, frozenset(optional))


_KNOWN = "types are: string, number, bool, any, list(...), set(...), map(...), tuple([...]), object({...})"


def _example(name: str) -> str:
    return {"tuple": "tuple([string, number])", "object": "object({name = string})"}.get(name, f"{name}(string)")
