"""The functions that take expressions rather than values: `try`, `can`, `convert`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from boatyard.bake.evaluate.scope import Scope
from boatyard.bake.evaluate.typeexpr import type_of
from boatyard.bake.hcl.tree import Call, Expression
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.value import FALSE, TRUE, Value
from boatyard.errors import DefinitionError

Evaluate = Callable[[Expression, Scope], Value]


def _try(call: Call, scope: Scope, evaluate: Evaluate) -> Value:
    if not call.arguments:
        raise call.span.error("try(): expects at least 1 argument")
    for argument in call.arguments[:-1]:
        try:
            return evaluate(argument, scope)
        except DefinitionError:
            continue
    return evaluate(call.arguments[-1], scope)


def _can(call: Call, scope: Scope, evaluate: Evaluate) -> Value:
    if len(call.arguments) != 1:
        raise call.span.error("can(): expects 1 argument")
    try:
        evaluate(call.arguments[0], scope)
    except DefinitionError:
        return FALSE
    return TRUE


def _convert(call: Call, scope: Scope, evaluate: Evaluate) -> Value:
    if len(call.arguments) != 2:
        raise call.span.error("convert(): expects 2 arguments: a value and a type")
    value, wanted = call.arguments
    type = type_of(wanted)
    try:
        return convert(evaluate(value, scope), type)
    except ConversionError as error:
        raise value.span.error(f"convert(): {error}") from None


FUNCTIONS: Mapping[str, Callable[[Call, Scope, Evaluate], Value]] = {"try": _try, "can": _can, "convert": _convert}
