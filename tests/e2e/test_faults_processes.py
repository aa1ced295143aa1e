"""Clients and daemons that go away, and what they leave: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import traces
from e2e.yard import BIN, Yard, write_files

pytestmark = pytest.mark.runtime

PATIENCE = 10.0
"""Far more than the second or two it should take, so that a busy machine is no failure."""

STEPS = {
    "sleeping": "exec sleep {seconds}",
    "deaf to signals": "trap '' TERM INT HUP; while true; do sleep {seconds}; done",
    "with children": "(sleep {seconds} & sleep {seconds} & wait) & setsid sleep {seconds} & wait",
    "talkative": "sleep {seconds} & yes",
}


class Running:
    """A build that has got as far as its one long step."""

    def __init__(self, yard: Yard, directory: Path, script: str, *flags: str) -> None:
        self.yard = yard
        # A number of seconds that no other process has in its command line.
        self.marker = f"2147{int.from_bytes(os.urandom(3), 'big')}.5"
        step = script.format(seconds=self.marker)
        write_files(directory, {"Dockerfile": f"FROM busybox\nRUN --mount=type=cache,target=/c {step}\n"})
        self.client = subprocess.Popen(
            yard.command("build", "--progress=plain", "--no-cache", *flags, directory),
            env=yard.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.client.stderr is not None
        self.said = b""
        while b"[2/2] RUN" not in self.said:
            data = os.read(self.client.stderr.fileno(), 65536)
            assert data, self.said
            self.said += data
        assert traces.eventually(lambda: any(f"sleep {self.marker}" in line for line in self.left()), timeout=PATIENCE)

    def left(self) -> list[str]:
        return [line for line in traces.processes(self.marker) if "boat" not in line]

    def end(self, number: int) -> tuple[int, str]:
        """Send the client a signal; its exit code and everything it said."""
        self.client.send_signal(number)
        _, rest = self.client.communicate(timeout=PATIENCE)
        return self.client.returncode, (self.said + rest).decode(errors="replace")

    def nothing_is_left(self) -> None:
        assert traces.eventually(lambda: not self.left(), timeout=PATIENCE), self.left()
        assert traces.eventually(lambda: not traces.on_disk(self.yard), timeout=PATIENCE), traces.on_disk(self.yard)
        assert traces.eventually(lambda: not traces.mounts_of_daemon(self.yard), timeout=PATIENCE)


@pytest.mark.parametrize("script", STEPS)
def test_ctrl_c_ends_the_build_and_all_of_its_step(yard: Yard, tmp_path: Path, script: str) -> None:
    running = Running(yard, tmp_path, STEPS[script])
    code, said = running.end(signal.SIGINT)
    assert code == 130, said[-2000:]
    assert "Traceback" not in said
    running.nothing_is_left()


@pytest.mark.parametrize("script", STEPS)
def test_a_build_whose_client_was_killed_is_cancelled(yard: Yard, tmp_path: Path, script: str) -> None:
    running = Running(yard, tmp_path, STEPS[script])
    running.end(signal.SIGKILL)
    running.nothing_is_left()
    assert traces.eventually(lambda: "Cancelled" in yard.run("builder", "history", "-n", "1").stdout)


def test_sigterm_ends_the_client_in_an_orderly_way(yard: Yard, tmp_path: Path) -> None:
    running = Running(yard, tmp_path, STEPS["sleeping"])
    code, said = running.end(signal.SIGTERM)
    assert code == 143, said[-2000:]
    running.nothing_is_left()


def test_a_build_goes_on_for_others_when_one_of_its_clients_goes(yard: Yard, tmp_path: Path) -> None:
    script = "test -e /c/go || { touch /c/began; until test -e /c/go; do sleep 0.05; done; }; : {seconds}"
    directory = tmp_path / "shared"
    write_files(directory, {"Dockerfile": f"FROM busybox\nRUN --mount=type=cache,id=shared,target=/c {script}\n"})
    clients = [
        subprocess.Popen(
            yard.command("build", "--progress=plain", directory),
            env=yard.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for client in clients:
        assert client.stderr is not None
        said = b""
        while b"[2/2] RUN" not in said:
            said += os.read(client.stderr.fileno(), 65536)
    clients[0].kill()
    clients[0].communicate()
    # The step is announced before its container has begun.
    began = list[Path]()
    assert traces.eventually(lambda: began.extend((yard.data / "cache-mounts").glob("*/data/began")) or began != [])
    (began[0].parent / "go").touch()
    _, said = clients[1].communicate(timeout=PATIENCE)
    assert clients[1].returncode == 0, said.decode()


@pytest.fixture
def second_yard(own_yard: Yard) -> Iterator[Yard]:
    own_yard.run("bootstrap", "busybox")
    yield own_yard


def test_a_daemon_that_is_stopped_during_a_build_tells_its_client_and_leaves_nothing(
    second_yard: Yard, tmp_path: Path
) -> None:
    running = Running(second_yard, tmp_path, STEPS["deaf to signals"])
    assert second_yard.stop() == 0
    _, said = running.client.communicate(timeout=PATIENCE)
    told = (running.said + said).decode()
    assert running.client.returncode not in (0, 70), told
    assert "the daemon is stopping" in told
    assert "Traceback" not in told + second_yard.log
    assert not running.left()
    assert traces.on_host(second_yard) == []
    second_yard.start()
    assert traces.on_disk(second_yard) == []
    assert "Cancelled" in second_yard.run("builder", "history", "-n", "1").stdout


def test_a_daemon_that_is_killed_during_a_build_is_missed_with_advice(second_yard: Yard, tmp_path: Path) -> None:
    running = Running(second_yard, tmp_path, STEPS["deaf to signals"])
    second_yard.kill()
    _, said = running.client.communicate(timeout=PATIENCE)
    told = (running.said + said).decode()
    assert running.client.returncode == 9, told
    assert "fix:" in told and "Traceback" not in told
    assert traces.eventually(lambda: not running.left(), timeout=PATIENCE)
    second_yard.start()
    assert traces.on_disk(second_yard) == []
    assert "Interrupted" in second_yard.run("builder", "history", "-n", "1").stdout
    assert second_yard.stop() == 0
    assert traces.on_host(second_yard) == []


def test_a_second_daemon_on_a_root_says_who_holds_it(yard: Yard, tmp_path: Path) -> None:
    assert yard.daemon is not None
    second = subprocess.run(
        [BIN / "boatd", "--root", yard.data, "--run", tmp_path / "run"], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 4
    assert f"process {yard.daemon.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert len(second.stderr.splitlines()) == 2  # what and who, what to do
    assert yard.run("version").returncode == 0


def test_a_container_whose_client_was_killed_ends(yard: Yard) -> None:
    marker = f"2147{int.from_bytes(os.urandom(3), 'big')}.5"
    client = subprocess.Popen(
        yard.command("run", "--rm", "busybox", "sh", "-c", f"trap '' TERM; sleep {marker}"),
        env=yard.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert traces.eventually(lambda: len(traces.processes(f"sleep {marker}")) > 1, timeout=PATIENCE)
    client.kill()
    client.wait()
    assert traces.eventually(lambda: not traces.processes(f"sleep {marker}"), timeout=PATIENCE)
    assert traces.eventually(lambda: not traces.mounts_of_daemon(yard), timeout=PATIENCE)
