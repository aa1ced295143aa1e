"""The `--flags` of an instruction, checked against what it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.errors import InvalidError


class Kind(Enum):
    TEXT = "text"
    TEXTS = "texts"
    """May be given several times."""
    TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags that were given. Names are without dashes."""

    values: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.values)

    def text(self, name: str, default: str = "") -> str:
        return self.values.get(name, (default,))[0]

    def texts(self, name: str) -> tuple[str, ...]:
        return self.values.get(name, ())

    def truth(self, name: str) -> bool | None:
        """None when it wasn't given."""
        given = self.values.get(name)
        return None if given is None else given[0] == "true"


def parse_flags(words: Sequence[str], known: Mapping[str, Kind], instruction: str) -> Flags:
    """InvalidError for an unknown or repeated flag, or a value that is missing or wrong."""
    values: dict[str, tuple[str, ...]] = {}
    for word in words:
        written, given, value = word.partition("=")
        name = written[2:]
        kind = known.get(name)
        if kind is None:
            raise InvalidError(
                f"unknown flag {written} of {instruction}{did_you_mean(name, known)}",
                hint=_known_hint(known, instruction),
            )
        if name in values and kind is not Kind.TEXTS:
            raise InvalidError(f"{instruction} has the flag {written} twice", hint="keep one of them")
        if kind is Kind.TRUTH:
            value = _truth(written, value.lower() if given else "true")
        elif not given:
            raise InvalidError(f"the flag {written} of {instruction} needs a value", hint=f"write {written}=VALUE")
        values[name] = (*values.get(name, ()), value)
    return Flags(values)


def _truth(written: str, value: str) -> str:
    if value not in ("true", "false"):
        raise InvalidError(
            f"the flag {written} is either true or false, not {value!r}", hint=f"write {written} or {written}=false"
        )
    return value


def _known_hint(known: Mapping[str, Kind], instruction: str) -> str:
    if not known:
        return f"{instruction} has no flags; if the word is an argument, put -- before it"
    return f"{instruction} knows " + ", ".join(f"--{name}" for name in sorted(known))
