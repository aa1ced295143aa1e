"""Which lines a reader wants: by source, moment and content."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from boatyard.errors import InvalidError
from boatyard.logs.events import Lines


class Selection:
    """`sources` and `without` are patterns with `*`, `?` and `[..]`; no `sources` means all. `since` and `until` are
    nanoseconds (0: no bound), both included. `grep` is a regular expression that a line has to match anywhere."""

    def __init__(
        self,
        *,
        sources: Sequence[str] = (),
        without: Sequence[str] = (),
        since: int = 0,
        until: int = 0,
        grep: str = "",
    ) -> None:
        self.sources = tuple(sources)
        self.since = since
        self.until = until
        self._without = tuple(without)
        self._wanted: dict[bytes, bool] = {}
        self._matches = _matching(grep) if grep else None

    def wants(self, source: bytes) -> bool:
        if not self.sources and not self._without:
            return True
        wanted = self._wanted.get(source)
        if wanted is None:
            if len(self._wanted) > 10_000:
                self._wanted.clear()
            name = source.decode("utf-8", "surrogateescape")
            wanted = (not self.sources or _any(name, self.sources)) and not _any(name, self._without)
            self._wanted[source] = wanted
        return wanted

    def apply(self, lines: Lines) -> Lines | None:
        """What of `lines` is wanted; None when nothing is. Lines that were picked one by one have no numbers."""
        if not self.wants(lines.source) or lines.time < self.since or (self.until and lines.time > self.until):
            return None
        if self._matches is None:
            return lines
        text = lines.data[:-1].decode("utf-8", "surrogateescape")
        picked = [line for line in text.split("\n") if self._matches(line)]
        if len(picked) == lines.count:
            return lines
        if not picked:
            return None
        data = "\n".join([*picked, ""]).encode("utf-8", "surrogateescape")
        return Lines(lines.source, lines.time, 0, len(picked), data)


def _any(name: str, patterns: Sequence[str]) -> bool:
    if not patterns:
        return False
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _matching(pattern: str) -> Callable[[str], object]:
    import re

    try:
        return re.compile(pattern).search
    except re.error as error:
        raise InvalidError(f"{pattern!r} is no regular expression: {error}") from error
