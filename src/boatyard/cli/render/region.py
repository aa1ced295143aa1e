"""The lower part of a terminal that is drawn again and again, below lines that stay.

A frame is written at once, inside a synchronised update where the terminal knows that, line over line: nothing is
cleared before it is drawn, so nothing flickers. Lines are kept shorter than the terminal is wide; when it is made
narrower, terminals wrap what is already there, and the rows that takes are counted before moving up. The cursor is
hidden from the first frame until `close` or `pause`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from boatyard.cli.render.width import columns

_BEGIN = "\x1b[?2026h"
_END = "\x1b[?2026l"
_HIDE = "\x1b[?25l"
_SHOW = "\x1b[?25h"
_CLEAR_LINE = "\x1b[K"
_CLEAR_BELOW = "\x1b[J"

Size = tuple[int, int]
"""Columns, rows."""


class Row:
    """A line of a frame: what is written, and how many columns of it show. Immutable."""

    __slots__ = ("text", "width")

    def __init__(self, visible: str, text: str | None = None) -> None:
        """`text` is `visible` with colours added."""
        self.text = visible if text is None else text
        self.width = columns(visible)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class LiveRegion:
    """One per terminal and build. The rows given to `draw` must fit `size()` with a column and a line to spare."""

    def __init__(self, write: Callable[[str], object], size: Callable[[], Size]) -> None:
        self._write = write
        self._size = size
        self._drawn: Sequence[Row] = ()
        self._hidden = False

    def draw(self, lasting: Sequence[Row], live: Sequence[Row]) -> None:
        """Print `lasting` above the region, for good, and replace the region by `live`."""
        if not lasting and list(live) == list(self._drawn):
            return
        parts = [_BEGIN]
        if not self._hidden and live:
            parts.append(_HIDE)
            self._hidden = True
        if up := self._height():
            parts.append(f"\r\x1b[{up}A")
        parts.extend(f"{row.text}{_CLEAR_LINE}\n" for row in (*lasting, *live))
        parts.extend((_CLEAR_BELOW, _END))
        self._drawn = live
        self._write("".join(parts))

    def _height(self) -> int:
        width = max(self._size()[0], 1)
        return sum(max(math.ceil(row.width / width), 1) for row in self._drawn)

    def pause(self) -> None:
        """Give the terminal back as it is (before this process is stopped); the next frame starts below."""
        if self._hidden:
            self._hidden = False
            self._write(_SHOW)
        self._drawn = ()

    def close(self, lasting: Sequence[Row] = ()) -> None:
        """Remove the region, leave `lasting` in its place, show the cursor."""
        if lasting or self._drawn:
            self.draw(lasting, ())
        self.pause()
