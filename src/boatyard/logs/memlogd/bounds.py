"""How much memlogd keeps, and of what length a line may be."""

from __future__ import annotations

MAX_LINES = 5000
MAX_LINE_LENGTH = 1024
BACKLOG = 16 << 20


class Bounds:
    """`lines` and `bytes` (0: as many as the lines have) bound what a dump shows. `line_length`: what is longer is
    cut off, or with `split` goes on as another line. `fair`: when memory is full, the source that holds the most
    loses its oldest lines; if not, the oldest line of all goes. `backlog`: bytes kept for followers that are
    behind."""

    __slots__ = ("backlog", "bytes", "fair", "line_length", "lines", "split")

    def __init__(
        self,
        lines: int = MAX_LINES,
        bytes: int = 0,
        line_length: int = MAX_LINE_LENGTH,
        *,
        fair: bool = False,
        split: bool = False,
        backlog: int = BACKLOG,
    ) -> None:
        self.lines = lines
        self.bytes = bytes
        self.line_length = line_length
        self.fair = fair
        self.split = split
        self.backlog = backlog
