"""Policies on one source: allowed, denied, or turned into another one. Pure.

The meaning is BuildKit's (`sourcepolicy/engine.go`):

* policies are asked in order, the rules of each in order;
* a CONVERT that changes anything ends the round: all policies are asked again about what it made, twenty times at most;
* of the ALLOWs and DENYs of one policy the last that fits counts; what one policy denies, no other allows.

One thing differs: a CONVERT without an identifier leaves the identifier alone. BuildKit takes the selector's, which is
the same for exact selectors and makes nonsense of patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from boatyard.build.llb.graph import SourceOp
from boatyard.build.policy.pattern import Pattern, compiled, pattern
from boatyard.build.policy.rule import Action, Condition, Constraint, Policy, Rule
from boatyard.errors import InvalidError, SourceDeniedError

MAX_CONVERSIONS = 20


@dataclass(frozen=True, slots=True)
class Conversion:
    """One CONVERT that took effect; `rule` says which, for people."""

    before: SourceOp
    after: SourceOp
    rule: str

    def __str__(self) -> str:
        if self.before.identifier != self.after.identifier:
            return f"{self.before.identifier} becomes {self.after.identifier} by {self.rule}"
        attrs = ", ".join(
            f"{key}={value}" for key, value in self.after.attrs.items() if self.before.attrs.get(key) != value
        )
        return f"{self.before.identifier} gets {attrs} by {self.rule}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    source: SourceOp
    conversions: tuple[Conversion, ...] = ()


class PolicyEngine:
    """Policies made ready. InvalidError, which names the rule, when one is malformed."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = [
            [_Ready(rule, f"rule {number} of {policy.name}") for number, rule in enumerate(policy.rules, 1)]
            for policy in policies
        ]

    def __bool__(self) -> bool:
        return any(self._policies)

    def evaluate(self, source: SourceOp) -> Evaluation:
        """SourceDeniedError when it, or what becomes of it, is denied; InvalidError when conversions don't end."""
        conversions: list[Conversion] = []
        while (conversion := self._round(source, conversions)) is not None:
            conversions.append(conversion)
            source = conversion.after
            if len(conversions) > MAX_CONVERSIONS:
                raise InvalidError(
                    f"the source policies don't come to an end with {conversions[0].before.identifier}",
                    hint=f"after {MAX_CONVERSIONS} conversions, {conversions[-1]}; let no rule match what another made",
                )
        return Evaluation(source, tuple(conversions))

    def _round(self, source: SourceOp, made_by: Sequence[Conversion]) -> Conversion | None:
        """The next conversion; None when everybody is content."""
        for rules in self._policies:
            denied: _Ready | None = None
            for ready in rules:
                if not ready.selects(source):
                    continue
                if ready.rule.action is not Action.CONVERT:
                    denied = ready if ready.rule.action is Action.DENY else None
                elif (after := ready.converted(source)) != source:
                    return Conversion(source, after, ready.name)
            if denied is not None:
                raise _denied(source, denied, made_by)
        return None


class _Ready:
    """A rule with its patterns compiled."""

    def __init__(self, rule: Rule, name: str) -> None:
        self.rule = rule
        self.name = name
        if rule.action is Action.CONVERT and rule.update is None:
            raise InvalidError(f"{name} converts, but doesn't say into what", hint="give it `updates`")
        try:
            self._pattern: Pattern = pattern(rule.selector.identifier, rule.selector.match)
            self._constraints = [(each, _expression(each)) for each in rule.selector.constraints]
        except InvalidError as error:
            raise InvalidError(f"{name}: {error.message}", hint=error.hint) from error

    def selects(self, source: SourceOp) -> bool:
        return all(self._holding(source)) and self._pattern.matches(source.identifier)

    def _holding(self, source: SourceOp) -> Iterator[bool]:
        for constraint, expression in self._constraints:
            value = source.attrs.get(constraint.key, "")
            match constraint.condition:
                case Condition.EQUAL:
                    yield value == constraint.value
                case Condition.NOTEQUAL:
                    yield value != constraint.value
                case Condition.MATCHES:
                    yield expression.search(value) is not None

    def converted(self, source: SourceOp) -> SourceOp:
        update = self.rule.update
        assert update is not None
        made = self._pattern.filled(source.identifier, update.identifier) if update.identifier else ""
        return replace(source, identifier=made or source.identifier, attrs={**source.attrs, **update.attrs})


def _expression(constraint: Constraint) -> Any:
    return compiled(constraint.value) if constraint.condition is Condition.MATCHES else None


def _denied(source: SourceOp, by: _Ready, made_by: Sequence[Conversion]) -> SourceDeniedError:
    origin = f", which {made_by[-1].rule} made of {made_by[0].before.identifier}," if made_by else ""
    return SourceDeniedError(
        f"source denied by policy: {source.identifier}{origin} by {by.name} ({by.rule})",
        hint="use another source, or let a later rule of that policy allow it",
    )
