"""A person at a terminal: a program on a pseudo-terminal of its own, keys typed to it, and what it shows."""

from __future__ import annotations

import codecs
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from fixtures.screen import Screen


class Terminal:
    """Of one program, as its session's controlling terminal. Ended by `with`.

    `output` is all that was written to it; `screen` what it looks like, where the program draws (a shell in it may use
    sequences that the screen doesn't know: such tests read `output`)."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        cwd: Path | None = None,
        drawn: bool = False,
    ) -> None:
        self.output = ""
        self.screen = Screen(columns, rows) if drawn else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._master, slave = os.openpty()
        self._set_size(columns, rows)
        self.modes = termios.tcgetattr(slave)
        """Before the program started."""
        self._slave = slave
        variables = {name: value for name, value in environment.items() if name not in ("NO_COLOR", "CI")}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # which needs no process of its own
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**variables, "TERM": "xterm-256color"},
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    @property
    def modes_now(self) -> list[object]:
        return termios.tcgetattr(self._slave)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self._read(0)
        if self.screen is not None:
            self.screen.resize(columns, rows)
        self._set_size(columns, rows)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, text: str, *, after: str = "", timeout: float = 60) -> str:
        """Read on until `text` has been written (somewhere behind `after`); everything written so far."""
        self.until(lambda: text in self.output.rpartition(after)[2] if after else text in self.output, timeout, text)
        return self.output

    def until(self, condition: Callable[[], bool], timeout: float = 60, what: str = "") -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            ended = self.process.poll() is not None
            if not self._read(0.1) and (ended or time.monotonic() > deadline):
                self._read(0)
                if condition():
                    return
                raise AssertionError(f"the terminal never showed {what!r}:\n{self.output}")

    def ends(self, *, timeout: float = 60) -> int:
        """Read on until the program has ended; its exit code."""
        self.until(lambda: self.process.poll() is not None, timeout=timeout, what="the end")
        while self._read(0.05):
            pass
        return self.process.wait()

    def _read(self, patience: float) -> bool:
        if not select.select([self._master], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program and all it started are gone
            return False
        text = self._decoder.decode(data)
        self.output += text
        if self.screen is not None:
            self.screen.write(text)
        return bool(data)
