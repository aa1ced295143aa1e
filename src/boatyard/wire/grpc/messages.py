"""A stream of messages on an HTTP/2 connection: each is a flag, a length and so many bytes.

Messages are put together as their bytes arrive; what nobody has read yet holds up the other end. Knows nothing of what
is in them.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterable

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard.wire.grpc.limits import Budget
from boatyard.wire.http2.headers import Headers
from boatyard.wire.http2.stream import Carrier, Stream, StreamClosedError

_PREFIX = struct.Struct(">BL")
_PREFIX_SIZE = _PREFIX.size


class MessageStream(Stream):
    """Made by its connection or a channel; used by one call. One task receives at a time; any may send."""

    def __init__(
        self,
        connection: Carrier,
        number: int,
        *,
        message_bytes: int,
        budget: Budget,
        on_headers: Callable[[MessageStream, Headers], None] | None = None,
        on_failed: Callable[[MessageStream], None] | None = None,
    ) -> None:
        """`on_headers` is called once, with the first headers; `on_failed` when the other end breaks the stream off."""
        super().__init__(connection, number)
        self.headers: Headers | None = None
        self.trailers: Headers | None = None
        self.message_bytes = message_bytes
        self._budget = budget
        self._on_headers = on_headers
        self._on_failed = on_failed
        self._messages: deque[bytes] = deque()
        self._pieces: list[bytes] = []
        self._missing = 0
        self._prefix = b""
        self._borrowed = 0
        self._problem: GRPCError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._receiving = False

    # What the connection calls

    def headers_received(self, headers: Headers, *, end: bool) -> None:
        if self.headers is None:
            self.headers = headers
            if end:
                self.trailers = headers
            if self._on_headers is not None:
                self._on_headers(self, headers)
        elif end and self.trailers is None:
            self.trailers = headers
        else:
            self._fail_reading(GRPCError(Status.INTERNAL, "the other end sent headers in the middle of a call"))
        self._wake()

    def data_received(self, buffer: bytes, start: int, stop: int) -> None:
        if self._problem is not None:
            return
        while start < stop:
            if not self._missing:
                if self._prefix or stop - start < _PREFIX_SIZE:
                    taken = min(_PREFIX_SIZE - len(self._prefix), stop - start)
                    self._prefix += buffer[start : start + taken]
                    start += taken
                    if len(self._prefix) < _PREFIX_SIZE:
                        break
                    compressed, self._missing = _PREFIX.unpack(self._prefix)
                    self._prefix = b""
                else:
                    compressed, self._missing = _PREFIX.unpack_from(buffer, start)
                    start += _PREFIX_SIZE
                if compressed or self._missing > self.message_bytes:
                    self._refuse_message(compressed)
                    return
                if not self._missing:
                    self._messages.append(b"")
                    continue
            missing = self._missing
            if stop - start < missing:
                self._pieces.append(buffer[start:stop])
                self._missing = missing - (stop - start)
                break
            piece = buffer[start : start + missing]
            start += missing
            self._missing = 0
            if self._pieces:
                self._pieces.append(piece)
                piece = b"".join(self._pieces)
                self._pieces.clear()
            if self._borrowed:
                self._repay()
            self._messages.append(piece)
        if self._waiters:
            if self._messages:
                self._wake()
            else:
                self._read_on()

    def ended(self) -> None:
        if self._missing or self._prefix:
            self._fail_reading(GRPCError(Status.INTERNAL, "the other end stopped in the middle of a message"))
        self._wake()

    def failed(self, error: StreamClosedError) -> None:
        if not self.remote_closed:
            self._messages.clear()
            self.release()
        self._wake()
        if self._on_failed is not None:
            self._on_failed(self)

    # What a call uses

    async def receive(self) -> bytes | None:
        """The next message; None after the last. GRPCError for a message that is refused, StreamClosedError when the
        stream broke off."""
        messages = self._messages
        if not messages:
            if self._receiving:
                raise RuntimeError("two tasks receive from one call")
            self._receiving = True
            try:
                while not messages:
                    if self._problem is not None:
                        raise self._problem.with_traceback(None)
                    if self.remote_closed:
                        return None
                    if self.closed is not None:
                        raise self.closed.with_traceback(None)
                    if self.held:
                        self._read_on()
                    await self.change()
            finally:
                self._receiving = False
        message = messages.popleft()
        self.give_back(len(message) + _PREFIX_SIZE)
        return message

    async def receive_some(self) -> list[bytes]:
        """All messages that are there; waits for the first. Empty after the last. Errors as for `receive`."""
        first = await self.receive()
        if first is None:
            return []
        found = [first, *self._messages]
        self._messages.clear()
        self.give_back(sum(map(len, found)) - len(first) + _PREFIX_SIZE * (len(found) - 1))
        return found

    async def change(self) -> None:
        """Wait until something arrives, or the stream ends."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """GRPCError when it is too long, StreamClosedError when the stream has ended."""
        size = len(message)
        if size > self.message_bytes:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"a message of {size} bytes is longer than the limit of {self.message_bytes}"
            )
        await self.send_data(_PREFIX.pack(0, size), message, end=end)

    async def send_some(self, messages: Iterable[bytes]) -> None:
        """Several at once: cheaper than one after the other where they are small. Errors as for `send`."""
        parts: list[bytes] = []
        for message in messages:
            size = len(message)
            if size > self.message_bytes:
                await self.send(message)  # which refuses it
            parts += (_PREFIX.pack(0, size), message)
        await self.send_data(b"", b"".join(parts))

    def release(self) -> None:
        """Nobody reads any more: what it holds is dropped."""
        self._messages.clear()
        self._pieces.clear()
        self._repay()
        if self.held:
            self.give_back(self.held)

    # Inside

    def _wake(self) -> None:
        waiters = self._waiters
        if waiters:
            self._waiters = []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _read_on(self) -> None:
        """Somebody waits for a message that hasn't arrived whole: it may be longer than the window."""
        if not self._budget.take(self.held):
            self._fail_reading(GRPCError(Status.RESOURCE_EXHAUSTED, "too many large messages are under way"))
            return
        self._borrowed += self.held
        self.give_back(self.held)

    def _repay(self) -> None:
        if self._borrowed:
            self._budget.put_back(self._borrowed)
            self._borrowed = 0

    def _refuse_message(self, compressed: int) -> None:
        if compressed:
            problem = GRPCError(Status.UNIMPLEMENTED, "compressed messages are not supported")
        else:
            problem = GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"a message of {self._missing} bytes is longer than the limit of {self.message_bytes}",
            )
        self._missing = 0
        self._fail_reading(problem)

    def _fail_reading(self, problem: GRPCError) -> None:
        if self._problem is None:
            self._problem = problem
            self._pieces.clear()
            self._repay()
            self._wake()
