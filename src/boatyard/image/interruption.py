"""Blocking work for a task that may be cancelled: a thread can't be stopped from outside, so it is told, looks between
two files whether it should stop, and is waited for in any case."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from boatyard.errors import CancelledBuildError

P = ParamSpec("P")
T = TypeVar("T")


class Stop:
    """Set once, from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._listeners: dict[object, Callable[[], object]] = {}
        self.is_set = self._event.is_set

    def set(self) -> None:
        with self._lock:
            self._event.set()
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener()

    def when_set(self, listener: Callable[[], object]) -> Callable[[], object]:
        """Have it called, in the thread that sets this, or at once if it is set already; unless what is returned is
        called before."""
        key = object()
        with self._lock:
            self._listeners[key] = listener
        if self.is_set():
            listener()
        return lambda: self._listeners.pop(key, None)

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until it is set; whether it is."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """CancelledBuildError once it is set."""
        if self.is_set():
            raise CancelledBuildError("the build was cancelled")


async def run_interruptible(work: Callable[[Stop], T]) -> T:
    """Call it in a thread. When this task is cancelled, the thread is told, and has ended before this returns."""
    stop = Stop()
    return await settled(asyncio.ensure_future(asyncio.to_thread(work, stop)), stop.set)


async def run_settled(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread, and return only when it has ended, however often this task is cancelled meanwhile. For what
    makes or undoes something that must be known to be there, or not."""
    return await settled(asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs)))


async def settled(task: asyncio.Future[T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Wait until it is done, whatever happens. A cancellation meanwhile calls `on_cancel` once, and is raised at the
    end in place of what came of the task."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            if cancelled is None:
                on_cancel()
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # whoever wanted it has been cancelled
        raise cancelled
    return task.result()


async def all_settled(*work: Awaitable[T]) -> list[T]:
    """The results of all. As soon as one fails, or this task is cancelled, the others are cancelled; none of them runs
    any more when this returns."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await settled(asyncio.gather(*tasks, return_exceptions=True))
        raise
