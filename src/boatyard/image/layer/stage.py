"""Work that goes on beside its producer: in order, on a thread of its own, never more than a few items behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Stage(Generic[_Item]):
    """Calls `work` with each item that is put. What it raises is raised by the next `put`, or by `close`. Owned by the
    producer, who must call `close` or `abort`."""

    def __init__(self, work: Callable[[_Item], object], *, depth: int, name: str) -> None:
        self._work = work
        self._queue: queue.Queue[_Item | None] = queue.Queue(depth)
        self._failure: BaseException | None = None
        self._aborted = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is None and not self._aborted:
                try:
                    self._work(item)
                except BaseException as error:  # handed to the producer, whatever it is
                    self._failure = error

    def put(self, item: _Item) -> None:
        if self._failure is not None:
            raise self._failure
        self._queue.put(item)

    def close(self) -> None:
        """Wait until everything is done."""
        self._queue.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Drop what isn't done yet."""
        self._aborted = True
        self._queue.put(None)
        self._thread.join()
