"""One request to Docker's API as its handlers see it, and the answers they give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from boatyard.api.engine import filters as filters_
from boatyard.api.engine.filters import Filters
from boatyard.api.engine.version import Version
from boatyard.api.stream import Running
from boatyard.errors import InvalidError
from boatyard.image import platform as platforms
from boatyard.image.platform import Platform
from boatyard.wire.asgi import ClientGoneError, Receive, Scope, Send

D = TypeVar("D")

MAX_DOCUMENT = 4 << 20
_FALSE = ("", "0", "no", "false", "none")


class Query:
    """The parameters of a request; each may come several times, and the first one counts unless all are wanted."""

    def __init__(self, text: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True, errors="replace"):
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))

    def text(self, name: str, default: str = "") -> str:
        values = self._values.get(name)
        return values[0] if values else default

    def flag(self, name: str, default: bool = False) -> bool:
        """Anything but Docker's words for no is a yes."""
        return self.text(name).strip().lower() not in _FALSE if name in self else default

    def number(self, name: str, default: int = 0) -> int:
        value = self.text(name)
        if not value:
            return default
        sign, digits = ("-", value[1:]) if value[0] == "-" else ("", value)
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            raise InvalidError(f"{name} expects an integer, got {value[:40]}")
        return int(sign + digits)

    def json(self, name: str, kind: type[D], what: str) -> D | None:
        """The value, decoded; None when there is none, or null. `what` names it in the error."""
        value = self.text(name)
        if value in ("", "null"):
            return None
        try:
            return msgspec.json.decode(value, type=kind)
        except msgspec.DecodeError as error:
            raise InvalidError(f"error reading {what}: {error}") from error

    def filters(self, *known: str) -> Filters:
        return filters_.parse(self.text("filters"), known)


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose body hasn't been read. `names` are those of the path."""

    version: Version
    names: Mapping[str, str]
    query: Query
    scope: Scope
    receive: Receive
    send: Send
    running: Running

    def header(self, name: str) -> str:
        """`name` in lower case. "" when it isn't there."""
        wanted = name.encode("ascii")
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key.lower() == wanted), "")

    def since(self, *version: int) -> bool:
        """Whether the request is of that version of the API, or a later one."""
        return self.version >= version

    def platform(self, name: str = "platform") -> Platform | None:
        """A platform as a JSON document."""
        found = self.query.json(name, _Platform, "platform")
        if found is None:
            return None
        if not found.os or not found.architecture:
            raise InvalidError("the platform must have an os and an architecture")
        return platforms.normalise(found.os, found.architecture, found.variant)

    async def body(self, limit: int = MAX_DOCUMENT) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError("the client has gone")
            pieces.append(message["body"])
            size += len(message["body"])
            if size > limit:
                raise InvalidError(f"the request's body is larger than {limit >> 20} MiB")
            if not message["more_body"]:
                return b"".join(pieces)

    async def document(self, kind: type[D]) -> D:
        try:
            return msgspec.json.decode(await self.body() or b"{}", type=kind)
        except msgspec.DecodeError as error:
            raise InvalidError(f"invalid JSON: {error}") from error


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Iterable[tuple[bytes, bytes]] = ()


def json(document: Any, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(document) + b"\n")


Handler = Callable[[Call], Awaitable[Answer | None]]
"""None when it sent its answer itself."""
