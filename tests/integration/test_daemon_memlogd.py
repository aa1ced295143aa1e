"""The memlogd beside boatd: it has the daemon's log, outlives a daemon that is killed, and is started anew itself."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.log_programs import BIN, until

pytestmark = pytest.mark.root


class Daemon:
    """boatd with `log.memlogd`, in a short place of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "boatd.toml").write_text("[log]\nmemlogd = true\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        before = self.shown().count("serves")
        command = [BIN / "boatd", "--config", self.place / "boatd.toml", "--root", self.place / "root"]
        with open(self.place / "log", "ab") as log:
            self.process = subprocess.Popen([*command, "--run", self.place / "run"], stdout=log, stderr=log)
        until(lambda: self.shown().count("serves") > before)

    def shown(self) -> str:
        """What `boat logs boatd` shows; empty while nobody answers."""
        command = [BIN / "boat", "logs", "--socket", self.place / "run/memlogdq.sock", "boatd"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    @property
    def memlogd(self) -> int:
        return int((self.place / "run/memlogd.pid").read_text())

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory(prefix="boatd-") as directory:
        daemon = Daemon(Path(directory))
        daemon.start()
        yield daemon
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.end(signal.SIGTERM)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_it_has_the_daemons_log_and_ends_with_it(daemon: Daemon) -> None:
    memlogd = daemon.memlogd
    daemon.end(signal.SIGTERM)
    assert gone(memlogd)
    assert not list((daemon.place / "run").glob("memlogd*"))


def test_a_killed_daemons_last_words_are_there_for_the_next_one(daemon: Daemon) -> None:
    memlogd = daemon.memlogd
    daemon.end(signal.SIGKILL)
    assert daemon.shown().count("serves") == 1
    daemon.start()
    assert daemon.shown().count("serves") == 2 and daemon.memlogd == memlogd
    daemon.end(signal.SIGTERM)
    until(lambda: gone(memlogd))


@pytest.mark.parametrize("adopted", [False, True])
def test_a_killed_memlogd_is_started_anew(daemon: Daemon, adopted: bool) -> None:
    if adopted:
        daemon.end(signal.SIGKILL)
        daemon.start()
    memlogd = daemon.memlogd
    os.kill(memlogd, signal.SIGKILL)
    until(lambda: "memlogd had ended; another one was started" in daemon.shown())
    assert daemon.memlogd != memlogd
    daemon.end(signal.SIGTERM)
    until(lambda: not list((daemon.place / "run").glob("memlogd*")))
