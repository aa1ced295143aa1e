"""`$NAME` and `${NAME...}` in the texts of a compose file.

    ${NAME}  ${NAME:-default}  ${NAME-default}  ${NAME:?error}  ${NAME?error}  ${NAME:+instead}  ${NAME+instead}  $$

With a colon, an empty value counts as unset. What stands behind an operator may have variables in it again.

Specification: compose-spec, 12-interpolation.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_DEEPEST = 20


class InterpolationError(Exception):
    """A text that can't be interpolated; turned into an error with a place by whoever knows it."""


def interpolate(text: str, environment: Mapping[str, str], unset: Callable[[str], object]) -> str:
    """`unset` is told of names that have neither value nor default: they are empty."""
    return _Reader(text, environment, unset).until_end()


class _Reader:
    def __init__(self, text: str, environment: Mapping[str, str], unset: Callable[[str], object]) -> None:
        self._text = text
        self._environment = environment
        self._unset = unset
        self._at = 0
        self._depth = 0

    def until_end(self) -> str:
        done = []
        while self._at < len(self._text):
            done.append(self._piece(""))
        return "".join(done)

    def _piece(self, end: str) -> str:
        """Text up to the next `$` (or `end`), or one variable."""
        text, at = self._text, self._at
        if text[at] != "$":
            stops = [place for stop in ("$", end) if stop and (place := text.find(stop, at)) >= 0]
            self._at = min(stops, default=len(text))
            return text[at : self._at]
        if text.startswith("$$", at):
            self._at += 2
            return "$"
        if text.startswith("${", at):
            self._at += 2
            return self._braced(at)
        match = _NAME.match(text, at + 1)
        if match is None:  # as in $(date): a dollar that begins nothing is one
            self._at += 1
            return "$"
        self._at = match.end()
        return self._value(match[0])

    def _braced(self, start: int) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise InterpolationError(f"{self._text[start : start + 12]!r} names no variable: write $$ for a dollar")
        self._at = match.end()
        name = match[0]
        operator = next((each for each in _OPERATORS if self._text.startswith(each, self._at)), "")
        self._at += len(operator)
        if not operator:
            self._close(start)
            return self._value(name)
        value = self._environment.get(name)
        there = bool(value) if operator.startswith(":") else value is not None
        used = there if operator.endswith("+") else not there
        word = self._word(start, silent=not used)
        if operator.endswith("+"):
            return word if there else ""
        if there:
            return value or ""
        if operator.endswith("?"):
            raise InterpolationError(f"the variable {name} is required{': ' + word if word else ''}")
        return word

    def _word(self, start: int, *, silent: bool) -> str:
        """What stands behind the operator, up to the closing brace."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InterpolationError("variables are nested too deeply")
        unset, done = self._unset, []
        if silent:
            self._unset = lambda name: None
        while self._at < len(self._text) and self._text[self._at] != "}":
            try:
                done.append(self._piece("}"))
            except InterpolationError as error:
                if not silent or "required" not in str(error):
                    raise
        self._unset = unset
        self._depth -= 1
        self._close(start)
        return "".join(done)

    def _close(self, start: int) -> None:
        if not self._text.startswith("}", self._at):
            raise InterpolationError(f"{self._text[start : start + 20]!r} has no closing brace, or a malformed name")
        self._at += 1

    def _value(self, name: str) -> str:
        value = self._environment.get(name)
        if value is None:
            self._unset(name)
            return ""
        return value
