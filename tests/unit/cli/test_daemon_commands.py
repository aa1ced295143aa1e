from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boatyard import __version__
from boatyard.cli.console import Console
from boatyard.cli.program import run
from boatyard.client.documents.system import Check, Component, DaemonInfo, Doctor, Stopping, Version
from fixtures.native_daemon import NativeDaemon

Boat = Callable[..., Any]


@pytest.fixture(autouse=True)
def info(daemon: NativeDaemon) -> None:
    daemon.answers["GET", "/info"] = DaemonInfo(
        version="1",
        api=1,
        pid=42,
        started=time.time() - 120,
        root="/root-of-it",
        config_file="",
        addresses=(daemon.address,),
        autostarted=True,
        idle_timeout=600,
        rootless=False,
        running=2,
        components=(Component(name="runtime", version="crun 1.8", detail="the first that works"),),
        kernel="6.1",
        cpus=2,
        memory=8 * 10**9,
    )
    daemon.answers["GET", "/version"] = Version(version="9.9")


def test_status_tells_how_the_daemon_is(boat: Boat) -> None:
    told = boat("daemon", "status")
    assert told.code == 0
    assert "boatd:        1, process 42" in told.out
    assert "started by:   a client; goes away when idle for 10m00s" in told.out
    assert "runtime:      crun 1.8 (the first that works)" in told.out
    assert json.loads(boat("daemon", "status", "--format", "json").out)["Pid"] == 42
    assert boat("daemon", "status", "--format", "{{.Root}}").out == "/root-of-it\n"


def test_no_daemon_is_started_to_say_that_none_runs(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console = Console({"BOATD_RUN": str(tmp_path), "BOATD_ROOT": str(tmp_path), "HOME": "/"})
    assert run(console, ["daemon", "status"]) == 1
    assert "boatd is not running" in capfd.readouterr().out
    assert run(console, ["daemon", "stop"]) == 9
    assert run(console, ["version"]) == 0
    assert "boatd      not running" in capfd.readouterr().out
    assert run(console, ["daemon", "logs"]) == 3
    assert list(tmp_path.iterdir()) == []


def test_stopping_waits_for_the_end(boat: Boat, daemon: NativeDaemon) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    daemon.answers["POST", "/shutdown"] = Stopping(pid=process.pid)
    assert boat("daemon", "stop", "--when-idle").out == f"boatd (process {process.pid}) has stopped\n"
    assert daemon.asks("/shutdown") == {"when_idle": True}


def test_the_daemons_log_is_shown_from_its_end(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "boatd.log").write_bytes(b"one\ntwo\nthr\xff\n")
    console = Console({"BOATD_RUN": str(tmp_path), "BOATD_ROOT": str(tmp_path), "HOME": "/"})
    assert run(console, ["daemon", "logs", "-n", "2"]) == 0
    assert run(console, ["daemon", "logs", "-n", "0"]) == 0
    assert "two\nthr" in capfd.readouterr().out


def test_versions_of_both_sides_are_told(boat: Boat) -> None:
    assert __version__ in boat("version").out
    assert boat("version", "--format", "{{.Server.Version}}").out == "9.9\n"
    assert json.loads(boat("version", "--format", "json").out)["Client"]["Version"] == __version__


def test_the_doctor_tells_what_is_wrong_and_what_mends_it(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["GET", "/doctor"] = Doctor(
        checks=(
            Check(name="runtime", status="ok", detail="crun"),
            Check(name="git", status="failed", detail="not found", hint="apt-get install git"),
            Check(name="cgroups", status="warning", detail="two\nlines", hint="later"),
        )
    )
    told = boat("doctor")
    assert told.code == 1
    assert told.out.splitlines() == [
        "ok       daemon   answers",
        "ok       runtime  crun",
        "failed   git      not found",
        "                  fix: apt-get install git",
        "warning  cgroups  two",
        "                  lines",
        "                  fix: later",
        "",
        "1 thing missing, 1 warning",
    ]
    assert json.loads(boat("doctor", "--format", "json").out)[2]["hint"] == "apt-get install git"


def test_without_a_daemon_the_doctor_looks_at_the_host(boat: Boat, tmp_path: Path) -> None:
    told = boat("--host", f"unix://{tmp_path}/none", "doctor")
    assert told.code == 1
    assert "failed   daemon" in told.out
    assert "cgroups" in told.out
