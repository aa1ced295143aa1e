"""The daemon's smaller parts: its lock, its sockets, its log, its idleness."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.client.places import Card
from boatyard.daemon import lock, logs, sockets
from boatyard.daemon.activity import Activity, Counted
from boatyard.errors import ConflictError, InvalidError, StorageError
from boatyard.wire.asgi import Receive, Scope, Send

CARD = Card(pid=os.getpid(), version="9.9", started=0.0, root="/r")

HOLDER = """
import sys
from boatyard.client.places import Card
from boatyard.daemon import lock
with lock.hold(sys.argv[1], Card(pid=4711, version="9.9", started=0.0, root="/r")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path` until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.stdin is not None:
            process.stdin.close()


def test_a_second_daemon_learns_who_holds_the_root(tmp_path: Path, held: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(ConflictError, match=r"in use by boatd 9\.9 \(process 4711, since 19"),
        lock.hold(str(tmp_path), CARD),
    ):
        pass


def test_the_lock_goes_with_its_holder_however_that_ends(tmp_path: Path, held: subprocess.Popen[str]) -> None:
    held.kill()
    held.wait()
    with lock.hold(str(tmp_path), CARD):
        pass


def test_a_patient_daemon_waits_for_the_one_that_stops(tmp_path: Path, held: subprocess.Popen[str]) -> None:
    assert held.stdin is not None
    held.stdin.close()
    with lock.hold(str(tmp_path), CARD, patience=10):
        pass


def test_a_helper_that_outlives_the_daemon_does_not_hold_the_root(tmp_path: Path) -> None:
    with lock.hold(str(tmp_path), CARD):
        child = os.fork()
        if child == 0:
            os.execv("/bin/sleep", ["sleep", "30"])
    try:
        with lock.hold(str(tmp_path), CARD):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_root_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't use the root"), lock.hold(str(tmp_path / "file"), CARD):
        pass


def test_a_socket_is_for_its_user_alone_unless_a_group_is_named(tmp_path: Path) -> None:
    bound = sockets.bind(str(tmp_path / "s"), socket.SOCK_STREAM, "")
    assert os.stat(bound.path).st_mode & 0o777 == 0o600
    bound.close()
    assert not os.path.exists(bound.path)
    bound = sockets.bind(str(tmp_path / "s"), socket.SOCK_STREAM, str(os.getgid()))
    assert os.stat(bound.path).st_mode & 0o777 == 0o660
    bound.close()


def test_a_group_that_does_not_exist_is_refused_unless_it_is_the_default(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no group 'nonesuch'"):
        sockets.bind(str(tmp_path / "s"), socket.SOCK_STREAM, "nonesuch")
    sockets.bind(str(tmp_path / "s"), socket.SOCK_STREAM, sockets.DEFAULT_GROUP).close()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    bound = sockets.bind(path, socket.SOCK_STREAM, "")
    bound.socket.listen()
    with pytest.raises(ConflictError, match="another daemon listens"):
        sockets.bind(path, socket.SOCK_STREAM, "")
    bound.close()


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ConflictError, match="is no socket"):
        sockets.bind(str(tmp_path / "s"), socket.SOCK_STREAM, "")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_path_that_is_too_long_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="longer than 107 bytes"):
        sockets.bind(str(tmp_path / ("x" * 120)), socket.SOCK_STREAM, "")


def test_somebody_elses_socket_in_our_place_stays(tmp_path: Path) -> None:
    bound = sockets.bind(str(tmp_path / "s"), socket.SOCK_STREAM, "")
    os.unlink(bound.path)
    (tmp_path / "s").touch()
    bound.close()
    assert (tmp_path / "s").exists()


def test_without_systemd_nothing_was_passed() -> None:
    assert sockets.passed({}, 5) == []
    assert sockets.passed({"LISTEN_PID": "4", "LISTEN_FDS": "1"}, 5) == []


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "n"))
        sockets.notify({"NOTIFY_SOCKET": str(tmp_path / "n")}, "READY=1")
        assert notified.recv(100) == b"READY=1"
    sockets.notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")


def log_something(form: str) -> list[str]:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure("info", form, stream)
        logging.getLogger("boatyard.x").debug("unseen")
        logging.getLogger("boatyard.x").info("two\nlines %d", 1)
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("boatyard.x").exception("failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return stream.getvalue().splitlines()


def test_the_log_can_be_read_by_programs() -> None:
    first, second = [json.loads(line) for line in log_something("json")]
    assert first.items() >= {"level": "info", "logger": "boatyard.x", "message": "two\nlines 1"}.items()
    assert "ValueError: why" in second["trace"]


def test_the_log_can_be_read_by_people() -> None:
    lines = log_something("text")
    assert lines[0].endswith(" info boatyard.x: two")
    assert lines[-1] == "ValueError: why"


async def test_work_keeps_the_daemon_from_being_idle() -> None:
    now = 100.0
    activity = Activity(lambda: now)
    now = 107.0
    assert activity.idle_left(10) == 3
    with activity.working():
        now = 200.0
        assert activity.idle_left(10) == 10
    assert activity.idle_left(10) == 10
    now = 211.0
    async with asyncio.timeout(1):
        await activity.until_idle(10)


async def test_a_quiet_moment_is_used_once_after_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatyard.daemon.activity.QUIET", 0.01)
    used = []
    done = asyncio.Event()
    activity = Activity(when_quiet=lambda: (used.append(1), done.set()))
    with activity.working():
        pass
    with activity.working():
        await asyncio.sleep(0.03)
        assert not used
    async with asyncio.timeout(5):
        await done.wait()
    assert used == [1]


async def test_asking_how_the_daemon_is_is_no_work() -> None:
    activity = Activity()
    seen = {}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen[scope["path"]] = activity.running

    async def nothing(*_: object) -> None:
        return None

    for path in ("/boat/v1/ping", "/boat/v1/builds"):
        await Counted(application, activity)({"path": path}, nothing, nothing)  # type: ignore[arg-type]
    assert seen == {"/boat/v1/ping": 0, "/boat/v1/builds": 1}
    assert activity.running == 0


def test_grpc_is_not_loaded_before_a_client_speaks_it() -> None:
    program = "import boatyard.daemon.server, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert {"grpclib", "h2", "hpack", "hyperframe", "multidict"}.isdisjoint(loaded)
