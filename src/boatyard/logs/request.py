"""What a reader asks memlogd for: LinuxKit's mode byte, and behind it what only ours understands.

\\x02boat-logs/1\\n
source web*\\n          any number of them: names, with `*`, `?` and `[..]`
since 1764000000000000000\\n
states\\n               tell each source's numbers, and when descriptors come and go
\\n
"""

from __future__ import annotations

from collections.abc import Sequence

DUMP, FOLLOW, DUMP_AND_FOLLOW = 0, 1, 2

MAGIC = b"boat-logs/1\n"
MAX_REQUEST = 1 << 16


class Request:
    """`sources` empty: all. `since`: nanoseconds; 0: from the oldest on."""

    __slots__ = ("mode", "since", "sources", "states")

    def __init__(self, mode: int, *, sources: Sequence[str] = (), since: int = 0, states: bool = False) -> None:
        self.mode = mode
        self.sources = tuple(sources)
        self.since = since
        self.states = states

    def encode(self) -> bytes:
        """ValueError for a pattern with a newline in it, or for more than fits."""
        lines = [f"source {pattern}" for pattern in self.sources]
        if any("\n" in line for line in lines):
            raise ValueError("a pattern of sources has no newlines")
        if self.since:
            lines.append(f"since {self.since}")
        if self.states:
            lines.append("states")
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        encoded = bytes([self.mode]) + MAGIC + text + b"\n"
        if len(encoded) > MAX_REQUEST:
            raise ValueError("too many patterns of sources")
        return encoded


def decode(mode: int, text: bytes) -> Request:
    """The lines behind the magic one. Unknown words are left to newer versions. ValueError when it is malformed."""
    sources: list[str] = []
    since, states = 0, False
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        word, _, value = line.partition(" ")
        if word == "source":
            sources.append(value)
        elif word == "since":
            since = int(value)
        elif word == "states":
            states = True
    return Request(mode, sources=sources, since=since, states=states)
