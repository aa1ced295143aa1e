"""The operators of expressions, over values.

Specification: hclsyntax/spec.md, "Operations"; zclconf/go-cty for what is equal and how remainders are signed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from boatyard.bake.values import number as numbers
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.number import Number, rounded
from boatyard.bake.values.type import ANY, BOOL, NUMBER, Any, Type
from boatyard.bake.values.value import Value, boolean, number


def divided(left: Number, right: Number) -> Number:
    if right == 0:
        raise ConversionError("division by zero")
    return Fraction(left) / right


def remainder(left: Number, right: Number) -> Number:
    if right == 0:
        raise ConversionError("division by zero")
    return numbers.remainder(left, right)


def equal(left: Value, right: Value) -> bool:
    """Values of different types are not equal; a null is equal to any other null."""
    if left.null or right.null:
        return left.null and right.null
    return left == right


ARITHMETIC: dict[str, Callable[[Number, Number], Number]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": divided,
    "%": remainder,
}
COMPARISONS: dict[str, Callable[[Number, Number], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def operand_type(operator: str) -> Type:
    """What both operands are converted to."""
    if operator in ARITHMETIC or operator in COMPARISONS:
        return NUMBER
    return BOOL if operator in ("&&", "||") else ANY


def operand(value: Value, type: Type) -> Value:
    """ConversionError when it isn't of the type."""
    converted = convert(value, type)
    if converted.null and not isinstance(type, Any):
        raise ConversionError("it must not be null")
    return converted


def apply(operator: str, left: Value, right: Value) -> Value:
    """Operands are of the operator's type."""
    if operator in ARITHMETIC:
        return number(rounded(ARITHMETIC[operator](left.raw, right.raw)))
    if operator in COMPARISONS:
        return boolean(COMPARISONS[operator](left.raw, right.raw))
    if operator in ("==", "!="):
        return boolean(equal(left, right) == (operator == "=="))
    return boolean(left.raw and right.raw if operator == "&&" else left.raw or right.raw)
