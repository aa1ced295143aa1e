"""Output of steps, cut into lines and made harmless.

A step's output comes in pieces that end anywhere. What a terminal would have overwritten (text before a carriage
return) is dropped from a line; nothing else is. Escape sequences that move the cursor or change the terminal are
never let through to a person's terminal: a build step must not be able to paint over the display, or set the window's
title.
"""

from __future__ import annotations

import re
from collections import deque

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, hyperlinks, device strings
    r"|\x1b[ -/]*[0-~]"  # two-byte and charset sequences
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"  # controls, C1 included; a tab is none
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def harmless(text: str, *, colour: bool = False) -> str:
    """`text` without escape sequences and control characters; tabs become spaces. With `colour`, SGR sequences stay
    and are switched off at the end."""
    if text.isascii() and text.isprintable():
        return text
    if not colour:
        return _ESCAPES.sub("", text).expandtabs()
    kept = _ESCAPES.sub(lambda match: match[0] if _COLOUR.fullmatch(match[0]) else "", text)
    return kept + "\x1b[0m" if "\x1b" in kept else kept


class LineAssembler:
    """One per step. Keeps what has no newline yet."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, data: str) -> list[str]:
        """The lines that are complete now, without their newline."""
        *complete, self._rest = (self._rest + data).split("\n")
        # A progress bar redrawn for hours has no newline: only its latest state is worth keeping.
        if "\r" in self._rest:
            self._rest = _visible(self._rest, unfinished=True)
        return [_visible(line) for line in complete]

    @property
    def unfinished(self) -> str:
        """What the current line shows so far."""
        return _visible(self._rest) if self._rest else ""

    def finish(self) -> list[str]:
        """The last line, if it had no newline."""
        rest, self._rest = self._rest, ""
        return [_visible(rest)] if rest else []


def _visible(line: str, *, unfinished: bool = False) -> str:
    """What a terminal shows of a line with carriage returns in it. A trailing one (CRLF, or a bar about to be
    redrawn) keeps the text."""
    if "\r" not in line:
        return line
    body = line.rstrip("\r")
    latest = body.rpartition("\r")[2]
    return latest + "\r" if unfinished and line.endswith("\r") else latest


class LogTail:
    """The last lines of a step's output, and how many there were. One per step."""

    def __init__(self, keep: int = 100) -> None:
        self._lines: deque[str] = deque(maxlen=keep)
        self._assembler = LineAssembler()
        self.total = 0

    def feed(self, data: str) -> list[str]:
        return self._add(self._assembler.feed(data))

    def finish(self) -> list[str]:
        return self._add(self._assembler.finish())

    def _add(self, lines: list[str]) -> list[str]:
        self._lines.extend(lines)
        self.total += len(lines)
        return lines

    def last(self, count: int) -> list[str]:
        """At most `count` lines, the unfinished one included."""
        if count <= 0:
            return []
        lines = list(self._lines)
        if self._assembler.unfinished:
            lines.append(self._assembler.unfinished)
        return lines[-count:]

    @property
    def seen(self) -> int:
        """Lines so far, the unfinished one included."""
        return self.total + bool(self._assembler.unfinished)


def one_line(text: str) -> str:
    """A name as one harmless line: newlines (of a heredoc, say) and runs of blanks around them become one space."""
    return harmless(" ".join(text.split()) if "\n" in text or "\t" in text else text)
