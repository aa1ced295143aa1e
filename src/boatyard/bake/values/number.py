"""Numbers: exact where they are whole or short, else with 512 bits, as HCL's implementations have them.

A number is an `int` or a `Fraction` whose denominator is a power of two (what a 512-bit floating point number can be),
so that equality and arithmetic are Python's own.

Specification: zclconf/go-cty `cty.Number` (math/big.Float with a precision of 512 bits, ties to even).
"""

from __future__ import annotations

import re
from fractions import Fraction

Number = int | Fraction

PRECISION = 512
LARGEST_EXPONENT = 4096
"""Decimal exponents beyond this are refused: the digits alone would fill the memory."""

_LITERAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def parse(text: str) -> Number:
    """ValueError when it is no decimal number."""
    if not text.isascii() or not _LITERAL.fullmatch(text):
        raise ValueError("a number is required")
    mantissa, _, exponent = text.lower().partition("e")
    if (exponent and abs(int(exponent)) > LARGEST_EXPONENT) or len(mantissa) > LARGEST_EXPONENT:
        raise ValueError("the number is too large or too small")
    return rounded(Fraction(text))


def rounded(value: Number) -> Number:
    """The nearest number that 512 bits hold."""
    if isinstance(value, int) or value.denominator == 1:
        whole = int(value)
        return whole if whole.bit_length() <= PRECISION else _rounded(Fraction(whole))
    if value.denominator & (value.denominator - 1) == 0 and value.numerator.bit_length() <= PRECISION:
        return value
    return _rounded(value)


def _rounded(value: Fraction) -> Number:
    shift = PRECISION - (abs(value.numerator).bit_length() - value.denominator.bit_length())
    scale = Fraction(2) ** shift
    mantissa = round(value * scale)
    if mantissa.bit_length() > PRECISION:
        scale /= 2
        mantissa = round(value * scale)
    result = mantissa / scale
    return int(result) if result.denominator == 1 else result


def text(value: Number) -> str:
    """The shortest decimal digits that mean this number and no other."""
    if isinstance(value, int):
        return str(value) if value.bit_length() <= PRECISION else str(int(_shortest(Fraction(value))))
    return _plain(_shortest(value))


def _shortest(value: Fraction) -> Fraction:
    low, high = 1, PRECISION // 3
    magnitude = _magnitude(value)
    while low < high:
        digits = (low + high) // 2
        if rounded(_cut(value, digits, magnitude)) == value:
            high = digits
        else:
            low = digits + 1
    return _cut(value, low, magnitude)


def _magnitude(value: Fraction) -> int:
    """The decimal exponent of the leading digit."""
    guess = len(str(abs(value.numerator))) - len(str(value.denominator))
    power = Fraction(10) ** guess
    return guess if abs(value) >= power else guess - 1


def _cut(value: Fraction, digits: int, magnitude: int) -> Fraction:
    unit = Fraction(10) ** (magnitude - digits + 1)
    return round(value / unit) * unit


def _plain(value: Fraction) -> str:
    """A fraction whose denominator divides a power of ten, in decimal notation."""
    sign = "-" if value < 0 else ""
    value = abs(value)
    whole, rest = divmod(value, 1)
    digits = []
    while rest:
        digit, rest = divmod(rest * 10, 1)
        digits.append(str(digit))
    return f"{sign}{whole}.{''.join(digits)}" if digits else f"{sign}{whole}"


def remainder(left: Number, right: Number) -> Number:
    """With the sign of `left`, as C has it. The quotient is rounded first: 1 % 0.1 is 0, though nothing is 0.1 exactly.
    `right` is not zero."""
    whole = int(rounded(Fraction(left) / right))
    return left - rounded(right * whole)


def magnitude(value: Number) -> Number:
    """Without its sign. (`abs` of this union is of no type for mypy.)"""
    return -value if value < 0 else value
