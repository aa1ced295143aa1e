"""An answer that is a stream of events with a result at its end, and that ends with its client.

The work runs as a task of its own. When the client goes, or the daemon stops, it is cancelled and waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from boatyard.api.native.errors import body_of, status_of
from boatyard.api.native.feed import Feed
from boatyard.client.documents.envelope import Failure
from boatyard.client.failure import describe
from boatyard.errors import BoatyardError, CancelledBuildError
from boatyard.progress import encode
from boatyard.wire.asgi import ClientGoneError, Receive, Send

log = logging.getLogger(__name__)

CONTENT_TYPE = b"application/x-ndjson"

Work = Callable[[Feed], Awaitable[msgspec.Struct]]


class Running:
    """The streamed requests at work, so that a stopping daemon can end them with an answer."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel("the daemon is stopping")


async def answer(
    work: Work,
    running: Running,
    send: Send,
    until_gone: Coroutine[Any, Any, None],
    *,
    ref: Callable[[], str] = str,
) -> None:
    """Run `work`. `until_gone` ends when the client has gone. A failure before any event is an answer with a status of
    its own; after that it is the stream's last line, with the `ref` of the build."""
    feed = Feed()
    task = asyncio.ensure_future(_run(work, feed))
    running.add(task)
    task.add_done_callback(lambda _: feed.news.set())
    watcher = asyncio.ensure_future(until_gone)
    watcher.add_done_callback(lambda watcher: _cancel_if_gone(watcher, task))
    try:
        await _pass_on(task, feed, send, ref)
    except ClientGoneError:
        log.debug("the client of a streamed request has gone")
    finally:
        watcher.cancel()
        task.cancel()
        await asyncio.wait((task, watcher))


async def _run(work: Work, feed: Feed) -> msgspec.Struct:
    return await work(feed)


def _cancel_if_gone(watcher: asyncio.Future[None], task: asyncio.Task[msgspec.Struct]) -> None:
    if not watcher.cancelled():
        task.cancel("the client has gone")


async def _pass_on(task: asyncio.Task[msgspec.Struct], feed: Feed, send: Send, ref: Callable[[], str]) -> None:
    started = False
    while not task.done():
        await feed.news.wait()
        if task.done():
            break
        # Whatever else is ready to run now may have something to say, too: one segment instead of many.
        await asyncio.sleep(0)
        data = feed.take()
        if data and not started:
            started = True
            await _start(send)
        if data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
    data = feed.take()
    error = _error(task)
    if error is not None and not started and not data:
        await send_error(send, error)
        return
    final = task.result() if error is None else Failure(error=describe(error), ref=ref())
    if not started:
        await _start(send)
    await send({"type": "http.response.body", "body": data + encode(final) + b"\n", "more_body": False})


def _error(task: asyncio.Task[msgspec.Struct]) -> BaseException | None:
    if task.cancelled():
        return CancelledBuildError("cancelled: the daemon is stopping, or the request was cancelled")
    error = task.exception()
    if error is not None and not isinstance(error, BoatyardError):
        log.error("a streamed request failed unexpectedly", exc_info=error)
    return error


async def _start(send: Send) -> None:
    headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def send_document(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_error(send: Send, error: BaseException) -> None:
    await send_document(send, status_of(error), body_of(error))


async def until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
