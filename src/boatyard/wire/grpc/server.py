"""Answers gRPC calls, on connections of a listener, and on any other that is handed over.

Services are made when the first call comes. A method that raises GRPCError answers with it; other errors are
translated by who owns the services, or logged and hidden. A client that gives a call up, or goes, cancels the method.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError

from boatyard.wire.grpc.call import RESPONSE, ServerCall
from boatyard.wire.grpc.limits import Budget, GrpcLimits
from boatyard.wire.grpc.messages import MessageStream
from boatyard.wire.grpc.metadata import is_grpc, read_deadline, read_metadata, write_status
from boatyard.wire.http2.connection import Connection
from boatyard.wire.http2.frames import ErrorCode
from boatyard.wire.http2.headers import Headers

log = logging.getLogger(__name__)

_HIDDEN = "internal error; the daemon's log has the details"


class Service(Protocol):
    """What the generated base classes are."""

    def __mapping__(self) -> Mapping[str, Handler]: ...


class GrpcServer:
    """One per set of services; lives on one event loop. Whoever made it stops it."""

    def __init__(
        self,
        services: Callable[[], Iterable[Service]],
        *,
        limits: GrpcLimits | None = None,
        translate: Callable[[Exception], GRPCError | None] = lambda error: None,
        around: Callable[[str], AbstractContextManager[object]] = lambda path: nullcontext(),
    ) -> None:
        """`translate` says how an error is told, None for one that is none of the client's business. `around(path)` is
        entered for the time of a call."""
        self._services = services
        self._methods: dict[str, Handler] | None = None
        self._limits = limits or GrpcLimits()
        self._budget = Budget(self._limits.large_bytes)
        self._translate = translate
        self._around = around
        self.connections: dict[ServerConnection, None] = {}
        """All that stand, in the order in which they came."""
        self._emptied = asyncio.Event()

    def connection(self, on_lost: Callable[[ServerConnection], None] | None = None) -> ServerConnection:
        """The protocol for one more connection, for whoever has its transport."""
        connection = ServerConnection(self, on_lost)
        self.connections[connection] = None
        return connection

    def cancel_all(self) -> None:
        """End all calls that run; their clients are told that the daemon is stopping."""
        for connection in list(self.connections):
            connection.cancel_all()

    async def stop(self, grace: float) -> None:
        """Take no more calls, let those that run be answered for `grace` seconds, then cut them off."""
        for connection in list(self.connections):
            connection.close_when_idle()
        try:
            async with asyncio.timeout(grace):
                await self._until_empty()
        except TimeoutError:
            for connection in list(self.connections):
                log.warning("cutting off a gRPC connection that did not end in %g seconds", grace)
                connection.abort()
            await self._until_empty()

    async def _until_empty(self) -> None:
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()

    # What its connections call

    @property
    def limits(self) -> GrpcLimits:
        return self._limits

    @property
    def budget(self) -> Budget:
        return self._budget

    def forget(self, connection: ServerConnection) -> None:
        self.connections.pop(connection, None)
        if not self.connections:
            self._emptied.set()

    def begin(self, stream: MessageStream, headers: Headers) -> asyncio.Task[None] | None:
        """Answer what can't be a call; run what is one."""
        fields = dict(headers)
        if fields.get(":method") != "POST":
            _refuse(stream, [(":status", "405")])
            return None
        if not is_grpc(fields.get("content-type", "")):
            text = f"{fields.get('content-type', 'no content type')} is not gRPC"[:200]
            _refuse(stream, [(":status", "415"), *write_status(Status.INVALID_ARGUMENT, text, None)])
            return None
        if self._methods is None:
            self._methods = {path: method for one in self._services() for path, method in one.__mapping__().items()}
        path = fields.get(":path", "")
        method = self._methods.get(path)
        if method is None:
            _refuse_call(stream, Status.UNIMPLEMENTED, f"there is no method {path[:200]}")
            return None
        try:
            metadata, deadline = read_metadata(headers), read_deadline(fields)
        except ValueError as error:
            _refuse_call(stream, Status.INVALID_ARGUMENT, str(error))
            return None
        call = ServerCall(stream, path, method, metadata, deadline)
        return asyncio.get_running_loop().create_task(self._run(call, path, method))

    async def _run(self, call: ServerCall, path: str, method: Handler) -> None:
        async with call:
            error: GRPCError | None = None
            try:
                with self._around(path):
                    async with asyncio.timeout(call.deadline.time_remaining() if call.deadline else None) as limit:
                        await method.func(call)
                if not call.over and not call.answered:
                    log.error("%s did not answer", path)
                    error = GRPCError(Status.INTERNAL, _HIDDEN)
            except asyncio.CancelledError:
                if not call.over:
                    call.end(GRPCError(Status.UNAVAILABLE, "the daemon is stopping"))
                raise
            except TimeoutError as problem:
                error = (
                    GRPCError(Status.DEADLINE_EXCEEDED, "the call's time is over")
                    if limit.expired()
                    else self._told(problem, path)
                )
            except Exception as problem:
                error = self._told(problem, path)
            if not call.over:
                call.end(error)

    def _told(self, error: Exception, path: str) -> GRPCError:
        if isinstance(error, GRPCError):
            return error
        translated = self._translate(error)
        if translated is not None:
            return translated
        log.error("%s failed", path, exc_info=error)
        return GRPCError(Status.INTERNAL, _HIDDEN)


class ServerConnection(Connection):
    """One connection of a GrpcServer, and the calls on it."""

    def __init__(self, server: GrpcServer, on_lost: Callable[[ServerConnection], None] | None) -> None:
        self._server = server
        self._on_gone = on_lost
        self._tasks: dict[MessageStream, asyncio.Task[None]] = {}
        super().__init__(client=False, limits=server.limits.http2, make_stream=self._stream, on_lost=self._gone)

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def close_when_idle(self) -> None:
        self.drain("the daemon is stopping")

    def cancel_all(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()

    def abort(self) -> None:
        self.cancel_all()
        super().abort()

    def _stream(self, connection: Connection, number: int) -> MessageStream:
        return MessageStream(
            connection,
            number,
            message_bytes=self._server.limits.message_bytes,
            budget=self._server.budget,
            on_headers=self._begin,
            on_failed=self._broken_off,
        )

    def _begin(self, stream: MessageStream, headers: Headers) -> None:
        task = self._server.begin(stream, headers)
        if task is not None:
            self._tasks[stream] = task
            task.add_done_callback(lambda _: self._finished(stream))
            # Methods of calls that were given up may still be ending, but not any number of them.
            self.refuse_streams = len(self._tasks) >= 2 * self.limits.streams

    def _finished(self, stream: MessageStream) -> None:
        del self._tasks[stream]
        self.refuse_streams = False
        self._close_if_gone()

    def _broken_off(self, stream: MessageStream) -> None:
        task = self._tasks.get(stream)
        # It may be the method itself that ended the stream.
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _gone(self, connection: Connection) -> None:
        self._close_if_gone()

    def _close_if_gone(self) -> None:
        """The end of a connection is told when its methods have ended, too."""
        if self.lost and not self._tasks:
            self._server.forget(self)
            if self._on_gone is not None:
                self._on_gone(self)


def _refuse(stream: MessageStream, headers: Headers) -> None:
    stream.send_headers(headers, end=True)
    stream.reset(ErrorCode.NO_ERROR, "the call was refused")
    stream.release()


def _refuse_call(stream: MessageStream, status: Status, message: str) -> None:
    _refuse(stream, RESPONSE + write_status(status, message, None))
