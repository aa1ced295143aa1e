"""`format` and `formatlist`: printf's verbs over values.

Specification: zclconf/go-cty, cty/function/stdlib/format.go; numbers as Go's fmt package writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

from boatyard.bake.functions.graphemes import graphemes
from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values import document
from boatyard.bake.values import number as numbers
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.number import Number
from boatyard.bake.values.type import BOOL, NUMBER, STRING, ListOf, SetOf, TupleOf, Type
from boatyard.bake.values.value import Value, string, strings

_VERB = re.compile(r"%(?:%|([0#+ -]*)([1-9]\d*)?(\.\d*)?(?:\[([1-9]\d*)\])?([A-Za-z]))|[^%]+|%")
_INTEGERS = {"b": "b", "d": "d", "o": "o", "x": "x", "X": "X"}
_WIDEST = 4096
_EXACT = Context(prec=numbers.PRECISION * 3)
_SHORTEST_LIMIT = 6
"""%g writes numbers with an exponent from 10 to this power on."""


@dataclass(frozen=True, slots=True)
class _Verb:
    text: str
    flags: str
    width: int
    precision: int | None
    mode: str


def _format(pattern: str, arguments: Sequence[Value]) -> str:
    done: list[str] = []
    following = highest = 1
    used = False
    for match in _VERB.finditer(pattern):
        if match[0] == "%%":
            done.append("%")
        elif match[0] == "%":
            raise CallError(f"the format has a % that begins no verb, at {match.start()}: write %%", 0)
        elif match[5] is None:
            done.append(match[0])
        else:
            used = True
            place = int(match[4]) if match[4] else following
            if place > len(arguments):
                raise CallError(f"there is no argument {place} for {match[0]!r}: there are {len(arguments)}", 0)
            done.append(_written(_verb(match), arguments[place - 1], place))
            highest, following = max(highest, place), place + 1
    if (highest if used else 0) < len(arguments):
        raise CallError(f"there are {len(arguments)} arguments, and verbs for {highest if used else 0}", 0)
    return "".join(done)


def _verb(match: re.Match[str]) -> _Verb:
    width, precision = int(match[2] or 0), match[3]
    digits = None if precision is None else int(precision[1:] or 0)
    if max(width, digits or 0) > _WIDEST:
        raise CallError(f"the verb {match[0]!r} asks for too many characters", 0)
    return _Verb(match[0], match[1], width, digits, match[5])


def _written(verb: _Verb, value: Value, place: int) -> str:
    if verb.mode == "v":
        return _padded(verb, _natural(verb, value))
    if value.null:
        raise CallError(f"null can't be written with {verb.text!r}", place)
    if verb.mode == "t":
        return "true" if _as(value, BOOL, verb, place).raw else "false"
    if verb.mode in "sq":
        text = _as(value, STRING, verb, place).raw
        text = "".join(graphemes(text)[: verb.precision]) if verb.precision else text
        return _padded(verb, document.encode(string(text)) if verb.mode == "q" else text)
    if verb.mode in _INTEGERS:
        number = _as(value, NUMBER, verb, place).raw
        if not isinstance(number, int):
            raise CallError(f"{verb.text!r} needs a whole number, not {numbers.text(number)}", place)
        return _integer(verb, number)
    if verb.mode in "eEfgG":
        return _real(verb, _as(value, NUMBER, verb, place).raw)
    raise CallError(f"there is no verb {verb.text!r}: there are %v %s %q %d %f %e %g %t %b %o %x", 0)


def _as(value: Value, type: Type, verb: _Verb, place: int) -> Value:
    try:
        return convert(value, type)
    except ConversionError as error:
        raise CallError(f"this can't be written with {verb.text!r}: {error}", place) from None


def _natural(verb: _Verb, value: Value) -> str:
    """%v: texts as they are, numbers with %g, the rest as JSON; %#v: all as JSON."""
    if "#" not in verb.flags and not value.null:
        if value.type == STRING:
            return str(value.raw)
        if value.type == NUMBER:
            return _general(value.raw, None)
    return document.encode(value)


def _padded(verb: _Verb, text: str) -> str:
    fill = ("0" if "0" in verb.flags else " ") * (verb.width - len(graphemes(text)))
    return text + fill if "-" in verb.flags else fill + text


def _integer(verb: _Verb, value: int) -> str:
    digits = format(abs(value), _INTEGERS[verb.mode])
    if verb.precision is not None:
        digits = "" if verb.precision == 0 and value == 0 else digits.zfill(verb.precision)
    prefix = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}.get(verb.mode, "") if "#" in verb.flags else ""
    return _signed(verb, value < 0, prefix, digits, zeros=verb.precision is None)


def _signed(verb: _Verb, negative: bool, prefix: str, digits: str, *, zeros: bool = True) -> str:
    sign = "-" if negative else "+" if "+" in verb.flags else " " if " " in verb.flags else ""
    missing = verb.width - len(sign) - len(prefix) - len(digits)
    if "-" in verb.flags:
        return sign + prefix + digits + " " * missing
    if "0" in verb.flags and zeros:
        return sign + prefix + "0" * missing + digits
    return " " * missing + sign + prefix + digits


def _real(verb: _Verb, value: Number) -> str:
    size = numbers.magnitude(value)
    if verb.mode == "f":
        digits = f"{_decimal(size):.{6 if verb.precision is None else verb.precision}f}"
    elif verb.mode in "eE":
        digits = _exponential(size, 6 if verb.precision is None else verb.precision)
    else:
        digits = _general(size, verb.precision)
    return _signed(verb, value < 0, "", digits.upper() if verb.mode in "EG" else digits)


def _decimal(value: Number) -> Decimal:
    exact = Fraction(value)
    return _EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _exponential(value: Number, digits: int) -> str:
    mantissa, _, exponent = f"{_decimal(value):.{digits}e}".partition("e")
    power = int(exponent)
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"


def _general(value: Number, precision: int | None) -> str:
    """%g: the shortest digits, or so many."""
    sign, size = ("-" if value < 0 else ""), numbers.magnitude(value)
    if size == 0:
        return "0"
    found = Decimal(numbers.text(size))
    if precision is not None:
        found = Context(prec=max(precision, 1)).plus(_decimal(size))
    found = found.normalize(_EXACT)
    digits, exponent = "".join(map(str, found.as_tuple().digits)), found.adjusted()
    limit = _SHORTEST_LIMIT if precision is None else max(precision, 1)
    if precision is not None and limit > len(digits) > exponent:
        limit = len(digits)
    if exponent < -4 or exponent >= limit:
        return sign + _exponential(Fraction(found), len(digits) - 1)
    return sign + format(found, "f")


def _formatlist(pattern: Value, *arguments: Value) -> Value:
    """Lists among the arguments are gone through together; the others are the same each time."""
    length: int | None = None
    for place, value in enumerate(arguments, start=1):
        if _several(value):
            if length is not None and len(value) != length:
                raise CallError(f"this has {len(value)} elements, an earlier list {length}", place)
            length = len(value)
    rounds = 1 if length is None else length
    return strings(
        _format(pattern.raw, [each.elements()[index] if _several(each) else each for each in arguments])
        for index in range(rounds)
    )


def _several(value: Value) -> bool:
    return isinstance(value.type, ListOf | SetOf | TupleOf) and not value.null


_ARGUMENTS = Parameter("args", nullable=True)

FUNCTIONS: Mapping[str, Function] = {
    "format": function(
        lambda pattern, *arguments: string(_format(pattern.raw, arguments)),
        Parameter("format", STRING),
        variadic=_ARGUMENTS,
    ),
    "formatlist": function(_formatlist, Parameter("format", STRING), variadic=_ARGUMENTS),
}
