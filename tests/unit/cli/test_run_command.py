from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boatyard.client.documents.envelope import Done, Failure, StartedEvent, TerminalEvent
from boatyard.client.documents.runs import RunResult
from boatyard.client.failure import describe
from boatyard.errors import NotFoundError
from boatyard.progress import WarningEvent
from fixtures.native_daemon import Asked, NativeDaemon

Boat = Callable[..., Any]
BOAT = [sys.executable, "-c", "from boatyard.cli.main import main; main()"]


def test_a_container_gets_the_streams_and_gives_its_exit_code(boat: Boat, daemon: NativeDaemon) -> None:
    def run(asked: Asked) -> Iterator[object]:
        stdin, stdout, stderr = daemon.taken(asked.body["stdio"])
        os.write(stdout, b"out")
        os.write(stderr, b"err")
        assert os.read(stdin, 1) == b""
        yield WarningEvent(short="no limits here")
        yield RunResult(exit_code=7)

    daemon.answers["POST", "/runs"] = run
    told = boat("run", "--rm", "app", "ls", "-l")
    assert told.code == 7
    assert (told.out, told.err) == ("out", "errwarning: no limits here\n")
    assert daemon.asks("/runs")["argv"] == ["ls", "-l"]


def test_flags_become_the_request(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/runs"] = [RunResult(exit_code=0)]
    (work / "vars").write_text("# comment\nB=file\nC=file\nHOME\n")
    told = boat(
        "run", "--rm=true", "-e", "A=1", "-e", "TERM", "-e", "GONE", "--env-file", "vars", "-e", "C=flag",
        "-v", ".:/src:ro", "-v", "~/x:/x", "-w", "/src", "-u", "1:2", "-h", "box", "--network", "bridge",
        "--entrypoint", "", "--add-host", "db:10.0.0.2", "--shm-size=1m", "--ulimit", "core=0", "-m", "1g",
        "--cpus", "1.5", "--tmpfs", "/t", "--read-only", "app",
    )  # fmt: skip
    assert told.code == 0
    request = daemon.asks("/runs")
    del request["stdio"]
    assert request == {
        "image": "app",
        "entrypoint": [],
        "env": ["B=file", "C=flag", f"HOME={work}", "A=1", "TERM=xterm"],
        "volumes": [f"{work}:/src:ro", f"{os.environ['HOME']}/x:/x"],
        "workdir": "/src",
        "user": "1:2",
        "hostname": "box",
        "add_hosts": ["db=10.0.0.2"],
        "tmpfs": ["/t"],
        "shm_size": 1 << 20,
        "ulimits": ["core=0:0"],
        "memory": 1 << 30,
        "cpus": 1.5,
        "read_only": True,
    }


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["app"], 6, "add --rm"),
        (["--rm", "-it", "app"], 2, "-t needs a terminal"),
        (["--rm", "-v", "name:/x", "app"], 6, "named volumes"),
        (["--rm", "-v", "/x", "app"], 2, "is malformed"),
        (["--rm", "-e", "=x", "app"], 2, "is no variable"),
        (["--rm", "--env-file", "none", "app"], 3, "does not exist"),
    ],
)
def test_what_can_not_be_is_told_before_anything_runs(
    boat: Boat, daemon: NativeDaemon, words: list[str], code: int, what: str
) -> None:
    told = boat("run", *words)
    assert told.code == code
    assert what in told.err
    assert daemon.asked == []


def test_what_could_not_be_started_ends_with_125(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/runs"] = [Failure(error=describe(NotFoundError("no such image", hint="build it")))]
    told = boat("run", "--rm", "app")
    assert told.code == 125
    assert told.err == "error: no such image\n  fix: build it\n"


def test_signals_reach_the_container(daemon: NativeDaemon) -> None:
    arrived = threading.Event()

    def run(_: Asked) -> Iterator[object]:
        yield StartedEvent(id="c1")
        assert arrived.wait(10)
        yield RunResult(exit_code=143)

    def receive(_: Asked) -> object:
        arrived.set()
        return Done()

    daemon.answers["POST", "/runs"] = run
    daemon.answers["POST", "/runs/c1/signal"] = receive
    process = subprocess.Popen([*BOAT, "--host", daemon.address, "run", "--rm", "app"])
    # The handlers stand before the request is sent.
    while not any(asked.path == "/runs" for asked in daemon.asked):
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert daemon.asks("/runs/c1/signal") == {"signal": str(int(signal.SIGTERM))}


def _until(descriptor: int, text: bytes) -> bytes:
    """What was read up to and with `text`."""
    seen = b""
    while text not in seen:
        assert select.select([descriptor], [], [], 10)[0], seen
        seen += os.read(descriptor, 4096)
    return seen


def test_a_terminal_is_joined_raw_with_its_size_and_restored(daemon: NativeDaemon) -> None:
    """The container's side of the terminal is this test; so is the person's."""
    inner_master, inner_slave = pty.openpty()
    person, outer_slave = pty.openpty()
    termios.tcsetwinsize(person, (33, 101))
    before = termios.tcgetattr(outer_slave)
    release = threading.Event()

    def run(asked: Asked) -> Iterator[object]:
        token = asked.body["terminal"]
        daemon.deliver(token, inner_master)
        yield TerminalEvent(token=token)
        release.wait(10)
        yield RunResult(exit_code=5)

    daemon.answers["POST", "/runs"] = run
    process = subprocess.Popen(
        [*BOAT, "--host", daemon.address, "run", "--rm", "-it", "app"],
        stdin=outer_slave,
        stdout=outer_slave,
        stderr=outer_slave,
    )
    termios.tcsetattr(inner_slave, termios.TCSANOW, _raw(termios.tcgetattr(inner_slave)))
    os.write(inner_slave, b"prompt$ ")
    _until(person, b"prompt$ ")
    os.close(inner_master)
    assert termios.tcgetwinsize(inner_slave) == (33, 101)
    os.write(person, b"ls\x03")
    assert _until(inner_slave, b"\x03") == b"ls\x03"
    termios.tcsetwinsize(person, (10, 20))
    process.send_signal(signal.SIGWINCH)
    os.write(person, b"!")
    _until(inner_slave, b"!")
    assert termios.tcgetwinsize(inner_slave) == (10, 20)
    os.write(inner_slave, b"last words")
    os.close(inner_slave)
    _until(person, b"last words")
    release.set()
    assert process.wait(10) == 5
    assert termios.tcgetattr(outer_slave) == before
    os.close(person)
    os.close(outer_slave)


def _raw(attributes: list[Any]) -> list[Any]:
    attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    attributes[1] &= ~termios.OPOST
    return attributes
