"""Ignore patterns and wildcards, by example and against a slow matcher that spells out the rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.paths.patterns import PatternMatcher, has_wildcard, match_glob, parse_glob, parse_pattern

# -- single patterns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "named"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("a", "ab", False),
        ("a/", "a", True),
        ("a/b", "a/b/c", True),
        ("a/b", "a", False),
        ("./a/../b", "b", True),
        (" a ", "a", True),
        ("*", "a", True),
        ("*", "a/b", True),
        ("*.go", "a.go", True),
        ("*.go", "a/b.go", False),
        ("*/*.go", "a/b.go", True),
        ("*/b", "a/b/c", True),
        ("a*b*c", "axbxbxc", True),
        ("a*b*c", "axbxbx", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a?c", "aéc", True),
        ("**", "a", True),
        ("**", "a/b", True),
        ("**/", "a/b", True),
        ("**/a", "a", True),
        ("**/a", "b/c/a", True),
        ("**/a", "b/c/a/d", True),
        ("**/a", "ba", False),
        ("**/*.py", "a/b/c.py", True),
        ("**/*.py", "c.py", True),
        ("**/*.py", "c.pyc", False),
        ("**/a/*/b", "x/a/y/b", True),
        ("**/a/*/b", "x/a/y/z/b", False),
        ("a/**", "a", False),
        ("a/**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "ab", False),
        ("a/**/b/**/c", "a/b/x/b/c", True),
        ("**/**/a", "a", True),
        ("**.log", "x.log", True),
        ("**.log", "a/x.log", True),
        ("**.log", "a/.log/b", True),
        ("**a", "b/xa", True),
        ("**a?", "b/xab", False),
        ("a**", "abc/d", True),
        ("a**", "ba", False),
        ("a**b", "ab", True),
        ("a**b", "ax/y/b", True),
        ("a**b", "axb", False),
        ("a**/b", "ab", True),
        ("a**/b", "ax/b", True),
        ("[ab]c", "bc", True),
        ("[ab]c", "cc", False),
        ("[^ab]c", "cc", True),
        ("[^ab]c", "/c", False),
        ("a[b-d]e", "ace", True),
        ("a[b\\-d]e", "a-e", True),
        ("a[b\\-d]e", "ace", False),
        ("[.^$|]", "^", True),
        ("[\\d]", "1", False),
        ("a]", "a]", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("\\a", "a", True),
        ("a.b", "axb", False),
        ("a+(b)|{c}$^", "a+(b)|{c}$^", True),
        ("a b", "a b", True),
        ("#a", "#a", True),
        ("é*", "éa", True),
        ("*\n*", "a\nb", True),
    ],
)
def test_what_a_pattern_names(pattern: str, path: str, named: bool) -> None:
    assert PatternMatcher([pattern]).matches(path) is named


@pytest.mark.parametrize(
    "pattern",
    ["[", "[a", "[]", "[]a]", "[^]", "[^]a]", "[a-]", "[-a]", "[a-", "[b-a]", "a\\", "[a\\", "!", " ! ", "!["],
)
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidError) as caught:
        PatternMatcher(["a", pattern])
    assert caught.value.hint


def test_a_pattern_with_many_inner_globstars_is_refused() -> None:
    with pytest.raises(InvalidError, match="too many"):
        PatternMatcher(["a**b**c**d**e**f"])


def test_a_pattern_says_what_it_is() -> None:
    pattern = parse_pattern(" !/a//b/ ")
    assert (pattern.text, pattern.exception) == ("/a/b", True)


# -- lists of patterns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "path", "matches"),
    [
        ([], "a", False),
        (["", "  "], "a", False),
        (["a", "!a"], "a", False),
        (["!a", "a"], "a", True),
        (["*", "!a"], "a/b", False),
        (["*", "!a"], "b", True),
        (["a", "!a/b", "a/b/c"], "a/b/c/d", True),
        (["a", "!a/b", "a/b/c"], "a/b/d", False),
        (["a", "!a/b", "a/b/c"], "a/d", True),
        (["a", "!a/b", "a"], "a/b", False),
        (["a", "!a/b", "**/b"], "a/b", True),
        (["**/*.md", "!docs"], "docs/a.md", True),
        (["docs/*", "!docs"], "docs/a.md", True),
        (["docs*", "!docs"], "docs/a.md", False),
        (["*", "!docs", "**/*.md"], "docs/a.md", True),
        (["*", "!docs", "**/*.md"], "docs/a.txt", False),
        (["**/*.md", "!README.md"], "README.md", False),
        (["**/*.md", "!README.md"], "docs/README.md", True),
        (["*", "!**/x"], "a/b/x", False),
        (["*"], ".", False),
        (["."], "a", False),
    ],
)
def test_the_last_pattern_that_names_a_path_decides(patterns: list[str], path: str, matches: bool) -> None:
    assert PatternMatcher(patterns).matches(path) is matches


@pytest.mark.parametrize(
    ("patterns", "directory", "prunes"),
    [
        (["a"], "a", True),
        (["a"], "a/b", True),
        (["a"], "b", False),
        (["*", "!a"], "b", True),
        (["*", "!a"], "a", False),
        (["a", "!a/b/c"], "a", False),
        (["a", "!a/b/c"], "a/b", False),
        (["a", "!a/b/c"], "a/x", True),
        (["a", "!b"], "a", True),
        (["a", "!**/b"], "a", False),
        (["a", "!b/**/c"], "a", True),
        (["a", "!a/**"], "a", False),
        (["a", "!a*/c"], "a", False),
        (["a", "!b*/c"], "a", True),
        (["!a/b", "a"], "a", True),
        (["a", "!ab**c"], "a", True),
        (["ax", "!a**c"], "ax", False),
        (["*"], ".", False),
    ],
)
def test_directories_that_a_walk_may_pass_by(patterns: list[str], directory: str, prunes: bool) -> None:
    assert PatternMatcher(patterns).prunes(directory) is prunes


@pytest.mark.parametrize(
    ("patterns", "directory", "reaches"),
    [
        (["a/b"], "", True),
        ([], "", False),
        (["a/b"], "a", True),
        (["a/b"], "a/b/c", True),
        (["a/b"], "b", False),
        (["**/x"], "a/b", True),
        (["a/*/c"], "a/b", True),
        (["a/*/c"], "a/b/d", False),
        (["a", "!a/b"], "a/b", False),
    ],
)
def test_directories_that_included_files_may_be_in(patterns: list[str], directory: str, reaches: bool) -> None:
    assert PatternMatcher(patterns).may_match_below(directory) is reaches


def test_exceptions_are_known() -> None:
    assert not PatternMatcher(["a"]).has_exceptions
    assert PatternMatcher(["a", "!b"]).has_exceptions
    assert not PatternMatcher([])


# -- wildcards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wild"),
    [
        ("a", False),
        ("a*", True),
        ("?", True),
        ("[", True),
        ("\\*", False),
        ("\\\\*", True),
        ("\\", False),
        ("]", False),
    ],
)
def test_wildcards_are_seen(path: str, wild: bool) -> None:
    assert has_wildcard(path) is wild


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("main.c", "main.c", True),
        ("main.c", "main.cc", False),
        ("*", "main.c", True),
        ("*.c", "main.c", True),
        ("src/*", "src/a/b", False),
        ("*/main.c", "src/main.c", True),
        ("*-*-*.tar", "a-1-x-2.tar", True),
        ("*-?-*.tar", "lib-10-2-x.tar", True),
        ("*-?-*.tar", "lib-10-x.tar", False),
        ("v[0-9]", "v7", True),
        ("v[^0-9]", "v7", False),
        ("v[^0-9]", "vé", True),
        ("\\*.c", "*.c", True),
        ("\\*.c", "a.c", False),
        ("??", "éü", True),
        ("[à-ý]", "é", True),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]]", "]", True),
        ("[1\\-]", "-", True),
        ("[\\-1]", "0", False),
        ("**", "main.c", True),
        ("**/main.c", "a/b/main.c", False),
        ("v[", "v", None),
        ("[]", "]", None),
        ("v\\", "v", None),
    ],
)
def test_globs(pattern: str, path: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(InvalidError, match="invalid pattern"):
            match_glob(pattern, path)
    else:
        assert match_glob(pattern, path) is matches


def test_names_without_wildcards_stay_names() -> None:
    first, second, third = parse_glob("a\\*b/c*/d")
    assert (first, third) == ("a*b", "d")
    assert isinstance(second, re.Pattern)


# -- against a slow matcher ------------------------------------------------------------------------------------------


def slow_expression(pattern: str) -> str:
    """The rules one by one, left to right. Stars try every way there is."""
    if re.fullmatch(r"\*\*[^/*?][^*?]*", pattern):
        return ".*" + re.escape(pattern[2:])
    out = ""
    while pattern:
        if pattern.startswith("**"):
            pattern = pattern[2:].removeprefix("/")
            out += "(?:.*/)?" if pattern else ".*"
        elif pattern[0] in "*?":
            out += "[^/]*" if pattern[0] == "*" else "[^/]"
            pattern = pattern[1:]
        else:
            out += re.escape(pattern[0])
            pattern = pattern[1:]
    return out


def slow_matches(patterns: list[str], path: str) -> bool:
    """From the top down. A pattern that could change nothing has no say, then and below."""
    parts = path.split("/")
    held: set[int] = set()
    named = False
    for count in range(len(parts)):
        named = False
        for index, pattern in enumerate(patterns):
            exception = pattern.startswith("!")
            expression = re.compile(slow_expression(pattern.removeprefix("!")), re.DOTALL)
            if index not in held and exception == named and expression.fullmatch("/".join(parts[: count + 1])):
                held.add(index)
            if index in held:
                named = not exception
    return named


names = st.text("ab*?", min_size=1, max_size=4).filter(lambda name: name.count("**") < 3)
pattern_texts = st.lists(names | st.just("**"), min_size=1, max_size=4).map("/".join)
pattern_lists = st.lists(st.builds("{}{}".format, st.sampled_from(["", "!"]), pattern_texts), max_size=4)
paths = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


def accepted(patterns: list[str]) -> PatternMatcher | None:
    try:
        return PatternMatcher(patterns)
    except InvalidError:
        return None


@given(pattern_lists, st.lists(paths, min_size=1, max_size=8))
@settings(max_examples=200)
def test_it_names_what_the_slow_matcher_names(patterns: list[str], candidates: list[str]) -> None:
    matcher = accepted(patterns)
    if matcher is None:
        return
    for path in candidates:
        assert matcher.matches(path) == slow_matches(patterns, path), path


@given(pattern_lists, paths, paths)
@settings(max_examples=200)
def test_nothing_below_a_directory_that_is_passed_by_would_be_kept(patterns: list[str], above: str, below: str) -> None:
    matcher = accepted(patterns)
    if matcher is not None and matcher.prunes(above):
        assert matcher.matches(f"{above}/{below}")


@given(pattern_lists, paths, paths)
@settings(max_examples=200)
def test_nothing_below_a_directory_that_is_not_entered_would_be_included(
    patterns: list[str], above: str, below: str
) -> None:
    matcher = accepted(patterns)
    if matcher is not None and not matcher.may_match_below(above):
        assert not matcher.matches(f"{above}/{below}")


@given(st.text("ab*?[]^-\\/!. ", max_size=12), st.text("ab/-^]", max_size=12))
@settings(max_examples=200)
def test_any_text_is_a_pattern_or_refused(pattern: str, path: str) -> None:
    for use in (lambda: PatternMatcher([pattern]).matches(path), lambda: match_glob(pattern, path)):
        try:
            use()
        except InvalidError as error:
            assert error.message


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "*b", "a" * 4_000),
        ("**/*a" * 4 + "/b", "a" * 4_000),
        ("/".join(["**/a*b"] * 20) + "/c", "/".join(["aab"] * 1_000)),
        ("**/" + "a/**/" * 30 + "b", "/".join(["a"] * 2_000)),
        ("a**b**c**d**e", "/".join(["abcd"] * 1_000)),
        ("*" * 60 + "b", "a" * 4_000),
        ("[^b]*" * 30 + "b", "a" * 4_000),
        ("?" * 2_000 + "*x", "a" * 4_000),
    ],
)
def test_hostile_patterns_take_no_longer(pattern: str, path: str) -> None:
    assert not PatternMatcher([pattern]).matches(path)
