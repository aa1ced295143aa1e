"""`semvercmp`: whether a version satisfies a constraint.

Specification: Masterminds/semver v3, README ("Checking Version Constraints"); semver.org for the order of versions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import STRING
from boatyard.bake.values.value import Value, boolean

_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)
_PART = r"(\d+|[xX*])"
_CONSTRAINT = re.compile(
    rf"\s*(=|!=|>=|=>|<=|=<|>|<|~>|~|\^)?\s*v?{_PART}(?:\.{_PART})?(?:\.{_PART})?"
    r"(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?(?:\s*,\s*|\s+|$)",
    re.ASCII,
)
_RANGE = re.compile(r"\s*(v?[\dxX*][\w.*+-]*)\s+-\s+(v?[\dxX*][\w.*+-]*)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Version:
    numbers: tuple[int, int, int]
    pre: tuple[tuple[int, int, str], ...]

    @property
    def key(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[int, int, str], ...]]:
        """Prereleases come before their release; numbers before words."""
        return self.numbers, not self.pre, self.pre


@dataclass(frozen=True, slots=True)
class _Constraint:
    """`given`: how many of the three numbers it has; the others may be any."""

    operator: str
    version: _Version
    given: int

    def allows(self, version: _Version) -> bool:
        if version.pre and not self.version.pre:
            return False
        mine, other = self.version, version
        match self.operator:
            case "=":
                return self._tilde(other) if self.given < 3 else other.key == mine.key
            case "!=":
                return other.numbers[: self.given] != mine.numbers[: self.given] or (
                    self.given == 3 and other.key != mine.key
                )
            case ">":
                return (
                    other.numbers[: self.given] > mine.numbers[: self.given] if self.given < 3 else other.key > mine.key
                )
            case "<":
                return other.key < mine.key
            case ">=":
                return other.key >= mine.key
            case "<=":
                return (
                    other.numbers[: self.given] <= mine.numbers[: self.given]
                    if self.given < 3
                    else other.key <= mine.key
                )
            case "~":
                return self._tilde(other)
            case _:
                return self._caret(other)

    def _tilde(self, version: _Version) -> bool:
        if not self.given:
            return True
        return (
            version.key >= self.version.key
            and version.numbers[: min(self.given, 2)] == (self.version.numbers[: min(self.given, 2)])
        )

    def _caret(self, version: _Version) -> bool:
        """Up to the first number that isn't zero, all must be the same."""
        if not self.given:
            return True
        if version.key < self.version.key:
            return False
        numbers = self.version.numbers[: self.given]
        fixed = next((place for place, each in enumerate(numbers, start=1) if each), self.given)
        return version.numbers[:fixed] == self.version.numbers[:fixed]


def _version(text: str, argument: int) -> _Version:
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise CallError(f"{text[:60]!r} is no semantic version", argument)
    major, minor, patch = (int(each or 0) for each in match.group(1, 2, 3))
    return _Version((major, minor, patch), _prerelease(match[4]))


def _prerelease(text: str | None) -> tuple[tuple[int, int, str], ...]:
    if not text:
        return ()
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))


def _constraints(text: str) -> list[list[_Constraint]]:
    """Any of the inner lists, all that is in one."""
    found = []
    for alternative in text.split("||"):
        alternative = _RANGE.sub(r" >=\1 <=\2 ", alternative).strip()
        every: list[_Constraint] = []
        at = 0
        while at < len(alternative):
            match = _CONSTRAINT.match(alternative, at)
            if match is None:
                raise CallError(f"{text[:60]!r} is no constraint of versions: write it as >=1.2, <2", 1)
            every.append(_constraint(match))
            at = match.end()
        if not every:
            raise CallError("a constraint of versions is missing", 1)
        found.append(every)
    return found


def _constraint(match: re.Match[str]) -> _Constraint:
    numbers: list[int] = []
    for part in match.group(2, 3, 4):
        if part is None or not part.isdigit():
            break
        numbers.append(int(part))
    given = len(numbers)
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    operator = {"": "=", "=>": ">=", "=<": "<=", "~>": "~"}.get(match[1] or "", match[1] or "=")
    return _Constraint(operator, _Version((major, minor, patch), _prerelease(match[5])), given)


def _semvercmp(version: Value, constraint: Value) -> Value:
    found = _version(version.raw, 0)
    alternatives = _constraints(constraint.raw)
    return boolean(any(all(each.allows(found) for each in every) for every in alternatives))


FUNCTIONS: Mapping[str, Function] = {
    "semvercmp": function(_semvercmp, Parameter("version", STRING), Parameter("constraint", STRING)),
}
