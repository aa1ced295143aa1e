"""Interpolation of compose files, and `.env` files."""

from __future__ import annotations

import pytest

from boatyard.bake.compose import dotenv
from boatyard.bake.compose.interpolation import InterpolationError, interpolate
from boatyard.bake.source import Source
from boatyard.errors import DefinitionError

ENVIRONMENT = {"SET": "value", "EMPTY": "", "OTHER": "other"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$SET-${SET}", "value-value"),
        ("$$SET $$$SET", "$SET $value"),
        ("${UNSET}", ""),
        ("${UNSET:-a}${UNSET-b}${EMPTY:-c}${EMPTY-d}", "abc"),
        ("${SET:+a}${SET+b}${EMPTY:+c}${EMPTY+d}${UNSET+e}", "abd"),
        ("${SET:?never}${EMPTY?never}", "value"),
        ("${UNSET:-${OTHER:-x}}", "other"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-}}", "}"),
        ("$(date) $1 ${SET}$", "$(date) $1 value$"),
        ("${UNSET:-$(x)}", "$(x)"),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    assert interpolate(text, ENVIRONMENT, lambda name: None) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${UNSET:?give it}", "the variable UNSET is required: give it"),
        ("${EMPTY:?}", "EMPTY is required"),
        ("${UNSET?$OTHER}", "UNSET is required: other"),
        ("${SET", "no closing brace"),
        ("${}", "names no variable"),
        ("${1A}", "names no variable"),
        ("${SET!}", "closing brace"),
    ],
)
def test_what_is_no_variable_is_told(text: str, message: str) -> None:
    with pytest.raises(InterpolationError) as told:
        interpolate(text, ENVIRONMENT, lambda name: None)
    assert message in str(told.value)


def test_variables_without_a_value_are_told_of() -> None:
    unset: list[str] = []
    interpolate("$A ${B} ${C-} ${D:+x} $SET", ENVIRONMENT, unset.append)
    assert unset == ["A", "B"]


def test_a_file_of_variables_is_read() -> None:
    text = """# first
A=plain
export B = spaced # comment
C='single $A \\n'
D="double $A\\n\\"quoted\\"" # comment
E=with#hash
F=
G="over
two lines"
H: colon
SET
UNSET
I=${A}-${UNSET:-default}
SET2=$SET
A=again
"""
    assert dotenv.parse(Source(".env", text), ENVIRONMENT) == {
        "A": "again",
        "B": "spaced",
        "C": "single $A \\n",
        "D": 'double plain\n"quoted"',
        "E": "with#hash",
        "F": "",
        "G": "over\ntwo lines",
        "H": "colon",
        "SET": "value",
        "I": "plain-default",
        "SET2": "value",
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("A=1\n=2\n", 2, "is not NAME=VALUE"),
        ("A='x\n", 1, "this quoted value has no end"),
        ('A="x" y\n', 1, "there is something behind the quoted value"),
        ("\nA=${B\n", 2, "no closing brace"),
    ],
)
def test_what_is_no_file_of_variables_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(DefinitionError) as told:
        dotenv.parse(Source(".env", text), {})
    assert message in told.value.message
    assert told.value.source is not None
    assert told.value.source.start == line
