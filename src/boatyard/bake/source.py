"""The text of a definition file, and places in it: what every error points to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from boatyard.errors import DefinitionError, SourceExcerpt

_LONGEST_MESSAGE = 600
"""A message may quote a word of the file, and a word may be long."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `name` is as it was given: a path, "-" for standard input."""

    name: str
    text: str = field(repr=False)

    def span(self, start: int, end: int) -> Span:
        return Span(self, start, end)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to `end`, characters of the text."""

    source: Source
    start: int
    end: int

    def to(self, other: Span) -> Span:
        return Span(self.source, self.start, other.end)

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def place(self) -> str:
        """`docker-bake.hcl:3`, to name a second place in a message."""
        return f"{self.source.name}:{self.source.position(self.start)[0]}"

    def error(self, message: str, *, hint: str | None = None) -> DefinitionError:
        """The error for this place. It is returned, not raised."""
        if len(message) > _LONGEST_MESSAGE:
            message = message[: _LONGEST_MESSAGE - 3] + "..."
        line, column = self.source.position(self.start)
        last, after = self.source.position(max(self.end, self.start))
        if last > line and after == 1:  # the line feed at its end belongs to the line before
            last -= 1
        columns = (column, max(after, column + 1)) if last == line else None
        if last == line and columns is not None and after == 1:
            columns = (column, column + 1)
        name = self.source.name if self.source.name != "-" else "standard input"
        return DefinitionError(message, hint=hint, source=SourceExcerpt(name, self.source.text, line, last, columns))


def decode(name: str, data: bytes) -> Source:
    """DefinitionError when the bytes are not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        source = Source(name, data.decode("utf-8", "replace"))
        at = len(data[: error.start].decode("utf-8", "replace"))
        raise source.span(at, at + 1).error("this byte is not UTF-8", hint="save the file as UTF-8") from None
    return Source(name, text)


def nearest(word: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    matches = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """A hint with the nearest known name to one that isn't known."""
    match = nearest(word, known)
    return f"did you mean {match!r}?" if match else otherwise
