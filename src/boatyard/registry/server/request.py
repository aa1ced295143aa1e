"""One request to the registry: ASGI's scope with the words of the API around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from typing import BinaryIO
from urllib.parse import parse_qs

import msgspec

from boatyard.registry.server.admission import EVERYBODY, Admitted
from boatyard.registry.server.refusal import RefusedError
from boatyard.registry.server.route import Route
from boatyard.wire.asgi import ClientGoneError, Receive, Scope, Send, bulk

PIECE = 1 << 20
"""Bytes of a blob that are received or read at once."""
_READ_OVER = 256 << 10
_VERSION = (b"docker-distribution-api-version", b"registry/2.0")

Header = tuple[bytes, bytes]


class Request:
    """Made for each request by the application, which sees to it that it is answered once."""

    def __init__(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        self.route = route
        self.scope = scope
        self.method: str = scope["method"]
        self._receive = receive
        self._send = send
        self.status = 0
        self._left = 0
        self.admitted: Admitted = EVERYBODY
        self._body_begun = self._body_read = False

    def header(self, name: bytes) -> str:
        """Of several, one list; "" when there is none."""
        return ",".join(value.decode("latin-1") for key, value in self.scope["headers"] if key == name)

    @property
    def address(self) -> str:
        client = self.scope["client"]
        return str(client[0]) if client else ""

    @cached_property
    def query(self) -> dict[str, list[str]]:
        try:
            return parse_qs(self.scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=100)
        except (ValueError, UnicodeDecodeError) as error:
            raise RefusedError(400, "UNSUPPORTED", f"malformed query: {error}") from error

    def parameter(self, name: str) -> str | None:
        """The last one of this name."""
        return self.query.get(name, [None])[-1] if self.scope["query_string"] else None

    @property
    def length(self) -> int | None:
        """Of the body, where the client says it."""
        text = self.header(b"content-length")
        return int(text) if text else None

    async def body(self) -> AsyncIterator[memoryview]:
        """In pieces, each of which is good until the next one is asked for. ClientGoneError."""
        self._body_begun = True
        async for piece in bulk(self.scope, self._receive, PIECE):
            yield piece
        self._body_read = True

    async def small_body(self, most: int, too_long: RefusedError) -> bytes:
        if (self.length or 0) > most:
            raise too_long
        data = bytearray()
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError("the client has gone")
            data += message.get("body", b"")
            more = message.get("more_body", False)
            if len(data) > most:
                raise too_long
        self._body_read = True
        return bytes(data)

    async def drop_body(self) -> list[Header]:
        """Before an answer that doesn't wait for the body. What the answer must say: nothing when the rest of the body
        is short enough to be read over, so that the connection can be used again."""
        if self._body_read or not (self.header(b"transfer-encoding") or self.length):
            return []
        if self._body_begun or self.length is None or self.length > _READ_OVER or self.header(b"expect"):
            return [(b"connection", b"close")]
        while (message := await self._receive())["type"] == "http.request" and message.get("more_body"):
            pass
        return []

    async def answer(self, status: int, headers: Sequence[Header] = (), body: bytes = b"") -> None:
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, [_VERSION, *headers] if status == 204 else [_VERSION, length, *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def answer_json(self, value: object, headers: Sequence[Header] = ()) -> None:
        await self.answer(200, [(b"content-type", b"application/json"), *headers], msgspec.json.encode(value) + b"\n")

    async def answer_head(self, status: int, length: int, headers: Sequence[Header]) -> None:
        """To HEAD: `length` is that of what GET would get."""
        await self._start(status, [_VERSION, (b"content-length", b"%d" % length), *headers])
        await self._send({"type": "http.response.body"})

    async def answer_piece(self, headers: Sequence[Header], length: int, piece: bytes, status: int = 200) -> None:
        """A part of an answer of so many bytes, which begins with the first and ends with the last one of them."""
        if not self.status:
            await self._start(status, [_VERSION, (b"content-length", b"%d" % length), *headers])
            self._left = length
        self._left -= len(piece)
        await self._send({"type": "http.response.body", "body": piece, "more_body": self._left > 0})

    async def answer_file(
        self, status: int, headers: Sequence[Header], file: BinaryIO, offset: int, count: int
    ) -> None:
        await self._start(status, [_VERSION, (b"content-length", b"%d" % count), *headers])
        await self._send({"type": "http.response.zerocopysend", "file": file, "offset": offset, "count": count})

    async def _start(self, status: int, headers: list[Header]) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
