"""Places in the file that a frontend reads: what errors, warnings and steps point at."""

from __future__ import annotations

from dataclasses import dataclass

from boatyard.build.llb.graph import SourceLocation
from boatyard.errors import FrontendError, SourceExcerpt
from boatyard.progress import Range, WarningEvent


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, as its reader knows it. Bytes that aren't UTF-8 are replaced in `text`."""

    name: str
    text: str

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> SourceFile:
        return cls(name, data.decode("utf-8", "replace"))

    def place(self, start: int, end: int | None = None) -> Place:
        """Lines, counted from 1, both inclusive."""
        return Place(self, start, start if end is None else max(start, end))

    @property
    def whole(self) -> Place:
        return self.place(1, max(1, len(self.text.splitlines())))


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a file."""

    file: SourceFile
    start: int
    end: int

    def error(self, message: str, *, hint: str | None = None) -> FrontendError:
        """What is wrong there. Returned, not raised."""
        return FrontendError(message, hint=hint, source=self.excerpt)

    def warning(self, short: str, *, code: str = "", detail: str = "", url: str = "") -> WarningEvent:
        """A remark, for `Bridge.warn`."""
        return WarningEvent(
            short=short,
            code=code,
            detail=detail,
            url=url,
            filename=self.file.name,
            range=Range(self.start, self.end),
        )

    @property
    def excerpt(self) -> SourceExcerpt:
        return SourceExcerpt(self.file.name, self.file.text, self.start, self.end)

    @property
    def location(self) -> SourceLocation:
        return SourceLocation(self.file.name, self.start, self.end)
