"""Source policies as files: BuildKit's JSON, and what is refused in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.policy.rule import Action, Condition, Constraint, MatchType, Policy, Rule, Selector, Update
from boatyard.client import policyfile
from boatyard.daemon import policies
from boatyard.errors import BoatyardError, DeniedError, InvalidError, NotFoundError, UnsupportedError

PINNING = """
{
  "version": 1,
  "rules": [
    {
      "action": "CONVERT",
      "selector": {"identifier": "docker-image://docker.io/library/alpine:latest"},
      "updates": {"identifier": "docker-image://docker.io/library/alpine:latest@sha256:4edb"}
    },
    {
      "action": "CONVERT",
      "selector": {"identifier": "https://example.com/README.md", "match_type": "EXACT"},
      "updates": {"attrs": {"http.checksum": "sha256:6e4b"}}
    },
    {
      "action": "DENY",
      "selector": {
        "identifier": "^git://",
        "match_type": "REGEX",
        "constraints": [{"key": "git.checksum", "value": "", "condition": "EQUAL"}, {"key": "k", "condition": 2}]
      }
    }
  ]
}
"""


def test_a_policy_in_buildkits_form_is_read() -> None:
    policy = policies.from_document(policyfile.parse(PINNING.encode(), "policy.json"))
    assert policy == Policy(
        (
            Rule(
                Action.CONVERT,
                Selector("docker-image://docker.io/library/alpine:latest"),
                Update("docker-image://docker.io/library/alpine:latest@sha256:4edb"),
            ),
            Rule(
                Action.CONVERT,
                Selector("https://example.com/README.md", MatchType.EXACT),
                Update("", {"http.checksum": "sha256:6e4b"}),
            ),
            Rule(
                Action.DENY,
                Selector(
                    "^git://",
                    MatchType.REGEX,
                    (Constraint("git.checksum"), Constraint("k", "", Condition.MATCHES)),
                ),
            ),
        ),
        "policy.json",
    )


def test_numbers_and_other_cases_are_as_good_as_names() -> None:
    text = b'{"Rules": [{"ACTION": 1, "selector": {"Identifier": "*", "matchType": 0}, "updates": null}]}'
    (rule,) = policies.from_document(policyfile.parse(text, "p")).rules
    assert rule == Rule(Action.DENY, Selector("*"))


def test_a_rule_without_an_action_allows_as_in_buildkit() -> None:
    (rule,) = policies.from_document(policyfile.parse(b'{"rules": [{"selector": {}}]}', "p")).rules
    assert rule.action is Action.ALLOW


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('{"rules": [{"acton": "DENY", "selector": {}}]}', "p.json: rule 1: unknown key 'acton'", "'action'"),
        ('{"rules": [{"action": "DENY"}]}', "required field `selector`", None),
        ('{"rules": [{"action": "REFUSE", "selector": {}}]}', "REFUSE", None),
        ('{"rules": [{"action": 3, "selector": {}}]}', r"rules\[0\].action", None),
        ('{"rules": [{"selector": {"constraints": [{"ke": 1}]}}]}', "constraint 1: unknown key 'ke'", "'key'"),
        ('{"rules": {}}', r"\$.rules", None),
        ('{"rules": ["x"]}', r"rules\[0\]", None),
        ("[]", "p.json", None),
        ("rules: []", "p.json is no source policy", "it is JSON"),
        ('{"version": 2}', "version 2", None),
        ('{"name": "x"}', "unknown key 'name'", None),
    ],
)
def test_what_is_malformed_is_named(text: str, message: str, hint: str | None) -> None:
    with pytest.raises((InvalidError, UnsupportedError), match=message) as caught:
        policyfile.parse(text.encode(), "p.json")
    if hint:
        assert hint in (caught.value.hint or "")


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none.json does not exist"):
        policyfile.read(str(tmp_path / "none.json"))
    with pytest.raises(DeniedError, match="can't read"):
        policyfile.read(str(tmp_path))
    large = tmp_path / "large.json"
    with open(large, "wb") as file:
        file.truncate(policyfile.MAX_BYTES + 1)
    with pytest.raises(InvalidError, match="too large"):
        policyfile.read(str(large))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 4) | st.text(max_size=5) | st.sampled_from(["DENY", "EXACT"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["rules", "selector", "updates", "constraints", "action", "attrs", "identifier", "match_type", "key"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(_VALUES)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        document = policyfile.parse(json.dumps(value).encode(), "p")
    except BoatyardError:
        return
    policies.from_document(document)
    # What goes to the daemon comes out there as it was.
    assert msgspec.json.decode(msgspec.json.encode(document), type=type(document)) == document


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        policyfile.parse(data, "p")
    except BoatyardError:
        pass
