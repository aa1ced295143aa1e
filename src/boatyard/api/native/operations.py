"""An operation of the native API as a value: what the router serves and what the OpenAPI document is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from boatyard.api.feed import Feed
from boatyard.api.stream import Running
from boatyard.errors import InvalidError
from boatyard.wire.asgi import ClientGoneError, Receive, Send
from boatyard.wire.peer import Peer

D = TypeVar("D")

MAX_DOCUMENT = 16 << 20


async def read_body(receive: Receive) -> bytes:
    """InvalidError when it is larger than any document."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client has gone")
        pieces.append(message["body"])
        size += len(message["body"])
        if size > MAX_DOCUMENT:
            raise InvalidError(f"the request's document is larger than {MAX_DOCUMENT >> 20} MiB")
        if not message["more_body"]:
            return b"".join(pieces)


@dataclass(slots=True)
class Incoming:
    """One request, read. `names` are the path's, `query` its parameters; `document` has the operation's type."""

    names: Mapping[str, str]
    query: Mapping[str, str]
    peer: Peer
    document: Any = None
    ref: str = ""
    """Set by an operation that works on a build: a failure at the end of its stream names it."""

    def flag(self, name: str) -> bool:
        value = self.query.get(name, "")
        if value not in ("", "0", "1"):
            raise InvalidError(f"the parameter {name!r} must be 0 or 1, not {value[:40]!r}")
        return value == "1"

    def number(self, name: str) -> int:
        value = self.query.get(name, "0")
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise InvalidError(f"the parameter {name!r} must be a number, not {value[:40]!r}")
        return int(value)

    def required(self, name: str) -> str:
        value = self.query.get(name, "")
        if not value:
            raise InvalidError(f"the parameter {name!r} is missing")
        return value

    def lines(self, name: str) -> tuple[str, ...]:
        """A list, one entry a line."""
        return tuple(line for line in self.query.get(name, "").split("\n") if line)


Plain = Callable[[Incoming], Awaitable[msgspec.Struct]]
Streamed = Callable[[Incoming, Feed], Awaitable[msgspec.Struct]]
Raw = Callable[[Incoming, Receive, Send, Running], Awaitable[None]]
"""Reads the body and sends the answer by itself."""


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """Exactly one of `plain`, `streamed` and `raw` is set."""

    method: str
    path: str
    """Below the API's prefix; `{NAME}` is one path element."""
    summary: str
    answer: type[msgspec.Struct] | None
    request: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = field(default=())
    plain: Plain | None = None
    streamed: Streamed | None = None
    raw: Raw | None = None
    request_type: str = "application/json"
    answer_type: str = "application/json"
    """Content types; only those of `raw` may differ."""


def decode(body: bytes, kind: type[D]) -> D:
    """InvalidError says where in the document it is wrong."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise InvalidError(f"the request is not a valid {kind.__name__}: {error}") from error
