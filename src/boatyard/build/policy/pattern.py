"""The patterns of selectors, and the templates that take up what they matched.

Patterns come from clients and are run on the event loop, so they are RE2's: matching takes time in proportion to the
text, whatever the pattern. Syntax and templates are those of Go's `regexp`, which policies are written for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from boatyard.build.policy.rule import MatchType
from boatyard.errors import InvalidError


class Pattern(Protocol):
    def matches(self, text: str) -> bool: ...

    def filled(self, text: str, template: str) -> str:
        """The template with what matched in `text` in it; only for a text that matches."""


class Exact:
    def __init__(self, identifier: str) -> None:
        self._identifier = identifier

    def matches(self, text: str) -> bool:
        return text == self._identifier

    def filled(self, text: str, template: str) -> str:
        return template


class Literal(Exact):
    """A wildcard without a star."""

    def filled(self, text: str, template: str) -> str:
        return expand(template, lambda name: text if name == "0" else "")


class Wildcard:
    """`*` is any text without line breaks; what the stars matched are `$1`, `$2` and so on."""

    def __init__(self, identifier: str) -> None:
        import re2

        self._regex = compiled(f"^{'(.*)'.join(re2.escape(part) for part in identifier.split('*'))}$")

    def matches(self, text: str) -> bool:
        return self._regex.search(text) is not None

    def filled(self, text: str, template: str) -> str:
        match = self._regex.search(text)
        return text if match is None else expand(template, _groups(self._regex, match))


class Regex:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._regex = compiled(expression)

    def matches(self, text: str) -> bool:
        # An identifier that is spelled like the expression is meant, too.
        return text == self._expression or self._regex.search(text) is not None

    def filled(self, text: str, template: str) -> str:
        """Every match is replaced; what lies between them stays."""
        pieces: list[str] = []
        position = last = 0
        while position <= len(text):
            match = self._regex.search(text, position)
            if match is None:
                break
            start, end = match.span()
            pieces.append(text[last:start])
            # An empty match right behind another one is none.
            if end > last or start == 0:
                pieces.append(expand(template, _groups(self._regex, match)))
            last = end
            position = max(position + 1, end)
        return "".join(pieces) + text[last:]


def pattern(identifier: str, match: MatchType) -> Pattern:
    """InvalidError for a pattern that is none."""
    match match:
        case MatchType.EXACT:
            return Exact(identifier)
        case MatchType.REGEX:
            return Regex(identifier)
        case MatchType.WILDCARD:
            if "**" in identifier:
                raise InvalidError(f"invalid wildcard {identifier!r}: two stars beside each other", hint="write one *")
            return Wildcard(identifier) if "*" in identifier else Literal(identifier)


def compiled(expression: str) -> Any:
    """A compiled expression of RE2. InvalidError."""
    import re2  # not before there is a policy: it takes some milliseconds

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidError(
            f"invalid regular expression {expression!r}: {reason}", hint="the syntax is that of Go and RE2"
        ) from error


def expand(template: str, groups: Callable[[str], str]) -> str:
    """A template of Go's `Regexp.Expand`: `$name` and `${name}` are groups by name or number, `$$` is a dollar. A name
    is as long as it can be (`$1x` is the group called "1x"); a dollar before no name is a dollar."""
    pieces: list[str] = []
    rest = template
    while True:
        before, dollar, rest = rest.partition("$")
        pieces.append(before)
        if not dollar:
            return "".join(pieces)
        if rest.startswith("$"):
            pieces.append("$")
            rest = rest[1:]
            continue
        brace = rest.startswith("{")
        name = _name(rest[brace:])
        after = rest[brace + len(name) :]
        if not name or (brace and not after.startswith("}")):
            pieces.append("$")
            continue
        pieces.append(groups(name))
        rest = after[brace:]


def _name(text: str) -> str:
    for length, character in enumerate(text):
        if not (character.isalpha() or character.isdecimal() or character == "_"):
            return text[:length]
    return text


def _groups(regex: Any, match: Any) -> Callable[[str], str]:
    def group(name: str) -> str:
        if name.isascii() and name.isdigit() and (name == "0" or not name.startswith("0")):
            number = int(name) if len(name) < 9 else regex.groups + 1
            return (match.group(number) or "") if number <= regex.groups else ""
        return (match.group(name) or "") if name in regex.groupindex else ""

    return group
