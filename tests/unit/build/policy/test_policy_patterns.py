"""Patterns of selectors and the templates of updates, as Go's `regexp` has them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.policy.pattern import expand, pattern
from boatyard.build.policy.rule import MatchType

GOLANG = "docker-image://docker.io/library/golang:1.19"


@pytest.mark.parametrize(
    ("match", "identifier", "template", "made"),
    [
        (MatchType.WILDCARD, "docker-image://docker.io/library/golang:*", "docker-image://r/golang:${1}-alpine",
         "docker-image://r/golang:1.19-alpine"),
        (MatchType.WILDCARD, "docker-image://*/*:*", "$3 $2 $1", "1.19 golang docker.io/library"),
        (MatchType.WILDCARD, "*", "<$0>", f"<{GOLANG}>"),
        (MatchType.WILDCARD, GOLANG, "x$0$1", f"x{GOLANG}"),
        (MatchType.EXACT, GOLANG, "as it is: $1 ${1} $$", "as it is: $1 ${1} $$"),
        (MatchType.REGEX, r"docker\-image://docker\.io/library/golang:(.*)", "docker-image://r/golang:$1",
         "docker-image://r/golang:1.19"),
        (MatchType.REGEX, r"^docker-image://(?P<domain>[^/]+)/(?P<path>.*)$", "docker-image://mirror/${domain}/$path",
         "docker-image://mirror/docker.io/library/golang:1.19"),
        # what lies around a match stays, and every match is replaced
        (MatchType.REGEX, "golang", "go", "docker-image://docker.io/library/go:1.19"),
        (MatchType.REGEX, "[./]", "-", "docker-image:--docker-io-library-golang:1-19"),
    ],
)  # fmt: skip
def test_templates_take_up_what_matched(match: MatchType, identifier: str, template: str, made: str) -> None:
    found = pattern(identifier, match)
    assert found.matches(GOLANG)
    assert found.filled(GOLANG, template) == made


@pytest.mark.parametrize(
    ("match", "identifier", "text"),
    [
        (MatchType.WILDCARD, "docker-image://docker.io/*", "http://docker.io/x"),
        (MatchType.WILDCARD, "a.c", "abc"),
        (MatchType.WILDCARD, "a*", "ba"),
        (MatchType.WILDCARD, "a*", "a\n"),
        (MatchType.EXACT, "a*", "ab"),
        (MatchType.REGEX, "^b", "ab"),
    ],
)
def test_what_does_not_match(match: MatchType, identifier: str, text: str) -> None:
    assert not pattern(identifier, match).matches(text)


def test_an_identifier_spelled_like_the_expression_is_meant() -> None:
    assert pattern("https://h/?a=(1)", MatchType.REGEX).matches("https://h/?a=(1)")


GROUPS = {"0": "whole", "1": "one", "name": "text"}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("$1", "one"),
        ("${1}x", "onex"),
        ("$1x", ""),  # the group called "1x"
        ("$name.", "text."),
        ("$$1", "$1"),
        ("$", "$"),
        ("$-", "$-"),
        ("${", "${"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("${na-me}", "${na-me}"),
        ("a$0b", "a"),  # the group called "0b"
        ("$01", ""),
        ("$2", ""),
    ],
)
def test_a_template_is_read_as_go_reads_it(template: str, made: str) -> None:
    assert expand(template, lambda name: GROUPS.get(name, "")) == made


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_template(template: str) -> None:
    assert "$" in template or expand(template, lambda name: "x") == template
    expand(template, lambda name: "x")


@settings(deadline=None)
@given(st.text(alphabet="ab*/:.", max_size=12), st.text(alphabet="ab/:.", max_size=12))
def test_a_wildcard_matches_as_its_translation_does(identifier: str, text: str) -> None:
    while "**" in identifier:
        identifier = identifier.replace("**", "*")
    translated = "(.*)".join(map(re.escape, identifier.split("*")))
    assert pattern(identifier, MatchType.WILDCARD).matches(text) == bool(re.fullmatch(translated, text))


@settings(deadline=None)
@given(st.sampled_from(["a", "b*", "a|b", "(a)(b)?", "^a", "b$", "", "x*", "[ab]+"]), st.text("abx", max_size=8))
def test_replacing_is_that_of_re_where_both_agree(expression: str, text: str) -> None:
    """Go takes no empty match right behind another match; Python's `sub` does."""
    pieces, last = [], 0
    for match in re.finditer(expression, text):
        pieces.append(text[last : match.start()])
        if match.end() > last or match.start() == 0:
            pieces.append("<>")
        last = match.end()
    assert pattern(expression, MatchType.REGEX).filled(text, "<>") == "".join(pieces) + text[last:]


def test_a_pattern_that_others_choke_on_takes_no_time() -> None:
    # With backtracking this would not come to an end.
    assert not pattern("^(a+)+$", MatchType.REGEX).matches("a" * 5000 + "b")
    assert not pattern("*a" * 30, MatchType.WILDCARD).matches("a" * 5000 + "b")
