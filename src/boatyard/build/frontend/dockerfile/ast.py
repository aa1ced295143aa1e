"""Places and blocks of a Dockerfile's text: what every later stage of the frontend points back to.

Knows lines and text. Knows nothing of what an instruction means.
"""

from __future__ import annotations

from dataclasses import dataclass

from boatyard.errors import DockerfileError, SourceExcerpt


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Lines of the file, counted from 1, both inclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`<<NAME` and the lines up to `NAME`.

    `content` ends with a line feed unless it is empty. `expand` is False when the name was quoted. `chomp` is that of
    `<<-`: leading tabs are still in `content`, `chomped()` takes them off. `descriptor` is the number before `<<`, 0
    when there is none."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0
    raw: str = ""
    """The terminator as it was written, with quotes: `'EOF'`."""

    def chomped(self) -> str:
        """The content as a file gets it: without leading tabs when `<<-` asked for that."""
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


@dataclass(frozen=True, slots=True)
class Node:
    """One instruction as text.

    `text` is the logical line: continuations joined, comments within it dropped, heredoc bodies not included.
    `keyword` is as it was written. `flags` are the `--words` after the keyword, `rest` what follows them. `comments`
    are the comment lines right above, without `#`."""

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


def source_error(
    message: str, *, filename: str, text: str, range: Range | None, hint: str | None = None
) -> DockerfileError:
    """The error for a place in a file. It is returned, not raised."""
    excerpt = SourceExcerpt(filename, text, range.start, range.end) if range else None
    return DockerfileError(message, hint=hint, source=excerpt)
