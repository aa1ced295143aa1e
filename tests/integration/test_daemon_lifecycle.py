"""boatd as a process: how it is started, found, replaced and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boatyard.client import autostart
from boatyard.client.autostart import connect
from boatyard.client.calls import system
from boatyard.client.documents.system import DaemonInfo
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError, StorageError, UnavailableError

pytestmark = pytest.mark.root


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root and a run directory of this test's own, with short paths; what runs there is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="boatd-") as directory:
        for name, value in (("ROOT", "root"), ("RUN", "run"), ("CONFIG", "boatd.toml")):
            monkeypatch.setenv(f"BOATD_{name}", f"{directory}/{value}")
        monkeypatch.delenv("BOAT_HOST", raising=False)
        yield Path(directory)
        pid = holder(Path(directory))
        if pid and running(pid):
            os.kill(pid, signal.SIGTERM)
            until(lambda: not running(pid))


def holder(place: Path) -> int:
    """The process that says it holds the root."""
    try:
        return int(json.loads((place / "root" / "boatd.lock").read_text())["pid"])
    except (OSError, ValueError):
        return 0


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def info(place: Path) -> DaemonInfo:
    return Client(str(place / "run" / "boatd.sock")).call(system.info(), timeout=10)


def boatd(*flags: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "boatyard.daemon", *flags],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture
def service(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon started by hand, ready."""
    with boatd() as process:
        until((place / "run" / "boatd.json").exists)
        yield process
        process.terminate()


def test_a_client_starts_the_daemon_it_needs(place: Path) -> None:
    client = connect()
    found = client.call(system.info())
    assert found.autostarted
    assert found.root == str(place / "root")
    assert found.pid == holder(place)
    assert os.getsid(found.pid) == found.pid, "it has a session of its own"
    assert connect().call(system.info()).pid == found.pid, "the next client finds it"
    assert client.notice == ""


def test_clients_that_come_at_once_start_one_daemon(place: Path) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(connect().call(system.info()).pid)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 6
    assert len(set(pids)) == 1
    assert (place / "root" / "boatd.log").read_text().count(" serves ") == 1


def test_a_daemon_that_can_not_start_says_why(place: Path) -> None:
    (place / "boatd.toml").write_text("idel_timeout = 5")
    with pytest.raises(BoatyardError, match="unknown key 'idel_timeout'") as raised:
        connect()
    assert raised.value.hint == "did you mean 'idle_timeout'?"


def test_a_daemon_that_dies_while_it_starts_shows_its_last_lines(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "broken" / "boatyard").mkdir(parents=True)
    (place / "broken" / "boatyard" / "__init__.py").write_text("raise RuntimeError('broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(place / "broken"))
    with pytest.raises(UnavailableError, match="ended while it was starting") as raised:
        connect()
    assert "RuntimeError: broken installation" in raised.value.message
    assert str(place / "root" / "boatd.log") in (raised.value.hint or "")


def test_a_root_that_can_not_be_made_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    monkeypatch.setenv("BOATD_ROOT", str(place / "file" / "root"))
    with pytest.raises(StorageError, match="can't open the daemon's log"):
        connect()


def test_a_second_daemon_is_refused_with_the_name_of_the_first(
    place: Path, service: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOATD_RUN", str(place / "other"))
    with boatd() as second:
        _, said = second.communicate()
    assert second.returncode == 4
    assert "is in use by boatd" in said
    assert f"(process {service.pid}, since " in said
    assert info(place).pid == service.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_in_order(place: Path, service: subprocess.Popen[str], number: signal.Signals) -> None:
    service.send_signal(number)
    assert service.wait(20) == 0
    assert not {"boatd.sock", "descriptors.sock", "boatd.json"} & set(os.listdir(place / "run"))
    assert not holder(place)


def test_a_client_can_stop_the_daemon(place: Path, service: subprocess.Popen[str]) -> None:
    stopping = Client(str(place / "run" / "boatd.sock")).call(system.shutdown())
    assert stopping.pid == service.pid
    assert service.wait(20) == 0


def test_a_daemon_goes_away_when_idle(place: Path) -> None:
    with boatd("--idle-timeout", "0.3s") as process:
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "stopping: idle for 0.3 seconds" in process.stderr.read()


def test_a_killed_daemon_is_followed_by_another(place: Path, service: subprocess.Popen[str]) -> None:
    service.kill()
    service.wait()
    found = connect().call(system.info())
    assert found.pid != service.pid
    assert found.pid == holder(place)


def test_a_client_waits_for_a_daemon_that_is_stopping(place: Path) -> None:
    pids = []
    for _ in range(3):
        pids.append(connect().call(system.info()).pid)
        connect().call(system.shutdown())
    assert len(set(pids)) == 3
    until(lambda: not any(running(pid) for pid in pids))


def test_an_idle_daemon_of_another_version_is_replaced(place: Path) -> None:
    first = connect().call(system.info()).pid
    card = place / "run" / "boatd.json"
    card.write_text(card.read_text().replace('"version":"', '"version":"0.0.'))
    client = connect()
    assert client.notice == ""
    assert client.call(system.info()).pid != first
    until(lambda: not running(first))


def test_a_daemon_somebody_else_started_is_left_alone_whatever_its_version(
    place: Path, service: subprocess.Popen[str]
) -> None:
    card = place / "run" / "boatd.json"
    card.write_text(card.read_text().replace('"version":"', '"version":"0.0.'))
    client = connect()
    assert "restart it when it suits you" in client.notice
    assert client.call(system.info()).pid == service.pid


def test_systemd_can_hand_the_socket_over(place: Path) -> None:
    (place / "run").mkdir()
    path = str(place / "run" / "boatd.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        client = threading.Thread(target=lambda: answers.append(info(place)))
        answers: list[DaemonInfo] = []
        client.start()  # before there is a daemon: its connection waits in the socket
        process = os.fork()
        if process == 0:
            os.dup2(listening.fileno(), 3)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
            os.execv(sys.executable, [sys.executable, "-m", "boatyard.daemon"])
        client.join(20)
        assert answers[0].addresses == (f"unix://{path}",)
        os.kill(process, signal.SIGTERM)
        assert os.waitpid(process, 0)[1] == 0
    assert os.path.exists(path), "the socket is systemd's, and stays"
    assert not (place / "run" / "descriptors.sock").exists(), "this one was the daemon's"


def test_the_log_is_rotated_before_it_grows_too_large(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "root").mkdir()
    (place / "root" / "boatd.log").write_bytes(b"x" * 2000)
    monkeypatch.setattr(autostart, "MAX_LOG", 1000)
    connect()
    assert (place / "root" / "boatd.log.1").stat().st_size == 2000
    assert (place / "root" / "boatd.log").stat().st_size < 2000


def test_mounts_of_the_daemon_do_not_show_on_the_host(place: Path, service: subprocess.Popen[str]) -> None:
    assert os.readlink(f"/proc/{service.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
