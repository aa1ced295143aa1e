"""An answer that is a stream with a result at its end, and that ends with its client.

The work runs as a task of its own. When the client goes, or the daemon stops, it is cancelled and waited for. What the
stream looks like is the business of the face it is an answer of (`Form`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from boatyard.api.feed import Feed
from boatyard.client.documents.envelope import StreamEvent
from boatyard.errors import BoatyardError, CancelledBuildError
from boatyard.wire.asgi import ClientGoneError, Send

log = logging.getLogger(__name__)

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

Work = Callable[[Feed], Awaitable[R]]


class Form(Protocol[R_contra]):
    """How one streamed answer is written."""

    content_type: bytes

    def events(self, events: Sequence[StreamEvent]) -> bytes:
        """b"" when there is nothing to be said of them."""

    def result(self, result: R_contra) -> bytes: ...
    def failure(self, error: BaseException) -> bytes:
        """At the end of a stream that has begun."""

    async def refuse(self, send: Send, error: BaseException) -> None:
        """The whole answer, when nothing was said before the failure."""


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
    work: Work[R], form: Form[R], running: Running, send: Send, until_gone: Coroutine[Any, Any, None]
) -> None:
    """Run `work`. `until_gone` ends when the client has gone. A failure before anything was said is an answer with a
    status of its own; after that it is the stream's last line."""
    feed = Feed()
    task = asyncio.ensure_future(_run(work, feed))
    running.add(task)
    task.add_done_callback(lambda _: feed.news.set())
    watcher = asyncio.ensure_future(until_gone)
    # A thread of the work may be waiting for what the watcher reads: when the daemon stops, both end.
    running.add(watcher)
    watcher.add_done_callback(lambda watcher: _cancel_if_gone(watcher, task))
    try:
        await _pass_on(task, form, feed, send)
    except ClientGoneError:
        log.debug("the client of a streamed request has gone")
    finally:
        watcher.cancel()
        task.cancel()
        await asyncio.wait((task, watcher))


async def _run(work: Work[R], feed: Feed) -> R:
    return await work(feed)


def _cancel_if_gone(watcher: asyncio.Future[None], task: asyncio.Task[R]) -> None:
    if not watcher.cancelled():
        task.cancel("the client has gone")


async def _pass_on(task: asyncio.Task[R], form: Form[R], feed: Feed, send: Send) -> None:
    started = False
    while not task.done():
        await feed.news.wait()
        if task.done():
            break
        # Whatever else is ready to run now may have something to say, too: one segment instead of many.
        await asyncio.sleep(0)
        data = form.events(feed.take())
        if data and not started:
            started = True
            await _start(send, form.content_type)
        if data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
    data = form.events(feed.take())
    error = _error(task)
    if error is not None and not started and not data:
        await form.refuse(send, error)
        return
    final = form.result(task.result()) if error is None else form.failure(error)
    if not started:
        await _start(send, form.content_type)
    await send({"type": "http.response.body", "body": data + final, "more_body": False})


def _error(task: asyncio.Task[R]) -> BaseException | None:
    if task.cancelled():
        return CancelledBuildError("cancelled: the daemon is stopping, or the request was cancelled")
    error = task.exception()
    if error is not None and not isinstance(error, BoatyardError):
        log.error("a streamed request failed unexpectedly", exc_info=error)
    return error


async def _start(send: Send, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def send_document(send: Send, status: int, body: bytes) -> None:
    """A whole answer of JSON."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
