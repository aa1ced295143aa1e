"""Source policies: from their documents to what the builder works with."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.build.policy.rule import Action, Condition, Constraint, MatchType, Policy, Rule, Selector, Update
from boatyard.client import policyfile
from boatyard.client.documents.policies import PolicyRule, SourcePolicy


def from_document(document: SourcePolicy, *, owner: str = "") -> Policy:
    """`owner` says whose it is: "the daemon's"."""
    name = document.name or "the source policy"
    return Policy(tuple(map(_rule, document.rules)), f"{owner} {name}".strip())


def from_files(paths: Sequence[str]) -> tuple[Policy, ...]:
    """The daemon's own."""
    return tuple(from_document(policyfile.read(path), owner="the daemon's") for path in paths)


def _rule(rule: PolicyRule) -> Rule:
    selector = Selector(
        rule.selector.identifier,
        MatchType[rule.selector.match_type],
        tuple(Constraint(each.key, each.value, Condition[each.condition]) for each in rule.selector.constraints),
    )
    update = None if rule.updates is None else Update(rule.updates.identifier, rule.updates.attrs)
    return Rule(Action[rule.action], selector, update)
