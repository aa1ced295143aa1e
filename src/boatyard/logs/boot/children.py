"""Processes of our own, and whoever else is left to us: started, waited for, called back about. And time.

One thread. As the first process of a machine, or as the nearest reaper, we get the children of others, too; they are
reaped and forgotten.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import select
import signal
import time
from collections import OrderedDict
from collections.abc import Callable
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36
_REMEMBERED = 64


class Children:
    """One per process. While it is used, nobody else may wait for children."""

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._ended: OrderedDict[int, int] = OrderedDict()
        """Exit codes of the last ones that nobody had asked about."""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.signals: list[int] = []
        """Those that came and were not looked at: TERM, INT, and whatever else ends us."""
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPWR):
            signal.signal(number, self._caught)
        if os.getpid() != 1:
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def watch(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended` with the exit code (128 + N after signal N) of a child; later, even if it has ended
        already."""
        if pid in self._ended:
            code = self._ended.pop(pid)
            self.after(0, lambda: ended(code))
        else:
            self._waiting[pid] = ended

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._serial), call))

    def round(self, longest: float = 3600.0) -> None:
        """Wait for something to happen, and tell who waits for it."""
        wait = longest
        if self._timers:
            wait = min(wait, max(0.0, self._timers[0][0] - time.monotonic()))
        if select.select([self._readable], [], [], wait)[0]:
            try:
                while os.read(self._readable, 512):
                    pass
            except BlockingIOError:
                pass
        self._reap()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            ended = self._waiting.pop(pid, None)
            if ended is not None:
                ended(code)
                continue
            self._ended[pid] = code
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def _caught(self, number: int, _: FrameType | None) -> None:
        self.signals.append(number)


def _noted(_: int, __: FrameType | None) -> None:
    """The wakeup descriptor says it all."""
