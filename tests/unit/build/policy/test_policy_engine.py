"""Source policies on one source: BuildKit's meaning of rules, and who is named when a source is denied."""

from __future__ import annotations

import pytest

from boatyard.build.llb.graph import SourceOp
from boatyard.build.policy.engine import MAX_CONVERSIONS, Evaluation, PolicyEngine
from boatyard.build.policy.rule import Action, Condition, Constraint, MatchType, Policy, Rule, Selector, Update
from boatyard.errors import InvalidError, SourceDeniedError

BUSYBOX = "docker-image://docker.io/library/busybox:latest"
ALPINE = "docker-image://docker.io/library/alpine:latest"
DEBIAN = "docker-image://docker.io/library/debian:bookworm"
README = "https://example.com/README.md"
PIN = "sha256:" + "a" * 64


def allow(identifier: str, *constraints: Constraint, match: MatchType = MatchType.WILDCARD) -> Rule:
    return Rule(Action.ALLOW, Selector(identifier, match, constraints))


def deny(identifier: str, *constraints: Constraint, match: MatchType = MatchType.WILDCARD) -> Rule:
    return Rule(Action.DENY, Selector(identifier, match, constraints))


def convert(
    identifier: str,
    into: str = "",
    *constraints: Constraint,
    match: MatchType = MatchType.WILDCARD,
    attrs: dict[str, str] | None = None,
) -> Rule:
    return Rule(Action.CONVERT, Selector(identifier, match, constraints), Update(into, attrs or {}))


def evaluate(*rules: Rule, source: str = BUSYBOX, attrs: dict[str, str] | None = None) -> Evaluation:
    return PolicyEngine([Policy(rules, "p.json")]).evaluate(SourceOp(source, attrs or {}))


def outcome(*rules: Rule, source: str = BUSYBOX, attrs: dict[str, str] | None = None) -> str:
    try:
        return evaluate(*rules, source=source, attrs=attrs).source.identifier
    except SourceDeniedError:
        return "denied"


def test_what_no_rule_selects_is_allowed() -> None:
    assert outcome(deny(ALPINE)) == BUSYBOX


@pytest.mark.parametrize("source", [ALPINE, "https://github.com/moby/buildkit.git", "local://context"])
def test_a_star_denies_every_kind_of_source(source: str) -> None:
    assert outcome(deny("*"), source=source) == "denied"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((allow(BUSYBOX), deny(BUSYBOX)), "denied"),
        ((deny(BUSYBOX), allow(BUSYBOX)), BUSYBOX),
        ((allow(BUSYBOX), deny(BUSYBOX), allow(BUSYBOX)), BUSYBOX),
        ((allow(BUSYBOX), deny("docker-image://*")), "denied"),
    ],
)
def test_the_last_rule_that_fits_counts(rules: tuple[Rule, ...], expected: str) -> None:
    assert outcome(*rules) == expected


def test_what_one_policy_denies_no_other_allows() -> None:
    engine = PolicyEngine([Policy((deny(BUSYBOX),)), Policy((allow(BUSYBOX),))])
    with pytest.raises(SourceDeniedError):
        engine.evaluate(SourceOp(BUSYBOX))
    engine = PolicyEngine([Policy((allow(BUSYBOX),)), Policy((deny(BUSYBOX),))])
    with pytest.raises(SourceDeniedError):
        engine.evaluate(SourceOp(BUSYBOX))


def test_a_conversion_is_judged_anew_by_all_rules() -> None:
    into_alpine = convert(BUSYBOX, ALPINE)
    assert outcome(deny("docker-image://docker.io/library/alpine:*"), into_alpine) == "denied"
    assert outcome(into_alpine, allow(ALPINE), deny("*alpine:*"), deny(BUSYBOX)) == "denied"
    assert outcome(deny(BUSYBOX), into_alpine) == ALPINE
    assert outcome(into_alpine, convert(ALPINE, DEBIAN)) == DEBIAN


def test_conversions_of_several_policies_meet() -> None:
    engine = PolicyEngine([Policy((convert(BUSYBOX, ALPINE),)), Policy((convert(ALPINE, DEBIAN),))])
    evaluation = engine.evaluate(SourceOp(BUSYBOX))
    assert evaluation.source.identifier == DEBIAN
    assert [each.after.identifier for each in evaluation.conversions] == [ALPINE, DEBIAN]


def test_a_conversion_into_the_same_changes_nothing() -> None:
    evaluation = evaluate(convert(BUSYBOX, BUSYBOX), convert("docker-image://*", "docker-image://${1}"))
    assert evaluation.conversions == ()


def test_conversions_that_go_in_circles_are_refused() -> None:
    with pytest.raises(InvalidError, match=r"don't come to an end with .*busybox"):
        evaluate(convert(BUSYBOX, ALPINE), convert(ALPINE, BUSYBOX))


def chain(length: int) -> list[Rule]:
    return [convert(f"https://h/{number}", f"https://h/{number + 1}") for number in range(length)]


def test_twenty_conversions_are_allowed_and_no_more() -> None:
    assert outcome(*chain(MAX_CONVERSIONS), source="https://h/0") == f"https://h/{MAX_CONVERSIONS}"
    with pytest.raises(InvalidError):
        evaluate(*chain(MAX_CONVERSIONS + 1), source="https://h/0")


def test_attributes_are_added_and_others_stay() -> None:
    rule = convert(README, attrs={"http.checksum": PIN})
    evaluation = evaluate(rule, source=README, attrs={"http.filename": "x"})
    assert evaluation.source == SourceOp(README, {"http.filename": "x", "http.checksum": PIN})
    assert str(evaluation.conversions[0]) == f"{README} gets http.checksum={PIN} by rule 1 of p.json"


@pytest.mark.parametrize("match", [MatchType.WILDCARD, MatchType.REGEX])
def test_a_conversion_of_attributes_alone_leaves_what_a_pattern_matched(match: MatchType) -> None:
    rule = convert("https://*" if match is MatchType.WILDCARD else "^https://", match=match, attrs={"a": "b"})
    assert evaluate(rule, source=README).source == SourceOp(README, {"a": "b"})


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        (Constraint("a", "1"), True),
        (Constraint("a", "2"), False),
        (Constraint("missing", ""), True),
        (Constraint("missing", "x"), False),
        (Constraint("a", "2", Condition.NOTEQUAL), True),
        (Constraint("a", "1", Condition.NOTEQUAL), False),
        (Constraint("missing", "1", Condition.NOTEQUAL), True),
        (Constraint("a", r"^\d$", Condition.MATCHES), True),
        (Constraint("b", "o", Condition.MATCHES), True),
        (Constraint("a", r"\D", Condition.MATCHES), False),
    ],
)
def test_constraints_are_on_attributes(constraint: Constraint, fits: bool) -> None:
    attrs = {"a": "1", "b": "foo"}
    assert outcome(deny("*", constraint), attrs=attrs) == ("denied" if fits else BUSYBOX)


def test_all_constraints_must_hold() -> None:
    attrs = {"a": "1", "b": "2"}
    assert outcome(deny("*", Constraint("a", "1"), Constraint("b", "2")), attrs=attrs) == "denied"
    assert outcome(deny("*", Constraint("a", "1"), Constraint("b", "3")), attrs=attrs) == BUSYBOX


def test_a_denied_source_names_the_rule_and_what_it_was_before() -> None:
    rules = (convert(BUSYBOX, ALPINE), deny("docker-image://*", Constraint("x", "y", Condition.NOTEQUAL)))
    with pytest.raises(SourceDeniedError) as caught:
        evaluate(*rules)
    assert caught.value.message == (
        f"source denied by policy: {ALPINE}, which rule 1 of p.json made of {BUSYBOX}, "
        "by rule 2 of p.json (DENY docker-image://* where x is not 'y')"
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (deny("a**b"), "rule 1 of p.json: invalid wildcard 'a\\*\\*b'"),
        (deny("(", match=MatchType.REGEX), r"rule 1 of p.json: invalid regular expression '\('"),
        (deny("*", Constraint("a", "[", Condition.MATCHES)), "rule 1 of p.json: invalid regular expression"),
        (Rule(Action.CONVERT, Selector("*")), "rule 1 of p.json converts, but doesn't say into what"),
        (deny("a{1,1000}{1,1000}{1,1000}", match=MatchType.REGEX), "invalid regular expression"),
    ],
)
def test_a_malformed_rule_is_named_before_anything_is_judged(rule: Rule, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        PolicyEngine([Policy((rule,), "p.json")])
