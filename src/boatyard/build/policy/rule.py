"""Policies as values: rules that select sources by identifier and attributes, and say what becomes of them.

Names and numbers are those of package `moby.buildkit.v1.sourcepolicy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Action(IntEnum):
    ALLOW = 0
    DENY = 1
    CONVERT = 2


class MatchType(IntEnum):
    WILDCARD = 0
    """`*` is any text; the rest is literal."""
    EXACT = 1
    REGEX = 2
    """Found anywhere in the identifier, unless it is anchored."""


class Condition(IntEnum):
    EQUAL = 0
    NOTEQUAL = 1
    MATCHES = 2


@dataclass(frozen=True, slots=True)
class Constraint:
    """On an attribute of the source; one that is missing counts as empty."""

    key: str
    value: str = ""
    condition: Condition = Condition.EQUAL


@dataclass(frozen=True, slots=True)
class Selector:
    """Selects a source when its identifier and all constraints fit."""

    identifier: str
    match: MatchType = MatchType.WILDCARD
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """What CONVERT changes. `identifier` may take up what the selector matched (`${1}`); "" leaves it as it is.
    `attrs` are set; others stay."""

    identifier: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    action: Action
    selector: Selector
    update: Update | None = None
    """With CONVERT only."""

    def __str__(self) -> str:
        constraints = "".join(
            f" where {each.key} {_SIGNS[each.condition]} {each.value!r}" for each in self.selector.constraints
        )
        return f"{self.action.name} {self.selector.identifier}{constraints}"


_SIGNS = {Condition.EQUAL: "is", Condition.NOTEQUAL: "is not", Condition.MATCHES: "matches"}


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in order. Of ALLOW and DENY, the last one that selects a source counts; what no rule selects is allowed.
    `name` tells people whose policy it is: a file's name, or who sent it."""

    rules: tuple[Rule, ...]
    name: str = "the policy"
