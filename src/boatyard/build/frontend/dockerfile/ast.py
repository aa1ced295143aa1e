"""Places and blocks of a Dockerfile's text: what every later stage of the frontend points back to.

Knows lines and text. Knows nothing of what an instruction means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from boatyard.errors import DockerfileError, SourceExcerpt

BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""What Unicode calls white space; `str.isspace` has the ASCII separators 0x1c to 0x1f too, which the language
hasn't."""

_LONGEST_MESSAGE = 400
"""A message may quote a word of the file, and a word may be long."""
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Lines of the file, counted from 1, both inclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is being read. `text` is what excerpts show: bytes that aren't UTF-8 are replaced."""

    filename: str
    text: str

    def error(self, message: str, range: Range, *, hint: str | None = None) -> DockerfileError:
        """The error for a place in this file. It is returned, not raised."""
        if len(message) > _LONGEST_MESSAGE:
            message = message[: _LONGEST_MESSAGE - 3] + "..."
        excerpt = SourceExcerpt(self.filename, self.text, range.start, range.end)
        return DockerfileError(message, hint=hint, source=excerpt)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`<<NAME` and the lines up to `NAME`.

    `content` ends with a line feed unless it is empty. `expand` is False when the name was quoted. `chomp` is that of
    `<<-`: leading tabs are still in `content`, `chomped()` takes them off. `descriptor` is the number before `<<`, 0
    when there is none."""

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0

    def chomped(self) -> str:
        """The content as a file gets it: without leading tabs when `<<-` asked for that."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Node:
    """One instruction as text.

    `text` is the logical line: continuations joined, comments within it dropped, heredoc bodies not included.
    `keyword` is as it was written. `flags` are the `--words` after the keyword, `rest` what follows them.
    `comments` are the comment lines right above, without `#`."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    text: str
    range: Range
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.keyword.upper()
