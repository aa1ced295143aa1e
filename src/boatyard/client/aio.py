"""The client for asynchronous programs: the public library.

The same calls (`client.calls`) and documents (`client.documents`) as everywhere; every request has a connection of its
own, so any number may run at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from boatyard.client import autostart, http1
from boatyard.client.calls.call import Call, StreamCall
from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.documents.envelope import Failure, StreamEvent
from boatyard.client.endpoint import Endpoint, UnixEndpoint, lost, refused_certificate, unreachable
from boatyard.client.failure import SEE_ITS_LOG, restore
from boatyard.client.places import find_daemon
from boatyard.client.sync import decode_answer, decode_line, refusal
from boatyard.errors import UnavailableError

A = TypeVar("A")

_PIECE = 262144


def connect(host: str | None = None, environ: Mapping[str, str] | None = None) -> AsyncClient:
    """See `boatyard.client.connect`."""
    environ = os.environ if environ is None else environ
    endpoint, may_start = find_daemon(host, environ, os.geteuid())
    client = AsyncClient(endpoint)
    if may_start and isinstance(endpoint, UnixEndpoint):
        client.notice = autostart.ensure(endpoint.path, environ)
    return client


class AsyncClient:
    """Talks to the daemon at `endpoint`, or at a unix socket's path. As a context, it ends the streams that are open at
    its end."""

    def __init__(self, endpoint: Endpoint | str) -> None:
        self.endpoint = UnixEndpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.notice = ""
        """One line worth showing: the daemon is of another version and busy, ..."""
        self._streams: set[AsyncStream[Any]] = set()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        for stream in list(self._streams):
            await stream.close()

    async def call(self, call: Call[A]) -> A:
        """Raises the error the daemon answers with; UnavailableError when it can't be reached or breaks off."""
        connection = await _Connection.open(self.endpoint)
        try:
            connection.send(call)
            body = b"".join([piece async for piece in connection.pieces()])
        finally:
            connection.close()
        return decode_answer(body, call.answer)

    def stream(self, call: StreamCall[A]) -> AsyncStream[A]:
        """Use it as a context: leaving it before the end cancels what the daemon does for it."""
        stream = AsyncStream(self.endpoint, call, self._streams.discard)
        self._streams.add(stream)
        return stream

    def descriptors(self) -> DescriptorChannel:
        """A connection for the files that go with a request; keep it open until that has ended. Its methods don't wait
        for the daemon, except `receive`: call that in a thread. UnsupportedError for a daemon that isn't on this
        machine."""
        return DescriptorChannel(self.endpoint)


class AsyncStream(Generic[A]):
    """The events of one request as they come, and then its result; a failed request raises its error in their place."""

    def __init__(self, endpoint: Endpoint, call: StreamCall[A], on_closed: Any) -> None:
        self._endpoint = endpoint
        self._call = call
        self._on_closed = on_closed
        self._connection: _Connection | None = None
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(StreamEvent | Failure | call.answer)
        self._result: A | None = None
        self._events: AsyncIterator[StreamEvent] | None = None

    async def __aenter__(self) -> AsyncStream[A]:
        self._connection = await _Connection.open(self._endpoint)
        self._connection.send(self._call)
        self._events = self._read(self._connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        if self._events is None:
            raise RuntimeError("the stream is used outside of its context")
        return self._events

    async def result(self) -> A:
        """Reads to the end first."""
        async for _ in self:
            pass
        if self._result is None:
            raise UnavailableError("the daemon ended the answer before its result", hint=SEE_ITS_LOG)
        return self._result

    async def close(self) -> None:
        self._on_closed(self)
        if self._connection is not None:
            self._connection.close()

    async def _read(self, connection: _Connection) -> AsyncIterator[StreamEvent]:
        rest = b""
        async for piece in connection.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                document = decode_line(self._decoder, line)
                if isinstance(document, Failure):
                    raise restore(document.error)
                if isinstance(document, self._call.answer):
                    self._result = document
                    return
                yield document
        raise UnavailableError("the daemon ended the answer before its result", hint=SEE_ITS_LOG)


class _Connection:
    """One request and its answer on one socket."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer
        self._answer = http1.AnswerReader(refused_certificate(endpoint))

    @classmethod
    async def open(cls, endpoint: Endpoint) -> _Connection:
        try:
            return cls(endpoint, *await endpoint.open(_PIECE))
        except OSError as error:
            raise unreachable(endpoint, error) from error

    def send(self, call: Call[Any] | StreamCall[Any]) -> None:
        self._writer.write(
            http1.request(call.method, http1.target(call.path, call.names, call.query), call.body),
        )

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises the error that the answer is."""
        while not self._answer.complete:
            data = self._answer.feed(await self._receive())
            if self._answer.status >= 400:
                while not self._answer.complete:
                    data += self._answer.feed(await self._receive())
                raise refusal(self._answer.status, data)
            yield data

    def close(self) -> None:
        self._writer.close()

    async def _receive(self) -> bytes:
        try:
            return await self._reader.read(_PIECE)
        except OSError as error:
            raise lost(self._endpoint, error) from error
