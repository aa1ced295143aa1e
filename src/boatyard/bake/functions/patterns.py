"""Functions of regular expressions, which are RE2's.

Specification: google/re2, doc/syntax.txt. Where there are several matches it is Go's: an empty one right behind
another is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any as Anything

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import STRING, ObjectOf, TupleOf, Type
from boatyard.bake.values.value import Value, list_of, null, object_of, string, tuple_of

_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
"""What would match half a character, and isn't in Go's RE2."""
_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)

Pattern = Anything
Match = Anything
"""Those of `re2`, which has no types; they are as those of `re`."""


@lru_cache(maxsize=64)
def compiled(pattern: str) -> Pattern:
    """CallError when it is malformed."""
    if _BYTE.search(pattern):
        raise CallError("the pattern is malformed: invalid escape sequence: \\C")
    import re2  # not before there is a pattern: it takes some milliseconds

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise CallError(f"the pattern is malformed: {reason}") from None


def _matches(pattern: Pattern, text: str) -> Iterator[Match]:
    at, end = 0, -1
    while at <= len(text) and (match := pattern.search(text, at)) is not None:
        start, after = match.span()
        if after > start or start != end:
            yield match
        end = after
        at = after if after > start else after + 1


def _matched(pattern: Pattern, match: Match) -> Value:
    """The text; with groups a tuple of theirs, with named ones an object."""
    if pattern.groupindex:
        return object_of({name: _captured(match[name]) for name in pattern.groupindex})
    if pattern.groups:
        return tuple_of(map(_captured, match.groups()))
    return string(match[0])


def _captured(text: str | None) -> Value:
    return null(STRING) if text is None else string(text)


def _result_type(pattern: Pattern) -> Type:
    if pattern.groupindex:
        return ObjectOf(dict.fromkeys(sorted(pattern.groupindex), STRING))
    return TupleOf((STRING,) * pattern.groups) if pattern.groups else STRING


def _pattern(text: Value, argument: int) -> Pattern:
    try:
        pattern = compiled(text.raw)
    except CallError as error:
        raise CallError(str(error), argument) from None
    if pattern.groupindex and len(pattern.groupindex) != pattern.groups:
        raise CallError("a pattern has either named or unnamed groups, not both", argument)
    return pattern


def _regex(pattern: Value, text: Value) -> Value:
    expression = _pattern(pattern, 0)
    match = expression.search(text.raw)
    if match is None:
        raise CallError("the pattern doesn't match")
    return _matched(expression, match)


def _regexall(pattern: Value, text: Value) -> Value:
    expression = _pattern(pattern, 0)
    found = (_matched(expression, each) for each in _matches(expression, text.raw))
    return list_of(_result_type(expression), found)


def _regex_replace(text: Value, pattern: Value, replacement: Value) -> Value:
    """`$1`, `${name}` stand for groups, `$$` for a dollar."""
    try:
        expression = compiled(pattern.raw)
    except CallError as error:
        raise CallError(str(error), 1) from None

    def put_in(match: Match) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            if name.isdigit():
                return (match[int(name)] or "") if int(name) <= expression.groups else ""
            return (match[name] or "") if name in expression.groupindex else ""

        return _REFERENCE.sub(group, replacement.raw)

    done, at = [], 0
    for match in _matches(expression, text.raw):
        start, end = match.span()
        done += [text.raw[at:start], put_in(match)]
        at = end
    return string("".join(done) + text.raw[at:])


FUNCTIONS: Mapping[str, Function] = {
    "regex": function(_regex, Parameter("pattern", STRING), Parameter("string", STRING)),
    "regexall": function(_regexall, Parameter("pattern", STRING), Parameter("string", STRING)),
    "regex_replace": function(
        _regex_replace, Parameter("str", STRING), Parameter("pattern", STRING), Parameter("replace", STRING)
    ),
}
