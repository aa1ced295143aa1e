"""Where a reader's bytes go: a socket or a pipe that takes as much as it likes, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable

from boatyard.logs.memlogd.loop import ERR, HUP, OUT, Loop
from boatyard.logs.memlogd.reader import Reader

_TURNS = 8
"""Pieces sent to one before others have their turn."""


class Outlet:
    """Owns the descriptor, which doesn't block. `write` takes the beginning of what it is given, and says how much;
    `gone` is called once, when the other end has gone or there is nothing more to tell it."""

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        write: Callable[[memoryview], int],
        reader: Reader,
        gone: Callable[[Outlet], None],
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._write = write
        self._gone = gone
        self._unsent = memoryview(b"")
        self._waiting = False
        self.reader = reader
        self.closed = False
        self.served = 0
        """The round in which it last took something."""

    def ready(self, events: int) -> None:
        if events & (HUP | ERR):
            self.close()
        else:
            self.pump(self.served)

    @property
    def blocked(self) -> bool:
        return self._waiting

    def pump(self, now: int) -> None:
        """Hand on what there is, as long as it is taken."""
        for _ in range(_TURNS):
            if not self._unsent:
                self._unsent = memoryview(self.reader.next_piece())
                if not self._unsent:
                    if self.reader.done:
                        self.close()
                    else:
                        self._wait(False)
                    return
            try:
                taken = self._write(self._unsent)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            self._unsent = self._unsent[taken:]
            self.served = now
        self._wait(True)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.close(self._descriptor)
        self._gone(self)

    def _wait(self, waiting: bool) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            self._loop.expect(self._descriptor, OUT if waiting else 0)
