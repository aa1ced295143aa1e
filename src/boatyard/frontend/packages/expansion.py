"""`${NAME}` in a text is the argument's value; `$$` is a dollar sign. Nothing else is special."""

from __future__ import annotations

import re
from collections.abc import Mapping

from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.frontend.packages.document import Text

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<other>\{))")


class Expansion:
    """Owned by the reading of one document; it keeps which arguments were used."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._used: set[str] = set()

    def __call__(self, text: Text) -> str:
        def replaced(match: re.Match[str]) -> str:
            if match["dollar"]:
                return "$"
            if match["other"]:
                raise text.at.error("`${` is not closed after a name", hint="write $$ for a dollar sign")
            name = match["name"]
            if name not in self._values:
                raise text.at.error(
                    f"there is no argument {name!r}{did_you_mean(name, self._values)}",
                    hint="declare it under `arguments`, or write $$ for a dollar sign",
                )
            self._used.add(name)
            return self._values[name]

        return _REFERENCE.sub(replaced, text.value)

    @property
    def used(self) -> frozenset[str]:
        return frozenset(self._used)
