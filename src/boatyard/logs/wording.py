"""What is said, in a line of memlogd's own, where lines are missing."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.logs.events import Gap, Lost

OWN_NAME = b"memlogd"
"""The source under which memlogd itself speaks."""
SLOW = "this reader was too slow"
GONE = "memlogd's memory had no room for more"
_NAMED = 5


def gap(event: Gap) -> bytes:
    what = b"%d %b of %b" % (event.count, b"line" if event.count == 1 else b"lines", one_line(event.source))
    return what + b" %b missing here: %b\n" % (b"is" if event.count == 1 else b"are", event.why.encode())


def lost(events: Sequence[Lost]) -> bytes:
    """All of what one memlogd lost, in one line; empty when nothing is known to be."""
    events = [event for event in events if event.number and event.source != OWN_NAME]
    if not events:
        return b""
    names = [b"%b after its line %d" % (one_line(event.source), event.number) for event in events[:_NAMED]]
    if len(events) > _NAMED:
        names.append(b"%d more" % (len(events) - _NAMED))
    return (
        b"memlogd was started anew: what the one before had not handed on is lost, of " + b", of ".join(names) + b"\n"
    )


def one_line(name: bytes) -> bytes:
    return name.replace(b"\n", b"\\n")
