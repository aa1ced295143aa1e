"""File modes as chmod(1) takes them: octal, or symbolic such as `u=rwX,go-w`. No umask applies.

Specification: POSIX.1-2017, `chmod`.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass

from boatyard.errors import InvalidError

_OCTAL = re.compile(r"[0-7]{1,5}")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")

_SHIFT = {"u": 6, "g": 3, "o": 0}
_SETID = {"u": stat.S_ISUID, "g": stat.S_ISGID}
_BITS = {"r": 4, "w": 2, "x": 1}


@dataclass(frozen=True, slots=True)
class _Change:
    who: str
    """Some of "ugo"."""
    all: bool
    """Nobody was named."""
    operator: str
    what: str


def parse_mode(text: str) -> Callable[[int], int]:
    """A function from a mode (with its type, as X depends on it) to mode bits. InvalidError when malformed."""
    if _OCTAL.fullmatch(text):
        bits = int(text, 8)
        if bits <= 0o7777:
            return lambda mode: bits
    changes = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise InvalidError(
                f"invalid mode {text!r}", hint="use an octal mode such as 0755, or a symbolic one such as u=rwX,go-w"
            )
        named = match[1].replace("a", "ugo")
        who = "".join(each for each in "ugo" if each in named) or "ugo"
        changes += [_Change(who, not named, *action) for action in _ACTION.findall(match[2])]
    return lambda mode: _apply(changes, mode)


def _apply(changes: list[_Change], mode: int) -> int:
    bits = stat.S_IMODE(mode)
    searchable = stat.S_ISDIR(mode) or bool(mode & 0o111)
    for change in changes:
        mask = _everything(change)
        if change.what in ("u", "g", "o"):
            copied = bits >> _SHIFT[change.what] & 7
            wanted = sum(copied << _SHIFT[who] for who in change.who)
        else:
            wanted = _wanted(change, searchable)
        if change.operator == "=":
            bits = bits & ~mask | wanted
        elif change.operator == "+":
            bits |= wanted
        else:
            bits &= ~wanted
    return bits


def _everything(change: _Change) -> int:
    """What `=` takes away."""
    mask = sum(7 << _SHIFT[who] | _SETID.get(who, 0) for who in change.who)
    return mask | stat.S_ISVTX if "t" in change.what and _may_be_sticky(change) else mask


def _wanted(change: _Change, searchable: bool) -> int:
    bits = 0
    for letter in change.what:
        if letter in _BITS or (letter == "X" and (searchable or change.operator == "-")):
            bits |= sum(_BITS.get(letter, 1) << _SHIFT[who] for who in change.who)
        elif letter == "s":
            bits |= sum(_SETID.get(who, 0) for who in change.who)
        elif letter == "t" and _may_be_sticky(change):
            bits |= stat.S_ISVTX
    return bits


def _may_be_sticky(change: _Change) -> bool:
    return change.all or change.who != "o"
