"""The client for programs without an event loop: the `boat` command.

A thin thing, on purpose: one socket a request, no asyncio, nothing of the standard library's HTTP. What can be asked
is in `client.calls`.

    client = autostart.connect()
    for image in client.call(images.list_images()).images: ...
    with client.stream(builds.build(request)) as stream:
        for event in stream: ...
        print(stream.result.ref)
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from time import monotonic
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from boatyard.client import http1
from boatyard.client.calls.call import Call, StreamCall
from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.documents.envelope import ErrorAnswer, Failure, StreamEvent
from boatyard.client.endpoint import Endpoint, UnixEndpoint, lost, refused_certificate, unreachable
from boatyard.client.failure import SEE_ITS_LOG, restore
from boatyard.errors import BoatyardError, UnavailableError

A = TypeVar("A")

_PIECE = 262144


class Client:
    """Talks to the daemon at `endpoint`, or at a unix socket's path. Holds no connection of its own."""

    def __init__(self, endpoint: Endpoint | str) -> None:
        self.endpoint = UnixEndpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.notice = ""
        """One line worth showing: the daemon is of another version and busy, ..."""

    def call(self, call: Call[A], *, timeout: float | None = None) -> A:
        """Raises the error the daemon answers with, and UnavailableError when it doesn't (within `timeout` seconds)."""
        with self._send(call, timeout) as connection:
            body = connection.read_all()
        return decode_answer(body, call.answer)

    def stream(self, call: StreamCall[A]) -> Stream[A]:
        """Returns when the request is sent: what the daemon refuses is raised by the first `poll`. Use it as a context:
        leaving it before the end cancels what the daemon does for it."""
        return Stream(self._send(call, None), call.answer)

    def descriptors(self) -> DescriptorChannel:
        """A connection for the files that go with a request; keep it open until that has ended. UnsupportedError for
        a daemon that isn't on this machine."""
        return DescriptorChannel(self.endpoint)

    def _send(self, call: Call[A] | StreamCall[A], timeout: float | None) -> _Connection:
        connection = _Connection(self.endpoint, timeout)
        try:
            connection.send(
                http1.request(call.method, http1.target(call.path, call.names, call.query), call.body),
            )
        except BaseException:
            connection.close()
            raise
        return connection


class Stream(Generic[A]):
    """The events of one request as they come, and then its result.

    Iterating ends with the result; a failed request raises its error there. Every method may raise UnavailableError
    when the daemon vanishes."""

    def __init__(self, connection: _Connection, answer: type[A]) -> None:
        self._connection = connection
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(StreamEvent | Failure | answer)
        self._answer = answer
        self._lines: list[bytes] = []
        self._rest = b""
        self._result: A | None = None

    def __enter__(self) -> Stream[A]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[StreamEvent]:
        while (events := self.poll(None)) is not None:
            yield from events

    @property
    def result(self) -> A:
        """Reads to the end first."""
        for _ in self:
            pass
        if self._result is None:
            raise UnavailableError("the daemon ended the answer without a result", hint=SEE_ITS_LOG)
        return self._result

    def fileno(self) -> int:
        """Readable when `poll(0)` may have news."""
        return self._connection.fileno()

    def poll(self, timeout: float | None) -> list[StreamEvent] | None:
        """The events that have come, waiting for the first at most `timeout` seconds (None: as long as it takes; an
        empty list when none came). None after the end. Raises the request's error at its end."""
        if self._result is not None:
            return None
        deadline = None if timeout is None else monotonic() + timeout
        while not self._lines:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            if not self._connection.wait(left):
                return []
            self._read()
        events: list[StreamEvent] = []
        lines, self._lines = self._lines, []
        for line in lines:
            document = decode_line(self._decoder, line)
            if isinstance(document, Failure):
                self._connection.close()
                # What came before the error is shown before it is raised.
                if events:
                    self._lines = [line]
                    return events
                raise restore(document.error)
            if isinstance(document, self._answer):
                self._result = document
                self._connection.close()
                return events or None
            events.append(document)
        return events

    def close(self) -> None:
        self._connection.close()

    def _read(self) -> None:
        data = self._connection.read_some()
        if data is None:
            raise UnavailableError("the daemon ended the answer before its result", hint=SEE_ITS_LOG)
        *self._lines, self._rest = (self._rest + data).split(b"\n")


class _Connection:
    """One request and its answer on one socket."""

    def __init__(self, endpoint: Endpoint, timeout: float | None) -> None:
        self._endpoint = endpoint
        self._reader = http1.AnswerReader(refused_certificate(endpoint))
        try:
            self._socket = endpoint.connect(timeout)
        except OSError as error:
            raise unreachable(endpoint, error) from error

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            # The daemon may have answered (too large, say) and closed before it read everything: the answer counts.
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                raise lost(self._endpoint, error) from error

    def read_all(self) -> bytes:
        pieces = []
        while (piece := self.read_some()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def read_some(self) -> bytes | None:
        """Perhaps nothing yet; None at the end of the answer. Raises the error that the answer is."""
        if self._reader.complete:
            return None
        data = self._reader.feed(self._receive())
        if self._reader.status >= 400:
            while not self._reader.complete:
                data += self._reader.feed(self._receive())
            raise refusal(self._reader.status, data)
        return data

    def wait(self, timeout: float | None) -> bool:
        if self._reader.complete or timeout is None:
            return True
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(timeout * 1000))

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_PIECE)
        except TimeoutError as error:
            raise UnavailableError(
                f"the daemon at {self._endpoint} accepted the connection but does not answer",
                hint="`boat doctor` tells what it does; it may have to be restarted",
            ) from error
        except OSError as error:
            raise lost(self._endpoint, error) from error


def refusal(status: int, body: bytes) -> BoatyardError:
    """The error of an answer with a status of 400 and up."""
    try:
        return restore(msgspec.json.decode(body, type=ErrorAnswer).error)
    except msgspec.DecodeError:
        return UnavailableError(f"the daemon answered with HTTP status {status} and no explanation", hint=SEE_ITS_LOG)


def decode_answer(body: bytes, answer: type[A]) -> A:
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as error:
        raise UnavailableError(
            f"the daemon's answer is not what this program expects: {error}",
            hint="client and daemon may be of different versions: compare `boat version`",
        ) from error


def decode_line(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    """One line of a stream."""
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        raise UnavailableError(
            f"the daemon sent an event this program doesn't understand: {error}",
            hint="client and daemon may be of different versions: compare `boat version`",
        ) from error
