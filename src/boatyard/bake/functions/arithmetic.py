"""Functions of numbers and truth values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values import number as numbers
from boatyard.bake.values.number import Number
from boatyard.bake.values.type import BOOL, NUMBER, STRING, friendly
from boatyard.bake.values.value import Value, boolean, number

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LARGEST_BASE = 62
_CASELESS_BASE = 36


def whole(value: Value, argument: int | None = None) -> int:
    """The integer that an argument is. CallError when it has a fraction."""
    if not isinstance(value.raw, int):
        raise CallError(f"a whole number is required, not {numbers.text(value.raw)}", argument)
    return value.raw


def of_float(value: float) -> Value:
    """A double, by the digits that it is written with. CallError when it is none that can be written."""
    if math.isnan(value) or math.isinf(value):
        raise CallError("the result is no finite number")
    return number(numbers.parse(repr(value)))


def _divided(left: Number, right: Number) -> Number:
    if right == 0:
        raise CallError("division by zero", 1)
    return Fraction(left) / right


def _remainder(left: Number, right: Number) -> Number:
    if right == 0:
        raise CallError("division by zero", 1)
    return numbers.remainder(left, right)


def _double(value: Value) -> float:
    try:
        return float(value.raw)
    except OverflowError:
        raise CallError("the number is too large") from None


def _log(value: Value, base: Value) -> Value:
    num, of = _double(value), _double(base)
    if num <= 0 or of <= 0 or of == 1:
        raise CallError("a logarithm needs positive numbers, and a base other than 1")
    return of_float(math.log(num) / math.log(of))


def _pow(value: Value, power: Value) -> Value:
    try:
        found = _double(value) ** _double(power)
    except (OverflowError, ZeroDivisionError):
        raise CallError("the result is no finite number") from None
    if isinstance(found, complex):
        raise CallError("the result is no finite number")
    return of_float(found)


def _parseint(text: Value, base: Value) -> Value:
    if text.type != STRING:
        raise CallError(f"a string is required, not {friendly(text.type)}", 0)
    radix = whole(base, 1)
    if not 2 <= radix <= _LARGEST_BASE:
        raise CallError("a base is a whole number from 2 to 62", 1)
    digits = text.raw.removeprefix("-") if text.raw.startswith("-") else text.raw.removeprefix("+")
    value = 0
    for digit in digits:
        known = digit.lower() if radix <= _CASELESS_BASE else digit
        place = _DIGITS.find(known)
        if place < 0 or place >= radix:
            value = -1
            break
        value = value * radix + place
    if not digits or value < 0 or len(digits) > numbers.PRECISION:
        raise CallError(f"{text.raw[:60]!r} is no integer of base {radix}", 0)
    return number(-value if text.raw.startswith("-") else value)


def _extreme(choose: Callable[..., Number]) -> Callable[..., Value]:
    def implementation(*values: Value) -> Value:
        if not values:
            raise CallError("at least one number is required")
        return number(choose(value.raw for value in values))

    return implementation


_NUM, _A, _B = Parameter("num", NUMBER), Parameter("a", NUMBER), Parameter("b", NUMBER)
_LEFT, _RIGHT = Parameter("a", BOOL), Parameter("b", BOOL)


def _binary(operation: Callable[[Number, Number], Number]) -> Function:
    return function(lambda left, right: number(operation(left.raw, right.raw)), _A, _B)


def _comparison(operation: Callable[[Number, Number], bool]) -> Function:
    return function(lambda left, right: boolean(operation(left.raw, right.raw)), _A, _B)


def _unary(operation: Callable[[Number], Number]) -> Function:
    return function(lambda value: number(operation(value.raw)), _NUM)


FUNCTIONS: Mapping[str, Function] = {
    "absolute": _unary(numbers.magnitude),
    "negate": _unary(lambda value: -value),
    "ceil": _unary(math.ceil),
    "floor": _unary(math.floor),
    "int": _unary(math.trunc),
    "signum": function(lambda value: number((whole(value, 0) > 0) - (whole(value, 0) < 0)), _NUM),
    "add": _binary(lambda left, right: left + right),
    "subtract": _binary(lambda left, right: left - right),
    "multiply": _binary(lambda left, right: left * right),
    "divide": _binary(_divided),
    "modulo": _binary(_remainder),
    "greaterthan": _comparison(lambda left, right: left > right),
    "greaterthanorequalto": _comparison(lambda left, right: left >= right),
    "lessthan": _comparison(lambda left, right: left < right),
    "lessthanorequalto": _comparison(lambda left, right: left <= right),
    "log": function(_log, _NUM, Parameter("base", NUMBER)),
    "pow": function(_pow, _NUM, Parameter("power", NUMBER)),
    "min": function(_extreme(min), variadic=Parameter("numbers", NUMBER)),
    "max": function(_extreme(max), variadic=Parameter("numbers", NUMBER)),
    "parseint": function(_parseint, Parameter("number"), Parameter("base", NUMBER)),
    "and": function(lambda left, right: boolean(left.raw and right.raw), _LEFT, _RIGHT),
    "or": function(lambda left, right: boolean(left.raw or right.raw), _LEFT, _RIGHT),
    "not": function(lambda value: boolean(not value.raw), Parameter("val", BOOL)),
}
