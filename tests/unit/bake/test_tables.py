"""What expressions are worth (tables/: an expression, and below it = its value as JSON, or ! what is wrong with it)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from boatyard.bake.evaluate.evaluator import evaluate
from boatyard.bake.functions.signature import Function
from boatyard.bake.functions.table import Surroundings, functions
from boatyard.bake.hcl.parser import parse_alone
from boatyard.bake.hcl.tree import Call, Reference
from boatyard.bake.source import Source
from boatyard.bake.values import document
from boatyard.bake.values.value import Value
from boatyard.errors import DefinitionError

TABLES = Path(__file__).parent / "tables"
FUNCTIONS = functions(Surroundings("/home/baker", now=lambda: 1_700_000_000.5, random=bytes))


class Bare:
    """No variables, all functions."""

    item: Value | None = None

    def variable(self, reference: Reference) -> tuple[Value, int]:
        raise reference.span.error(f"no variable {reference.name}")

    def function(self, call: Call) -> Function:
        if call.name not in FUNCTIONS:
            raise call.name_span.error(f"no function {call.name}")
        return FUNCTIONS[call.name]

    def names(self) -> Iterable[str]:
        return ()


def worth(expression: str) -> str:
    return document.encode(evaluate(parse_alone(Source("expression", expression)), Bare()))


def rows() -> list[tuple[str, str]]:
    found = []
    for path in sorted(TABLES.glob("*.txt")):
        lines = path.read_text().splitlines()
        found += list(zip(lines[::2], lines[1::2], strict=True))
    return found


@pytest.mark.parametrize(("expression", "expected"), rows())
def test_an_expression_is_worth_what_the_table_says(expression: str, expected: str) -> None:
    kind, text = expected.strip().split(" ", 1)
    if kind == "=":
        assert worth(expression) == text
    else:
        with pytest.raises(DefinitionError) as told:
            worth(expression)
        assert told.value.message == text


def test_functions_learn_of_the_world_what_they_are_given() -> None:
    assert worth("homedir()") == '"/home/baker"'
    assert worth("timestamp()") == '"2023-11-14T22:13:20Z"'
    assert worth("uuidv4()") == '"00000000-0000-4000-8000-000000000000"'


@pytest.mark.parametrize("cost", [4, 5])
def test_bcrypt_makes_what_the_system_can_verify(cost: int) -> None:
    made = worth(f'bcrypt("word", {cost})').strip('"')
    assert made.startswith(f"$2a${cost:02}$")
    assert len(made) == 60
