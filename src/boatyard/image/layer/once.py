"""Work that several threads ask for at the same time is done by one of them, and its result given to all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Once:
    """Nothing is remembered: who asks after the work is done has it done again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[Any]] = {}

    def do(self, key: Hashable, work: Callable[[], _Result]) -> _Result:
        with self._lock:
            future: Future[_Result] | None = self._running.get(key)
            if future is None:
                mine: Future[_Result] = Future()
                self._running[key] = mine
        if future is not None:
            return future.result()
        try:
            result = work()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._running[key]
        mine.set_result(result)
        return result
