"""The shapes of ASGI 3, and the extensions of this server.

`hijack(scope)` takes the connection out of HTTP's hands; `peer(scope)` says who sent the request; `bulk(scope)` gives a
large body in large pieces; `http.response.zerocopysend` sends a file from kernel to kernel. Specification: ASGI HTTP
message format 2.4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol, cast

from boatyard.wire.peer import Peer
from boatyard.wire.rawstream import RawStream

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
HeaderList = Iterable[tuple[bytes, bytes]]

HIJACK = "boatyard.hijack"
PEER = "boatyard.peer"
BULK = "boatyard.bulk"


class ClientGoneError(ConnectionResetError):
    """The client of a request went away before it was answered. Raised into the application, handled by the server."""


class Hijack(Protocol):
    def __call__(self, status: int, reason: str, headers: HeaderList) -> RawStream: ...


async def until_disconnected(receive: Receive) -> None:
    """Returns when the client has gone. What is left of the request's body is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def hijack(
    scope: Scope, *, status: int = 101, reason: str = "Switching Protocols", headers: HeaderList = ()
) -> RawStream:
    """Answer with this head, exactly as given, and take the connection over for raw bytes.

    The request's body must have been read to its end, and no answer begun. Afterwards the application sends nothing
    more through ASGI; when it returns, the connection stays open until the stream is closed."""
    return cast(Hijack, scope["extensions"][HIJACK]["take"])(status, reason, headers)


def peer(scope: Scope) -> Peer | None:
    """None when the request did not come over a unix socket."""
    return cast("Peer | None", scope["extensions"][PEER]["peer"])


async def bulk(scope: Scope, receive: Receive, size: int) -> AsyncIterator[memoryview]:
    """The request's body in pieces of `size` bytes, and a last one of fewer. A piece may be used until the next one is
    asked for; while it is, the next one arrives. ClientGoneError when the client goes before the end, after all that
    had come."""
    taken = scope["extensions"][BULK]["take"](size) if BULK in scope["extensions"] else None
    if taken is not None:
        async for piece in taken:
            yield piece
        return
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client has gone")
        more = message.get("more_body", False)
        if body := message.get("body", b""):
            yield memoryview(body)
