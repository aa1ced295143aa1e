"""`boat` as a process: broken pipes, signals, terminals."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from boatyard.client.documents.builds import BuildDetail, BuildResult
from boatyard.client.documents.envelope import Failure, TerminalEvent
from boatyard.client.documents.images import ImageList, ImageSummary
from boatyard.client.failure import describe
from boatyard.errors import CancelledBuildError, SolveError
from boatyard.progress import LogEvent, VertexEvent
from fixtures.native_daemon import Asked, NativeDaemon
from fixtures.screen import Screen

BOAT = [sys.executable, "-c", "from boatyard.cli.main import main; main()"]


def _running(daemon: NativeDaemon) -> threading.Event:
    """A build that runs until its event is set, or it is cancelled."""
    ended = threading.Event()

    def build(_: Asked) -> Iterator[object]:
        yield VertexEvent(digest="a", name="RUN endless", started=1.0)
        yield LogEvent(vertex="a", stream=1, data="going\n", time=2.0)
        assert ended.wait(10)
        yield Failure(error=describe(CancelledBuildError("the client ended the build")))

    def cancel(asked: Asked) -> object:
        ended.set()
        ref = asked.path.split("/")[2]
        return BuildDetail(ref=ref, name="", status="cancelled", started=0.0)

    class Cancels(dict[tuple[str, str], object]):
        def get(self, key: tuple[str, str], default: object = None) -> object:  # type: ignore[override]
            return cancel if key[1].endswith("/cancel") else super().get(key, default)

    daemon.answers = Cancels(daemon.answers)
    daemon.answers["POST", "/builds"] = build
    return ended


def _on_a_terminal(daemon: NativeDaemon, work: Path, *words: str) -> tuple[subprocess.Popen[bytes], int]:
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [*BOAT, "--host", daemon.address, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm"},
        cwd=work,
        process_group=0,
    )
    os.close(terminal)
    return process, person


def _shown(person: int, screen: Screen, until: str = "") -> None:
    """Feed the screen until it shows the text, or to the end."""
    while not until or until not in "\n".join(screen.lines):
        assert select.select([person], [], [], 10)[0], screen.lines
        try:
            data = os.read(person, 65536)
        except OSError:  # EIO: everybody has left the terminal
            assert not until, screen.lines
            return
        screen.write(data.decode().replace("\r\n", "\n"))


def test_a_reader_that_goes_away_ends_it_quietly(daemon: NativeDaemon) -> None:
    image = ImageSummary(id="sha256:" + "a" * 64, digest="", names=tuple(f"app:{n}" for n in range(5000)))
    daemon.answers["GET", "/images"] = ImageList(images=(image,))
    process = subprocess.Popen(
        [*BOAT, "--host", daemon.address, "images"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(10) == 141
    process.stderr.close()


def test_ctrl_c_cancels_the_build_and_waits_for_its_end(daemon: NativeDaemon, work: Path) -> None:
    _running(daemon)
    process, person = _on_a_terminal(daemon, work, "build", ".")
    screen = Screen()
    _shown(person, screen, until="going")
    assert screen.cursor_hidden
    process.send_signal(signal.SIGINT)
    _shown(person, screen)
    assert process.wait(10) == 130
    assert not screen.cursor_hidden
    assert any(asked.path.endswith("/cancel") for asked in daemon.asked)
    assert screen.lines[0].startswith(" => CANCELLED RUN endless")
    os.close(person)


def test_a_second_ctrl_c_leaves_at_once(daemon: NativeDaemon, work: Path) -> None:
    _running(daemon)
    hold = threading.Event()
    asked_to_cancel = threading.Event()

    def stall(_: Asked) -> object:
        asked_to_cancel.set()
        hold.wait(10)
        return BuildDetail(ref="r", name="", status="cancelled", started=0.0)

    ref_holder = daemon.answers

    class Stalls(dict[tuple[str, str], object]):
        def get(self, key: tuple[str, str], default: object = None) -> object:  # type: ignore[override]
            return stall if key[1].endswith("/cancel") else ref_holder.get(key, default)

    daemon.answers = Stalls()
    process, person = _on_a_terminal(daemon, work, "build", ".")
    screen = Screen()
    _shown(person, screen, until="going")
    process.send_signal(signal.SIGINT)
    assert asked_to_cancel.wait(10)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    _shown(person, screen)
    assert not screen.cursor_hidden
    hold.set()
    os.close(person)


def test_being_ended_restores_the_cursor(daemon: NativeDaemon, work: Path) -> None:
    ended = _running(daemon)
    process, person = _on_a_terminal(daemon, work, "build", ".")
    screen = Screen()
    _shown(person, screen, until="going")
    process.send_signal(signal.SIGTERM)
    _shown(person, screen)
    assert process.wait(10) == 143
    assert not screen.cursor_hidden
    ended.set()
    os.close(person)


def test_a_stopped_build_goes_on_where_it_was(daemon: NativeDaemon, work: Path) -> None:
    ended = _running(daemon)
    process, person = _on_a_terminal(daemon, work, "build", ".")
    screen = Screen()
    _shown(person, screen, until="going")
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    while screen.cursor_hidden:
        screen.write(os.read(person, 65536).decode().replace("\r\n", "\n"))
    process.send_signal(signal.SIGCONT)
    while not screen.cursor_hidden:
        screen.write(os.read(person, 65536).decode().replace("\r\n", "\n"))
    ended.set()
    _shown(person, screen)
    assert process.wait(10) == 130
    os.close(person)


def test_a_terminal_that_hangs_up_ends_it(daemon: NativeDaemon, work: Path) -> None:
    ended = _running(daemon)
    process, person = _on_a_terminal(daemon, work, "build", ".")
    _shown(person, Screen(), until="going")
    os.close(person)
    assert process.wait(10) != 0
    ended.set()


def test_colours_are_left_out_when_asked(daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/builds"] = [
        VertexEvent(digest="a", name="A", started=1.0, completed=2.0),
        BuildResult(ref="r"),
    ]
    person, terminal = pty.openpty()
    for environment, coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        subprocess.run(
            [*BOAT, "--host", daemon.address, "build", "."],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            check=True,
            cwd=work,
            env={"PATH": os.environ["PATH"], **environment},
        )
        assert (b"\x1b[32m" in os.read(person, 65536)) is coloured
    os.close(person)
    os.close(terminal)


def test_a_dumb_terminal_gets_plain_lines(daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/builds"] = [VertexEvent(digest="a", name="A", started=1.0), BuildResult(ref="r")]
    person, terminal = pty.openpty()
    subprocess.run(
        [*BOAT, "--host", daemon.address, "build", "."],
        stderr=terminal,
        check=True,
        cwd=work,
        env={"PATH": os.environ["PATH"], "TERM": "dumb"},
    )
    assert os.read(person, 65536) == b"#1 A\r\n"
    os.close(person)
    os.close(terminal)


def test_a_failed_step_can_be_looked_at_in_a_shell(daemon: NativeDaemon, work: Path) -> None:
    master, slave = pty.openpty()
    closed = threading.Event()

    def build(asked: Asked) -> Iterator[object]:
        yield VertexEvent(digest="a", name="RUN false", started=1.0)
        yield VertexEvent(digest="a", name="RUN false", started=1.0, completed=2.0, error="exit code 1")
        daemon.deliver(asked.body["terminal"], master)
        os.close(master)
        yield TerminalEvent(token=asked.body["terminal"])
        assert closed.wait(10)
        yield Failure(error=describe(SolveError("it failed", vertex="a", vertex_name="RUN false")))

    daemon.answers["POST", "/builds"] = build
    process, person = _on_a_terminal(daemon, work, "build", "--on-error=shell", ".")
    screen = Screen()
    os.write(slave, b"inside# ")
    _shown(person, screen, until="inside#")
    assert not screen.cursor_hidden
    os.write(person, b"exit\n")
    assert os.read(slave, 100) == b"exit\n"
    os.close(slave)
    closed.set()
    _shown(person, screen)
    assert process.wait(10) == 1
    assert any("This shell is in the state" in line for line in screen.lines)
    assert "error: a step failed: RUN false" in screen.lines
    os.close(person)
