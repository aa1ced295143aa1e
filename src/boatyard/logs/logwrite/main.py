"""`logwrite`: both of LinuxKit's programs of that name, and more. With a command it runs that as a source; without,
it writes what memlogd has to files."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from boatyard.errors import BoatyardError, ExecutableError, InvalidError
from boatyard.logs import moment
from boatyard.logs.flags import Flag, Value, parse_or_exit
from boatyard.logs.logwrite import policy as defaults
from boatyard.logs.logwrite import wrapper
from boatyard.logs.logwrite.directory import Directory
from boatyard.logs.logwrite.policy import Policy
from boatyard.logs.logwrite.service import Service
from boatyard.logs.places import LOG_SOCKET, QUERY_SOCKET
from boatyard.logs.selection import Selection

FLAGS = (
    Flag("socket", "", f"memlogd's query socket (default {QUERY_SOCKET}), with a command its log socket"),
    Flag("log-dir", "/var/log", "where the files are"),
    Flag("max-log-files", defaults.MAX_FILES, "rotated files that are kept for each source"),
    Flag("max-log-size", defaults.MAX_SIZE, "bytes above which a file is rotated"),
    Flag("max-log-age", "", "rotate files that are older, such as 24h or 7d", word="duration"),
    Flag("max-total-size", 0, "bytes that all files may take; the oldest rotated ones go first. 0: any"),
    Flag("compress", False, "compress rotated files with gzip"),
    Flag("sync", "never", "fsync: never, always, or every so often, such as 5s"),
    Flag("source", (), "only sources of that name, which may have * ? [..]; may be repeated"),
    Flag("without", (), "no sources of that name; may be repeated"),
    Flag("ready-fd", -1, "a descriptor to which a byte is written when all that was there has been read"),
    Flag("n", "", "with a command: the source's name; else it is the command's"),
)
_REPEAT = 60.0
"""Seconds before the same words are said again."""


def main() -> None:
    values, command = parse_or_exit("logwrite", FLAGS, sys.argv[1:], "[command args]")
    try:
        code = _run_command(values, command) if command else _write_files(values)
    except ExecutableError as error:
        _say(error)
        code = error.exit_code
    except BoatyardError as error:
        _say(error)
        code = 2 if isinstance(error, InvalidError) else 1
    raise SystemExit(code)


def _run_command(values: dict[str, Value], command: list[str]) -> int:
    return wrapper.run(str(values["socket"] or LOG_SOCKET), str(values["n"] or command[0]), command)


def _write_files(values: dict[str, Value]) -> int:
    if values["n"]:
        raise InvalidError("-n names a command's source, but there is no command")
    policy = _policy(values)
    sources, without = values["source"], values["without"]
    assert isinstance(sources, tuple) and isinstance(without, tuple)
    signals = _Signals()
    complaints = _Complaints()
    directory = Directory(Path(str(values["log-dir"])), policy, complaints.say, signals.wait)
    selection = Selection(sources=sources, without=without)
    service = Service(
        str(values["socket"] or QUERY_SOCKET), directory, selection, complaints.say, _readiness(values["ready-fd"])
    )
    service.run(signals.descriptor, signals.came)
    return 0


def _readiness(descriptor: Value) -> Callable[[], None]:
    def ready() -> None:
        if isinstance(descriptor, int) and descriptor >= 0:
            os.write(descriptor, b"1")
            os.close(descriptor)

    return ready


def _policy(values: dict[str, Value]) -> Policy:
    def number(name: str, least: int) -> int:
        value = values[name]
        assert isinstance(value, int)
        if value < least:
            raise InvalidError(f"-{name} is {value}", hint=f"the least is {least}")
        return value

    def span(name: str, text: str) -> float:
        try:
            return moment.span(text) / moment.SECOND
        except ValueError as error:
            raise InvalidError(f"-{name}: {error}") from error

    sync, age = str(values["sync"]), str(values["max-log-age"])
    return Policy(
        max_files=number("max-log-files", 0),
        max_size=number("max-log-size", 1),
        max_age=int(span("max-log-age", age)) if age else 0,
        max_total=number("max-total-size", 0),
        compress=bool(values["compress"]),
        sync=None if sync == "never" else 0.0 if sync == "always" else span("sync", sync),
    )


class _Signals:
    """SIGTERM, SIGINT and SIGHUP end us in order. The descriptor is readable from then on."""

    def __init__(self) -> None:
        self.descriptor, self._writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._came = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)

    def came(self) -> bool:
        return self._came

    def wait(self, seconds: float) -> bool:
        """False when a signal came."""
        return not select.select([self.descriptor], [], [], seconds)[0]

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if not self._came:
            self._came = True
            os.write(self._writable, b"1")


class _Complaints:
    """What goes wrong, on standard error; not the same again and again."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said.get(text, -_REPEAT) < _REPEAT:
            return
        if len(self._said) > 1000:
            self._said.clear()
        self._said[text] = now
        try:
            sys.stderr.write(f"logwrite: {text}\n")
            sys.stderr.flush()
        except OSError:
            pass  # nobody listens, or the disk it goes to is the full one


def _say(error: BoatyardError) -> None:
    sys.stderr.write(f"logwrite: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
