"""One request and its answer, as ASGI's scope, receive and send."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from functools import lru_cache
from time import gmtime, time
from typing import Protocol, cast
from urllib.parse import unquote

import h11

from boatyard.wire.asgi import BULK, HIJACK, PEER, ClientGoneError, HeaderList, Message, Scope
from boatyard.wire.bulk import BulkBody
from boatyard.wire.peer import Peer
from boatyard.wire.rawstream import RawStream

_READ = 1 << 18
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Connection(Protocol):
    """What an exchange needs of the connection that made it."""

    h11: h11.Connection
    transport: asyncio.Transport
    peer: Peer | None

    def want_body(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write(self, data: bytes | None) -> None: ...
    def take_body(self, length: int | None, pieces: int, *, last: bool) -> BulkBody | None: ...
    def release(self) -> tuple[asyncio.Transport, bytes]: ...
    def released_connection_lost(self) -> None: ...


class Exchange:
    """Made by its connection, which feeds it; the application talks to it through `receive` and `send`."""

    def __init__(self, connection: Connection, request: h11.Request) -> None:
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._complete = False
        self._end_given = False
        self._gone = False
        self._news: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._head: h11.Response | None = None
        self._is_head = request.method == b"HEAD"
        self.started = False
        self.finished = False
        self.hijacked = False
        self.scope = self._scope(request)

    def _scope(self, request: h11.Request) -> Scope:
        raw_path, _, query = request.target.partition(b"?")
        if raw_path[:7].lower() == b"http://":  # absolute-form, which servers must accept (RFC 9112, 3.2.2)
            raw_path = b"/" + raw_path[7:].partition(b"/")[2]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "https" if self._connection.transport.get_extra_info("sslcontext") else "http",
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": _address(self._connection.transport.get_extra_info("peername")),
            "server": _address(self._connection.transport.get_extra_info("sockname")),
            "state": {},
            "extensions": {
                HIJACK: {"take": self._hijack},
                PEER: {"peer": self._connection.peer},
                BULK: {"take": self._take_body},
                "http.response.zerocopysend": {},
            },
        }

    # What the connection calls

    @property
    def has_news(self) -> bool:
        return self._gone or self._complete or bool(self._pieces)

    def feed(self, data: bytes) -> int:
        """How many bytes wait for the application."""
        self._pieces.append(data)
        self._buffered += len(data)
        _wake(self._news)
        return self._buffered

    def feed_end(self) -> None:
        self._complete = True
        _wake(self._news)

    def disconnect(self) -> None:
        self._gone = True
        _wake(self._news)
        _wake(self._writable)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    def fail(self) -> None:
        """Answer for an application that didn't; where it began to, nothing can be saved."""
        if self.started or self._gone:
            return
        body = b"internal error; the daemon's log has the details\n"
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        self._head = h11.Response(status_code=500, headers=headers)
        self._send_body(body, more=False)

    # What the application calls

    async def receive(self) -> Message:
        while not self._gone:
            if self._pieces:
                body = b"".join(self._pieces)
                self._pieces.clear()
                self._buffered = 0
                self._end_given = self._complete
                self._connection.resume_reading()
                return {"type": "http.request", "body": body, "more_body": not self._complete}
            if self._complete and not self._end_given:
                self._end_given = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if not self._complete:
                self._connection.want_body()
                if self.has_news:
                    continue
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ClientGoneError when the client has gone."""
        if self._gone:
            raise ClientGoneError("the client has gone")
        if self.hijacked or self.finished:
            raise RuntimeError("the answer has ended already")
        kind = message["type"]
        if kind == "http.response.start":
            # Sent with the first piece of the body: one segment, not two.
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"date" for name, _ in headers):
                headers.append((b"date", _date(int(time()))))
            self._head = h11.Response(status_code=message["status"], headers=headers)
            return
        if kind == "http.response.zerocopysend":
            await self._send_file(message)
            return
        if kind != "http.response.body" or (self._head is None and not self.started):
            raise RuntimeError(f"unexpected ASGI message {kind!r}")
        self._send_body(message.get("body", b""), more=message.get("more_body", False))
        if self._writable is not None:
            await asyncio.shield(self._writable)
            if self._gone:
                raise ClientGoneError("the client has gone")

    def _send_body(self, body: bytes, *, more: bool) -> None:
        send = self._connection.h11.send
        pieces = []
        if self._head is not None:
            pieces.append(send(self._head) or b"")
            self._head = None
            self.started = True
        if body and not self._is_head:
            pieces.append(send(h11.Data(data=body)) or b"")
        if not more:
            pieces.append(send(h11.EndOfMessage()) or b"")
            self.finished = True
        self._connection.write(b"".join(pieces))

    async def _send_file(self, message: Message) -> None:
        """From `offset`, `count` bytes of an open file. A disk that is slow holds up the event loop: the kernel is
        asked to read ahead."""
        file, offset, count = message["file"], message["offset"], message["count"]
        self._send_body(b"", more=True)
        if self._is_head or not count:
            self._send_body(b"", more=False)
            return
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), offset, count, os.POSIX_FADV_SEQUENTIAL)
        # h11 keeps account of a length that it doesn't see.
        self._connection.h11.send_with_data_passthrough(h11.Data(data=cast(bytes, _Elsewhere(count))))
        loop, transport = asyncio.get_running_loop(), self._connection.transport
        try:
            if transport.get_extra_info("sslcontext"):
                sent = await self._send_encrypted(file.fileno(), offset, count)
            else:
                sent = await loop.sendfile(transport, file, offset, count, fallback=False)
        except (OSError, RuntimeError) as error:  # asyncio's words for a transport that is closing
            transport.abort()
            raise ClientGoneError("the client has gone") from error
        if sent != count:
            transport.abort()
            raise RuntimeError(f"a file of {count} bytes had only {sent}")
        self._send_body(b"", more=False)

    async def _send_encrypted(self, file: int, offset: int, count: int) -> int:
        sent = 0
        while sent < count and (
            data := await asyncio.to_thread(os.pread, file, min(count - sent, _READ), offset + sent)
        ):
            self._connection.write(data)
            sent += len(data)
            if self._writable is not None:
                await asyncio.shield(self._writable)
            if self._gone:
                raise ClientGoneError("the client has gone")
        return sent

    def _take_body(self, size: int) -> BulkBody | None:
        if self.scope["http_version"] != "1.1" or self._complete or self._gone:
            return None
        length: int | None = None
        last = False
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                last = b"close" in value.lower()
        body = self._connection.take_body(length, size, last=last)
        if body is not None:
            self._complete = self._end_given = True
        return body

    def _hijack(self, status: int, reason: str, headers: HeaderList) -> RawStream:
        if self.started or self._head is not None or self.hijacked:
            raise RuntimeError("the answer has begun already")
        if not self._complete:
            raise RuntimeError("the request's body must be read before the connection can be taken over")
        if self._gone:
            raise ClientGoneError("the client has gone")
        self.hijacked = True
        transport, initial = self._connection.release()
        # By hand: h11 would add a Transfer-Encoding to a 200, and Docker's clients want a bare stream after it.
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, reason.encode("latin-1"), head))
        return RawStream(transport, initial, self._connection.released_connection_lost)


class _Elsewhere:
    """So many bytes that h11 doesn't get to see."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """RFC 9110, 5.6.7. strftime's names would follow the locale."""
    then = gmtime(second)
    day, month = _DAYS[then.tm_wday], _MONTHS[then.tm_mon - 1]
    clock = f"{then.tm_hour:02}:{then.tm_min:02}:{then.tm_sec:02}"
    return f"{day}, {then.tm_mday:02} {month} {then.tm_year} {clock} GMT".encode("ascii")


def _address(name: object) -> tuple[str, int | None] | None:
    """asyncio's socket name as ASGI's: a unix socket has a path and no port."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) and name else None


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
