"""Find the daemon; start this user's own when none answers, and replace one that is out of date.

The daemon runs on its own (its own session, no terminal, output to its log) and goes away after an idle time. Two
clients at once start one daemon: a lock beside the socket lets one of them start it while the other waits.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep

import msgspec

from boatyard import __version__
from boatyard.client.calls import system
from boatyard.client.documents.envelope import ErrorAnswer
from boatyard.client.endpoint import UnixEndpoint, unreachable
from boatyard.client.failure import restore
from boatyard.client.places import Card, find_daemon, places, read_card
from boatyard.client.sync import Client
from boatyard.errors import ConflictError, StorageError, UnavailableError

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
MAX_LOG = 8 << 20
_LOG_LINES = 12
READY = b"ready\n"


def connect(host: str | None = None, environ: Mapping[str, str] | None = None) -> Client:
    """A client of the daemon that `host` or BOAT_HOST names, else of this user's own, which is started when none
    answers.

    A daemon that a client of another version started is replaced when it is idle. UnavailableError when no daemon
    answers and none can be started."""
    environ = os.environ if environ is None else environ
    endpoint, may_start = find_daemon(host, environ, os.geteuid())
    client = Client(endpoint)
    if may_start and isinstance(endpoint, UnixEndpoint):
        client.notice = ensure(endpoint.path, environ)
    return client


def ensure(path: str, environ: Mapping[str, str]) -> str:
    """A daemon answers at `path` after this. The text is empty, or says what is odd about that daemon.

    UnavailableError with the last lines of its log when it can't be started."""
    if _answers(path):
        card = read_card(path)
        if card is None or card.version == __version__:
            return ""
        return _replace(path, environ, card)
    _start_alone(path, environ)
    return ""


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise unreachable(UnixEndpoint(path), error) from error
        return True


def _replace(path: str, environ: Mapping[str, str], card: Card) -> str:
    notice = f"the daemon (process {card.pid}) is version {card.version}, this program is {__version__}"
    if not card.autostarted:
        return f"{notice}; restart it when it suits you"
    try:
        Client(path).call(system.shutdown(when_idle=True), timeout=STOP_TIMEOUT)
    except ConflictError:
        return f"{notice}; it is busy, and is replaced when it is idle"
    deadline = monotonic() + STOP_TIMEOUT
    while _answers(path):
        if monotonic() > deadline:
            return f"{notice}; it was asked to stop but has not yet"
        sleep(0.02)
    _start_alone(path, environ)
    return ""


def _start_alone(path: str, environ: Mapping[str, str]) -> None:
    with _starting(path):
        if not _answers(path):
            _start(path, environ)


@contextmanager
def _starting(path: str) -> Iterator[None]:
    """One client at a time may start the daemon of this socket."""
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        lock = os.open(f"{directory}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"can't prepare {directory} for a daemon: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _start(path: str, environ: Mapping[str, str]) -> None:
    log = places(environ, os.geteuid()).log
    try:
        os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
        _rotate(log)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"can't open the daemon's log {log}: {error.strerror}", hint="check its directory, or set BOATD_ROOT"
        ) from error
    readable, writable = os.pipe()
    try:
        log_start = os.fstat(output).st_size
        _spawn(path, environ, output, writable)
        os.close(writable)
        writable = -1
        answer = _wait_for_readiness(readable)
    finally:
        os.close(readable)
        os.close(output)
        if writable >= 0:
            os.close(writable)
    if answer != READY:
        _explain_failure(path, answer, log, log_start)


def _rotate(log: str) -> None:
    """One old log is kept."""
    try:
        if os.stat(log).st_size > MAX_LOG:
            os.replace(log, f"{log}.1")
    except FileNotFoundError:
        pass


def _spawn(path: str, environ: Mapping[str, str], output: int, ready: int) -> None:
    """The daemon forks once more by itself (--detach), so that it is no child of ours."""
    command = [sys.executable, "-m", "boatyard.daemon", "--detach", "--autostarted", "--listen", f"unix://{path}"]
    process = os.posix_spawn(
        sys.executable,
        [*command, "--ready-fd", "3"],
        dict(environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            (os.POSIX_SPAWN_DUP2, ready, 3),
        ],
        setsid=True,
    )
    os.waitpid(process, 0)


def _wait_for_readiness(readable: int) -> bytes | None:
    """What the daemon said on its pipe until it closed it; None when it said nothing in time."""
    deadline = monotonic() + START_TIMEOUT
    poller = select.poll()
    poller.register(readable, select.POLLIN)
    said = b""
    while poller.poll(max(0.0, deadline - monotonic()) * 1000):
        piece = os.read(readable, 65536)
        if not piece:
            return said
        said += piece
    return None


def _explain_failure(path: str, answer: bytes | None, log: str, log_start: int) -> None:
    if answer is None:
        raise UnavailableError(
            f"the daemon was started but is not ready after {START_TIMEOUT:g} seconds", hint=f"its log is {log}"
        )
    try:
        error = restore(msgspec.json.decode(answer, type=ErrorAnswer).error)
    except msgspec.DecodeError:
        raise UnavailableError(
            "the daemon ended while it was starting" + _last_lines(log, log_start),
            hint=f"its log is {log}; `boatd` in a terminal shows more",
        ) from None
    if isinstance(error, ConflictError):
        # Somebody else (a service, another client's daemon) is just starting on the same root: it will answer here.
        deadline = monotonic() + START_TIMEOUT / 3
        while monotonic() < deadline:
            if _answers(path):
                return
            sleep(0.02)
    raise error


def _last_lines(log: str, start: int) -> str:
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - 16384))
            text = file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
    lines = text.splitlines()[-_LOG_LINES:]
    return ". It said last:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
