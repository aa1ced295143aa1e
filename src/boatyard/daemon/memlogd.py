"""A memlogd beside the daemon: it has the daemon's own log, fair and within bounds, and outlives a daemon that is
killed with its last words.

The next daemon finds it and goes on with it. It ends with a daemon that ends in order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from boatyard.daemon.config import Config
from boatyard.errors import BoatyardError
from boatyard.logs.keeper import Keeper
from boatyard.logs.sink import LogSink
from boatyard.runtime.spawn import spawn_with
from boatyard.wire.pipes import until_readable

log = logging.getLogger(__name__)

LOG_NAME, QUERY_NAME, CARD_NAME = "memlogd.sock", "memlogdq.sock", "memlogd.pid"
OWN_SOURCE = "boatd"
_PAUSE = 0.2


class Memlogd:
    """One per daemon. `sink` is for its other parts; `own` a descriptor that the daemon's log can be written to, which
    never blocks."""

    def __init__(self, config: Config) -> None:
        """StorageError, UnavailableError or ConflictError when there can be none."""
        self.sink = LogSink(f"{config.run}/{LOG_NAME}", f"{config.run}/{QUERY_NAME}")
        os.makedirs(config.run, mode=0o755, exist_ok=True)
        self._card = f"{config.run}/{CARD_NAME}"
        self._flags = (
            *("-fair", "-split"),
            *(f"-max-lines={config.log.max_lines}", f"-max-bytes={int(config.log.max_bytes)}"),
        )
        self._keeper: Keeper | None = None
        self._pid = self._left_by_another()
        self.own = self.sink.open(OWN_SOURCE) if self._pid else self._start()
        os.set_blocking(self.own, False)

    async def watch(self) -> None:
        """Start another one whenever it dies, until cancelled."""
        while True:
            await _ended(self._pid)
            self._reap()
            await asyncio.sleep(_PAUSE)
            try:
                await asyncio.to_thread(self._start_again)
            except BoatyardError as error:
                log.error("there is no memlogd any more: %s", error.message)
                return
            log.error("memlogd had ended; another one was started")

    def close(self) -> None:
        os.close(self.own)
        try:
            os.kill(self._pid, signal.SIGTERM)
            if self._keeper is not None:
                os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            log.debug("memlogd had ended before")
        if self._keeper is not None:
            self._keeper.close()
        with suppress(FileNotFoundError):
            os.unlink(self._card)

    def _reap(self) -> None:
        if self._keeper is not None:
            os.waitpid(self._pid, os.WNOHANG)

    def _start(self) -> int:
        """Start one of our own; the descriptor for our log."""
        self._keeper = Keeper(self.sink.log_socket, self.sink.query_socket, self._flags, spawn_with)
        self._pid = self._keeper.start()
        self._note()
        return self._keeper.open(OWN_SOURCE)

    def _start_again(self) -> None:
        if self._keeper is not None:
            self._pid = self._keeper.start()
            self._note()
            return
        own = self._start()
        os.set_blocking(own, False)
        os.dup2(own, self.own, inheritable=False)
        os.close(own)

    def _note(self) -> None:
        with open(self._card, "w") as file:
            file.write(f"{self._pid}\n")

    def _left_by_another(self) -> int:
        """The memlogd of a daemon that was killed, which still has that one's last words; 0 when there is none."""
        try:
            with open(self._card) as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return pid if b"boatyard.logs.memlogd" in file.read() else 0
        except (OSError, ValueError):
            return 0


@contextmanager
def beside(config: Config) -> Iterator[Memlogd | None]:
    """As the configuration wants it. When there can be none, that is said, and the daemon does without."""
    if not config.log.memlogd:
        yield None
        return
    try:
        memlogd = Memlogd(config)
    except BoatyardError as error:
        log.error("no memlogd: %s", error.message)
        yield None
        return
    try:
        yield memlogd
    finally:
        memlogd.close()


async def _ended(pid: int) -> None:
    """Wait for a process, whoever's it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await until_readable(descriptor)
    finally:
        os.close(descriptor)
