"""LinuxKit's other logwrite: run a command, and let memlogd have what it says, too.

Its standard output is the source `NAME.out`, its standard error the source `NAME`. Both go on to ours.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Sequence
from types import FrameType

from boatyard.errors import ExecutableError
from boatyard.logs.handover import hand_over

_READ = 1 << 16
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class _Branch:
    """One of the command's streams: it goes to one of ours, and to memlogd as long as that takes it."""

    def __init__(self, log_socket: str, name: str, standard: int) -> None:
        self.readable, self.writable = os.pipe()
        self._standard = standard
        self._log, theirs = socket.socketpair()
        with theirs:
            hand_over(log_socket, name, theirs.fileno())

    def pass_on(self) -> bool:
        """Whether there may be more."""
        data = os.read(self.readable, _READ)
        if not data:
            os.close(self.readable)
            self._log.close()
            return False
        if self._log.fileno() >= 0:
            try:
                self._log.sendall(data)
            except OSError:  # memlogd went away; the command goes on
                self._log.close()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._standard, view) :]
        except BrokenPipeError:
            pass  # nobody reads ours; memlogd still does
        return True


def run(log_socket: str, name: str, command: Sequence[str]) -> int:
    """The command's exit code, 128 + N when signal N ended it. UnavailableError without a memlogd, ExecutableError
    when the command can't be started. Signals go on to it."""
    out, error = _Branch(log_socket, f"{name}.out", 1), _Branch(log_socket, name, 2)
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.writable, 1), (os.POSIX_SPAWN_DUP2, error.writable, 2)],
            setsigdef=[signal.SIGPIPE],
        )
    except OSError as failed:
        code = 127 if isinstance(failed, FileNotFoundError) else 126
        raise ExecutableError(f"{command[0]} can't be started: {failed.strerror}", exit_code=code) from failed

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(pid, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    os.close(out.writable)
    os.close(error.writable)
    branches = {branch.readable: branch for branch in (out, error)}
    while branches:
        for descriptor in select.select(list(branches), [], [])[0]:
            if not branches[descriptor].pass_on():
                del branches[descriptor]
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code
