"""A runtime's process and the container's first process beneath it: waited for, signalled, killed.

The daemon sees them by the process IDs of its own namespace.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

log = logging.getLogger(__name__)

KILL_INTERVAL = 0.01
KILL_PATIENCE = 0.6
"""How long the runtime may take to end after its container was killed, before it is killed itself."""


def children(pid: int, proc: str = "/proc") -> list[int]:
    """Of a process, whichever of its threads made them; [] when it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"{proc}/{pid}/task"):
            with open(f"{proc}/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except FileNotFoundError:
        return found or _children_by_parent(pid, proc)
    except OSError:
        return found
    return found


def _children_by_parent(pid: int, proc: str) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN."""
    found = []
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "stat").read_bytes()
            except OSError:
                continue
            # The name in parentheses may hold anything; state and parent follow the last one.
            if int(status.rpartition(b")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def signal_child(parent: int, child: int, number: int) -> bool:
    """Signal `child` if it is (still) a child of `parent`: the descriptor is taken first, so its number can't have
    been given to another.
    """
    try:
        descriptor = os.pidfd_open(child)
    except OSError:
        return False
    try:
        if child not in children(parent):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class RuntimeProcess:
    """A child of the daemon that runs one container in the foreground: crun or runc `run`.

    Owned by the executor, for one run. It is reaped when `wait` returns.
    """

    def __init__(self, pid: int) -> None:
        self.runtime_pid = pid
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._descriptor = os.pidfd_open(pid)
        self._loop.add_reader(self._descriptor, self._reap)
        self.killed = False
        """Whether the runtime itself was killed: it has cleared nothing up, and its container may live on."""
        self.cleared = asyncio.Event()
        """Set by the executor when everything of the container is undone."""

    def _reap(self) -> None:
        pid, status = os.waitpid(self.runtime_pid, os.WNOHANG)
        if pid == 0:
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        code = os.waitstatus_to_exitcode(status)
        self.killed = code < 0
        self._exit.set_result(code if code >= 0 else 128 - code)

    async def wait(self) -> int:
        """Until the runtime ended; its exit code (128 + N for signal N). Cancelling the wait leaves the process
        alone.
        """
        return await asyncio.shield(self._exit)

    @property
    def ended(self) -> bool:
        return self._exit.done()

    @property
    def pid(self) -> int:
        """The container's first process, or 0 when it is not there (yet, any more)."""
        if self.ended:
            return 0
        found = children(self.runtime_pid)
        return found[0] if found else 0

    def signal(self, number: int) -> None:
        """To the container's first process; kept until it is there. Nothing happens when it has ended."""
        if self.ended:
            return
        pid = self.pid
        if pid == 0 or not signal_child(self.runtime_pid, pid, number):
            self._loop.call_later(KILL_INTERVAL, self.signal, number)

    async def kill(self) -> None:
        """Kill everything in the container and wait for the runtime to have cleaned up after it; the runtime itself
        when it doesn't.
        """
        started = self._loop.time()
        while not self.ended:
            for child in children(self.runtime_pid):
                signal_child(self.runtime_pid, child, signal.SIGKILL)
            if self._loop.time() - started > KILL_PATIENCE:
                log.warning(
                    "the runtime (process %d) does not end after its container was killed: killing it", self.runtime_pid
                )
                os.kill(self.runtime_pid, signal.SIGKILL)
            await asyncio.wait((self._exit,), timeout=KILL_INTERVAL)
