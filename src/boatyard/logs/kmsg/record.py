r"""One record of /dev/kmsg.

    6,339,5140900,-,caller=T1;NET: Registered protocol family 10
     SUBSYSTEM=pci
     DEVICE=+pci:0000:00:01.0

Priority (facility times 8, and level), sequence number, microseconds since boot, flags, perhaps more; then the
message, and behind it lines of properties, which begin with a space. What is not printable ASCII is written `\xNN`,
and so is the backslash.

Specification: the kernel's Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import re

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)

_HEAD = re.compile(rb"(\d{1,9}),(\d{1,20}),(\d{1,20}),([^,;]*)[^;]*;")
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")


class Record:
    """`moment`: microseconds since boot. `text`: message and properties as they were read; `message` is made for
    people."""

    __slots__ = ("facility", "level", "moment", "sequence", "text")

    def __init__(self, sequence: int, facility: str, level: str, moment: int, text: bytes) -> None:
        self.sequence = sequence
        self.facility = facility
        self.level = level
        self.moment = moment
        self.text = text

    @property
    def message(self) -> bytes:
        """Without its properties, on one line, with letters of every language."""
        return _ESCAPED.sub(_unescaped, self.text.partition(b"\n")[0])

    @property
    def properties(self) -> dict[str, str]:
        found = {}
        for line in self.text.split(b"\n")[1:]:
            name, equals, value = line.removeprefix(b" ").partition(b"=")
            if equals:
                found[name.decode("utf-8", "replace")] = _ESCAPED.sub(_unescaped, value).decode("utf-8", "replace")
        return found


def parse(data: bytes) -> Record | None:
    """None for what is no record."""
    match = _HEAD.match(data)
    if match is None:
        return None
    priority = int(match[1])
    facility = priority >> 3
    name = FACILITIES[facility] if facility < len(FACILITIES) else str(facility)
    return Record(int(match[2]), name, LEVELS[priority & 7], int(match[3]), data[match.end() :])


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Controls stay as they are written: they would break the line, or move somebody's cursor."""
    code = int(match[1], 16)
    return bytes([code]) if code >= 0x80 or code == 0x5C else match[0]
