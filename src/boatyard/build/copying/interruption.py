"""Blocking work that ends when the task that waits for it is cancelled: a thread can't be stopped from outside, so it
looks, between two files, whether it should."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from boatyard.errors import CancelledBuildError

T = TypeVar("T")


class Stop:
    """Set once, from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.is_set = self._event.is_set

    def set(self) -> None:
        self._event.set()

    def check(self) -> None:
        """CancelledBuildError once it is set."""
        if self.is_set():
            raise CancelledBuildError("the build was cancelled")


async def run_interruptible(work: Callable[[Stop], T]) -> T:
    """Call it in a thread. When this task is cancelled, the thread is told, and has ended before this returns."""
    stop = Stop()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it was asked to fail
        raise
