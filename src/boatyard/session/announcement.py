"""What a session says of itself in the headers of the request that opens it.

Specification: moby/buildkit, `session/session.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from boatyard.errors import InvalidError

ID = "x-docker-expose-session-uuid"
NAME = "x-docker-expose-session-name"
SHARED_KEY = "x-docker-expose-session-sharedkey"
METHOD = "x-docker-expose-session-grpc-method"
PATIENCE = "x-buildkit-session-health-custom-timeout"
"""Milliseconds: a client that wants to be given up sooner than usual."""

_LONGEST_ID = 128
_LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Announcement:
    """`methods`: those the client serves, as paths. `shared_key`: the same for all sessions of a client
    that may be given each other's files again. `patience`: seconds without an answer after which it is to be given up,
    0 for what is usual."""

    id: str
    name: str = ""
    shared_key: str = ""
    methods: frozenset[str] = frozenset()
    patience: float = 0.0

    def headers(self) -> list[tuple[str, str]]:
        fields = [(ID, self.id), (NAME, self.name), (SHARED_KEY, self.shared_key)]
        fields += [(METHOD, method) for method in sorted(self.methods)]
        return [(name, value) for name, value in fields if value]


def read(headers: Iterable[tuple[str, str]]) -> Announcement:
    """From header fields, whatever case their names have. InvalidError without an id."""
    found: dict[str, list[str]] = {ID: [], NAME: [], SHARED_KEY: [], METHOD: [], PATIENCE: []}
    for name, value in headers:
        values = found.get(name.lower())
        if values is not None and len(value) <= _LONGEST_TEXT:
            values.append(value)
    id = "".join(found[ID][:1])
    if not id or len(id) > _LONGEST_ID or not id.isprintable():
        raise InvalidError(f"a session needs an id of at most {_LONGEST_ID} characters in {ID}")
    return Announcement(
        id,
        "".join(found[NAME][:1]),
        "".join(found[SHARED_KEY][:1]),
        frozenset(found[METHOD]),
        _seconds("".join(found[PATIENCE][:1])),
    )


def _seconds(text: str) -> float:
    """At least one, or 0 for none, as BuildKit reads it."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not int(text):
        return 0.0
    return max(int(text) / 1000, 1.0)
