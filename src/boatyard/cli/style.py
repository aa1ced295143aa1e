"""Colours, when they are wanted. One page decides what means what; nothing else writes an SGR sequence.

NO_COLOR (any value but the empty one) switches them off, TERM=dumb and anything that isn't a terminal too;
CLICOLOR_FORCE and FORCE_COLOR switch them on for CI systems whose log viewers show them.
"""

from __future__ import annotations

from collections.abc import Mapping


class Style:
    """How words are marked. `colour` False marks nothing."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def _sgr(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def strong(self, text: str) -> str:
        return self._sgr("1", text)

    def dim(self, text: str) -> str:
        return self._sgr("2", text)

    def good(self, text: str) -> str:
        return self._sgr("32", text)

    def note(self, text: str) -> str:
        return self._sgr("36", text)

    def caution(self, text: str) -> str:
        return self._sgr("33", text)

    def bad(self, text: str) -> str:
        return self._sgr("31", text)


def colour_wanted(environment: Mapping[str, str], *, terminal: bool) -> bool:
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return terminal and environment.get("TERM", "") not in ("", "dumb")
