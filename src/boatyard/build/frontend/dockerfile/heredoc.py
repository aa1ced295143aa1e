"""Where a line announces heredocs: `<<EOF`, `<<-EOF`, `3<<"EOF"`.

Specification: the Dockerfile reference, "Here-Documents"; POSIX shell, 2.7.4.
"""

from __future__ import annotations

import re

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.ast import BLANKS, Heredoc
from boatyard.errors import InvalidError

_WORD = re.compile(rf"([0-9]*)<<(-?+)[{BLANKS}]*([^<]+)")


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc, still without content, that a word announces; None when it is another word.

    InvalidError when quotes in its name aren't closed. A backslash quotes here even when the file's escape character is
    another: what follows `<<` is the shell's affair."""
    match = _WORD.fullmatch(word)
    if match is None:
        return None
    name = shell.expand(match[3], {}, keep_unset=True).words
    if len(name) != 1:
        return None
    raw = shell.expand(match[3], {}, keep_unset=True, raw_quotes=True).words
    quoted = _quotes(raw) != _quotes(name)
    return Heredoc(name[0], expand=not quoted, chomp=match[2] == "-", descriptor=int(match[1][-9:] or "0"))


def find_heredocs(line: str) -> tuple[Heredoc, ...]:
    """Those that a line announces, in order. A line whose quotes aren't closed has none: it may be valid for the
    shell that gets it."""
    try:
        words = shell.expand(line, {}, raw_quotes=True, raw_escapes=True, keep_unset=True).words
    except InvalidError:
        return ()
    return tuple(found for word in words if (found := parse_heredoc(word)) is not None)


def _quotes(words: tuple[str, ...]) -> int:
    return sum(word.count("'") + word.count('"') for word in words)
