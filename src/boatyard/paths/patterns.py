"""Which paths a list of patterns names: `.dockerignore`, `COPY --exclude`, include patterns; and the wildcards of COPY.

A pattern is a path whose names may have `*` (any characters), `?` (one), `[a-z]` and `[^a-z]`; none of them takes a
`/`. A name `**` is any number of directories, none included. A pattern names the paths it matches and everything
below them; of several patterns, the last one that names a path decides, and one that begins with `!` takes it out
again, if it is named so far (see `PatternMatcher._verdict` for what that means below directories).

Expressions are made so that they never try all ways to share a text among stars: within a name, each piece between
stars is taken where it is found first, and so are the names between two `**`. That finds a match whenever there is one.

Specification: the Docker documentation, ".dockerignore files"; moby/patternmatcher; Go, path/filepath, Match.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from boatyard.errors import InvalidError

_BLANKS = "\t\n\v\f\r \x85\xa0"
_WILD = re.compile(r"[*?[\]\\]")
_UNPROTECTED = re.compile(r"(?:\\.|[^\\*?[])*+[*?[]", re.DOTALL)

# Tokens: an expression for one character, or one of these.
_STAR = "*"
_SLASH = "/"
_DIRECTORIES = "**/"
"""Any number of directories, none included. At the start of a name."""
_REST = "**"
"""Anything up to the end, slashes included."""
_INNER = "a**b"
"""`**` within a name: nothing, or the rest of the name and any number of directories."""
_MOST_VERDICTS = 4096
"""On directories, kept for what is in them."""
_MOST_INNER = 4
"""Each doubles the expression."""

_END = r"(?:/|\Z)"


# -- one pattern -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pattern:
    """`text` is cleaned and without `!`, which is `exception`."""

    text: str
    exception: bool
    _alternatives: tuple[tuple[str, ...], ...]

    @cached_property
    def expressions(self) -> tuple[str, ...]:
        """A path is named when one of them matches at its start. They begin with `_ANYWHERE` when that is what they
        do."""
        return tuple(_expression(tokens) for tokens in self._alternatives)

    def names(self, path: str) -> bool:
        return self._compiled.match(path) is not None

    def names_itself(self, path: str) -> bool:
        """Without what it names above the path."""
        return self._exact.match(path) is not None

    def may_reach_into(self, directory: str) -> bool:
        """Whether it might name something below a directory that it doesn't name itself."""
        parts = directory.split("/")
        return any(_may_reach(names, ends_open, parts) for names, ends_open in self._beginnings)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile("|".join(self.expressions), re.DOTALL)

    @cached_property
    def _exact(self) -> re.Pattern[str]:
        return re.compile("|".join(_expression(tokens, r"\Z") for tokens in self._alternatives), re.DOTALL)

    @cached_property
    def _beginnings(self) -> tuple[tuple[tuple[re.Pattern[str], ...], bool], ...]:
        return tuple(_beginning(tokens) for tokens in self._alternatives)


def parse_pattern(text: str) -> Pattern:
    """InvalidError when it is malformed or empty."""
    text = text.strip(_BLANKS)
    exception = text.startswith("!")
    cleaned = text[1:].strip(_BLANKS) if exception else text
    if not cleaned:
        raise InvalidError(f"the pattern {text!r} names nothing", hint="after ! there has to be a path or pattern")
    cleaned = posixpath.normpath(cleaned)
    return Pattern(cleaned, exception, _alternatives(_tokens(cleaned), cleaned))


# -- many patterns ---------------------------------------------------------------------------------------------------


class PatternMatcher:
    """Immutable after it was made. Paths are relative, with slashes, without `.` and `..`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """InvalidError when one is malformed. Empty ones are left out."""
        self.patterns: tuple[Pattern, ...] = tuple(parse_pattern(text) for text in patterns if text.strip(_BLANKS))
        self.has_exceptions = any(pattern.exception for pattern in self.patterns)
        expressions = [each for pattern in self.patterns for each in pattern.expressions]
        self._any = re.compile(_union(expressions) if expressions else "(?!)", re.DOTALL).match
        self._verdicts: dict[str, _Verdict] = {}

    def __bool__(self) -> bool:
        """Whether there are patterns at all."""
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """Whether the patterns name the path, by itself or with a directory above it. They never name ".", the root."""
        if self.has_exceptions:
            return self._verdict(path).last >= 0 and path != "."
        return self._any(path) is not None and path != "."

    def prunes(self, directory: str) -> bool:
        """Whether the patterns name the directory and everything that could be below it: a walk may pass it by."""
        if not self.has_exceptions:
            return self.matches(directory)
        last = self._verdict(directory).last
        if last < 0 or directory == ".":
            return False
        # An exception before the pattern that decides has no say below it either.
        return not any(pattern.exception and pattern.may_reach_into(directory) for pattern in self.patterns[last + 1 :])

    def may_match_below(self, directory: str) -> bool:
        """Whether the patterns, as those of what is included, could name something below the directory."""
        if directory in ("", "."):
            return bool(self.patterns)
        return self.matches(directory) or any(
            not pattern.exception and pattern.may_reach_into(directory) for pattern in self.patterns
        )

    def _verdict(self, path: str) -> _Verdict:
        above, _, _ = path.rpartition("/")
        known: _Verdict | None = None
        if above:
            known = self._verdicts.get(above)
            if known is None:
                known = self._verdict(above)
                if len(self._verdicts) >= _MOST_VERDICTS:
                    self._verdicts.clear()
                self._verdicts[above] = known
        held: list[bool] = []
        last = -1
        for index, pattern in enumerate(self.patterns):
            # One that could change nothing isn't asked, and has no say below either: `!docs` brings docs/a.md back
            # after `docs*`, and not after `**/*.md`, which doesn't name docs. So BuildKit has it.
            holds = (known is not None and known.held[index]) or (
                pattern.exception == (last >= 0) and pattern.names_itself(path)
            )
            held.append(holds)
            if holds:
                last = -1 if pattern.exception else index
        return _Verdict(last, tuple(held))


class _Verdict(NamedTuple):
    """On a path, with exceptions. `last`: the pattern by which it is named, or -1. `held`: those that name it or a
    directory above it, and had a say."""

    last: int
    held: tuple[bool, ...]


def _union(expressions: Sequence[str]) -> str:
    """Those that may match anywhere share the search for the place."""
    anywhere = [each.removeprefix(_ANYWHERE) for each in expressions if each.startswith(_ANYWHERE)]
    others = [each for each in expressions if not each.startswith(_ANYWHERE)]
    if anywhere:
        others.append(f"{_ANYWHERE}(?:{'|'.join(anywhere)})")
    return "|".join(others)


# -- wildcards of COPY -----------------------------------------------------------------------------------------------


def has_wildcard(path: str) -> bool:
    """Whether there is a `*`, `?` or `[` without a backslash before it."""
    return _UNPROTECTED.match(path) is not None


@lru_cache(maxsize=256)
def parse_glob(pattern: str) -> tuple[str | re.Pattern[str], ...]:
    """A matcher for each name of a path with wildcards: the name itself when it has none, otherwise an expression to
    be used with `fullmatch`. `**` is no more than `*` here. InvalidError when it is malformed."""
    names: list[str | re.Pattern[str]] = []
    for name in pattern.split("/"):
        tokens = tuple(_name_tokens(name, pattern))
        if has_wildcard(name):
            names.append(re.compile(_name_expression(tokens, atomic=False), re.DOTALL))
        else:
            names.append(re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL))
    return tuple(names)


def match_glob(pattern: str, path: str) -> bool:
    """Go's filepath.Match: the whole path, name by name."""
    matchers, names = parse_glob(pattern), path.split("/")
    return len(matchers) == len(names) and all(
        matcher == name if isinstance(matcher, str) else matcher.fullmatch(name) is not None
        for matcher, name in zip(matchers, names, strict=True)
    )


# -- from text to tokens ---------------------------------------------------------------------------------------------


def _tokens(pattern: str) -> tuple[str, ...]:
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 2
            takes_slash = pattern.startswith("/", at)
            at += takes_slash
            if at == len(pattern):
                tokens.append(_REST)
            elif not tokens and not takes_slash and _WILD.search(pattern, at) is None:
                # `**.log` is any path that ends so, while `**.l?g` is `**/.l?g`: that is how the patterns are read
                # everywhere, so it has to be here.
                tokens += [_DIRECTORIES, _STAR]
            elif not tokens or tokens[-1] == _SLASH:
                tokens.append(_DIRECTORIES)
            elif tokens[-1] not in (_DIRECTORIES, _INNER):
                tokens.append(_INNER)
        elif pattern[at] == "/":
            tokens.append(_SLASH)
            at += 1
        else:
            token, at = _token(pattern, at, pattern)
            tokens.append(token)
    return tuple(tokens)


def _name_tokens(name: str, pattern: str) -> Iterable[str]:
    at = 0
    while at < len(name):
        token, at = _token(name, at, pattern)
        yield token


def _token(text: str, at: int, pattern: str) -> tuple[str, int]:
    char = text[at]
    if char == "*":
        return _STAR, at + 1
    if char == "?":
        return "[^/]", at + 1
    if char == "[":
        return _class(text, at + 1, pattern)
    if char == "\\":
        char, at = _escaped(text, at, pattern)
        return re.escape(char), at
    return re.escape(char), at + 1


def _class(text: str, at: int, pattern: str) -> tuple[str, int]:
    """What follows `[`: at least one character or range, up to `]`."""
    negated = text.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (ranges and text.startswith("]", at)):
        first, at = _class_character(text, at, pattern)
        last = first
        if text.startswith("-", at):
            last, at = _class_character(text, at + 1, pattern)
        if first > last:
            raise _bad(pattern, f"the range {first}-{last} goes backwards")
        ranges.append(f"{re.escape(first)}-{re.escape(last)}")
    return (f"[^/{''.join(ranges)}]" if negated else f"(?!/)[{''.join(ranges)}]"), at + 1


def _class_character(text: str, at: int, pattern: str) -> tuple[str, int]:
    char = text[at : at + 1]
    if char in ("", "-", "]"):
        raise _bad(pattern, "a [ is not closed, or empty, or has a - or ] without a backslash")
    return _escaped(text, at, pattern) if char == "\\" else (char, at + 1)


def _escaped(text: str, at: int, pattern: str) -> tuple[str, int]:
    if at + 1 >= len(text):
        raise _bad(pattern, "a backslash protects nothing")
    return text[at + 1], at + 2


def _bad(pattern: str, reason: str) -> InvalidError:
    return InvalidError(f"invalid pattern {pattern!r}: {reason}", hint="put a backslash before *, ?, [ or \\ in a name")


def _alternatives(tokens: tuple[str, ...], pattern: str) -> tuple[tuple[str, ...], ...]:
    if tokens.count(_INNER) > _MOST_INNER:
        raise _bad(pattern, "it has too many ** within names")
    if _INNER not in tokens:
        return (tokens,)
    at = tokens.index(_INNER)
    before, after = tokens[:at], tokens[at + 1 :]
    return (
        *_alternatives(before + after, pattern),
        *_alternatives((*before, _STAR, _SLASH, _DIRECTORIES, *after), pattern),
    )


# -- from tokens to expressions --------------------------------------------------------------------------------------

_ANYWHERE = "(?:[^/]*+/)*?"
"""The start of every name, the first one first."""
_Match = Callable[[str], "re.Match[str] | None"]


def _expression(tokens: tuple[str, ...], end: str = _END) -> str:
    first, *others = _split(tokens, _DIRECTORIES)
    parts = [_names_expression(first)]
    for block in others[:-1]:
        parts.append(f"(?>{_ANYWHERE}{_names_expression(block)})")
    if others:
        parts.append(_ANYWHERE + _names_expression(others[-1]))
    if tokens[-1] != _REST:
        parts.append(end)
    return "".join(parts)


def _names_expression(tokens: tuple[str, ...]) -> str:
    names = _split(tokens, _SLASH)
    return "/".join(_name_expression(name, atomic=name[-1:] == (_REST,)) for name in names)


def _name_expression(tokens: tuple[str, ...], *, atomic: bool) -> str:
    """`atomic`: anything may follow, so the last piece too is best taken where it is found first."""
    first, *others = _split(tuple(token for token in tokens if token != _REST), _STAR)
    parts = ["".join(first)]
    for index, piece in enumerate(others):
        text = "".join(piece)
        if index < len(others) - 1 or atomic:
            parts.append(f"(?>[^/]*?{text})" if text else "")
        else:
            parts.append(f"[^/]*{text}" if text else "[^/]*+")
    return "".join(parts)


def _split(tokens: tuple[str, ...], mark: str) -> list[tuple[str, ...]]:
    groups: list[tuple[str, ...]] = []
    start = 0
    for index, token in enumerate(tokens):
        if token == mark:
            groups.append(tokens[start:index])
            start = index + 1
    return [*groups, tokens[start:]]


def _beginning(tokens: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], ...], bool]:
    """The names before the first `**`, and whether there is one."""
    ends_open = _DIRECTORIES in tokens or _REST in tokens
    names = _split(_split(tokens, _DIRECTORIES)[0], _SLASH)
    if ends_open:
        # What stands before `**` in its own name is no name of its own: anything may follow it.
        names.pop()
    return tuple(re.compile(_name_expression(name, atomic=False), re.DOTALL) for name in names), ends_open


def _may_reach(names: tuple[re.Pattern[str], ...], ends_open: bool, directory: Sequence[str]) -> bool:
    if not all(name.fullmatch(part) for name, part in zip(names, directory, strict=False)):
        return False
    return len(directory) < len(names) or ends_open
