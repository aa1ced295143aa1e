"""`boat init run`: both phases, with plain processes and with containers, as an ordinary process and as the first of a
PID namespace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.boot_yard import BIN, BUSYBOX, Boot, busybox_archive
from fixtures.log_programs import Programs, until

pytestmark = pytest.mark.root

Start = Callable[..., Boot]


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    boots: list[Boot] = []

    def start(definition: Mapping[str, Any] | Path, *flags: str, before: tuple[str, ...] = ()) -> Boot:
        boots.append(Boot(tmp_path_factory.mktemp("boot"), definition, *flags, before=before))
        return boots[-1]

    yield start
    for boot in boots:
        boot.close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (
        not BUSYBOX.exists()
        or b"statically linked" not in subprocess.run(["file", "-L", BUSYBOX], capture_output=True).stdout
    ):
        pytest.skip("needs a static /bin/busybox (apt-get install busybox-static)")
    return busybox_archive(tmp_path_factory.mktemp("image") / "busybox.tar")


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "command": ["/bin/sh", "-c", script], **more}


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {**shell(name, script, **more), "image": "busybox:test"}


def test_what_is_done_once_is_done_in_order_then_services_then_the_end(start: Start, tmp_path: Path) -> None:
    order = tmp_path / "order"
    boot = start(
        {
            "onboot": [shell("one", f"sleep 0.1; echo one >>{order}"), shell("two", f"echo two >>{order}")],
            "services": [shell("a", f"echo service >>{order}"), shell("b", "echo out; echo err >&2")],
            "onshutdown": [shell("end", f"echo end >>{order}")],
        }
    )
    assert boot.finish() == 0
    assert order.read_text().split() == ["one", "two", "service", "end"]
    assert boot.lines("b.out") == ["out"] and boot.lines("b") == ["err"]
    assert boot.records() == []


def test_what_fails_is_told_and_the_next_one_runs(start: Start) -> None:
    boot = start(
        {
            "onboot": [shell("bad", "exit 3"), {"name": "gone", "command": ["/no/such"]}, shell("good", "echo good")],
            "services": [shell("s", "echo s")],
        }
    )
    assert boot.finish() == 1
    assert boot.lines("onboot.002-good.out") == ["good"] and boot.lines("s.out") == ["s"]
    assert "onboot 000-bad ended with 3" in boot.said()
    assert "onboot 001-gone: /no/such can't be started: No such file or directory" in boot.said()
    assert "onboot 000-bad ended with 3" in boot.lines("init")


@pytest.mark.parametrize(
    ("policy", "code", "runs"), [("no", 1, 1), ("on-failure:2", 1, 3), ("on-failure", 0, 1), ("always", 0, 3)]
)
def test_services_are_started_again_as_their_policy_says(
    start: Start, tmp_path: Path, policy: str, code: int, runs: int
) -> None:
    count = tmp_path / "count"
    boot = start({"services": [shell("s", f"echo run >>{count}; exit {code}", restart=policy)]})
    if policy == "always":
        until(lambda: count.exists() and len(count.read_text().split()) >= runs)
        boot.stop()
    else:
        assert boot.finish() == 0
        assert len(count.read_text().split()) == runs


def test_a_signal_ends_services_and_runs_what_comes_last(start: Start) -> None:
    boot = start(
        {
            "services": [shell("polite", "trap 'echo thanks; exit 0' TERM; echo up; while :; do sleep 0.05; done")],
            "onshutdown": [shell("bye", "echo bye")],
        }
    )
    until(lambda: boot.lines("polite.out") == ["up"])
    assert boot.stop(signal.SIGINT) == 0
    assert boot.lines("polite.out") == ["up", "thanks"]
    assert boot.lines("shutdown.000-bye.out") == ["bye"]


def test_a_plain_process_runs_where_and_as_whom_it_says(start: Start) -> None:
    boot = start(
        {"services": [shell("s", "pwd; id -u; id -g; echo $MINE", cwd="/usr", uid="s", gid=7, env=["MINE=1"])]}
    )
    assert boot.finish() == 0
    assert boot.lines("s.out") == ["/usr", "100", "7", "1"]


def test_memlogd_may_be_killed_and_no_source_is(start: Start) -> None:
    """The pipes are kept: what was not read yet is read by the next memlogd, and nobody gets a SIGPIPE."""
    boot = start(
        {"services": [shell("s", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 3; echo end")]}
    )
    for _ in range(3):
        until(lambda: memlogd_of(boot))
        pid = memlogd_of(boot)
        assert pid > 1
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: memlogd_of(boot) not in (0, pid))
    assert boot.finish() == 0
    assert boot.lines("s.out")[-1] == "end"
    numbers = [int(line) for line in boot.lines("s.out")[:-1]]
    assert numbers == sorted(set(numbers))
    if len(numbers) < 3000:
        assert any("s.out" in record for record in boot.records())


def memlogd_of(boot: Boot) -> int:
    """Its process number, when it is there."""
    for child in Path(f"/proc/{boot.process.pid}/task/{boot.process.pid}/children").read_text().split():
        try:
            if b"memlogd" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        except OSError:
            continue
    return 0


def test_orphans_are_reaped_by_the_first_process_of_a_namespace(start: Start) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare(1)")
    boot = start(
        {"services": [shell("s", "(sleep 0.2; echo orphan) & echo parent $PPID; sleep 0.1"), shell("t", "sleep 0.5")]},
        before=("unshare", "--pid", "--fork", "--mount-proc"),
    )
    assert boot.finish() == 0
    assert boot.lines("s.out") == ["parent 1", "orphan"]


@pytest.mark.runtime
def test_containers_are_as_the_definition_says(start: Start, archive: Path) -> None:
    before = set(Path("/run").glob("boat-init-*"))
    boot = start(
        {
            "volumes": [{"name": "shared"}],
            "onboot": [
                container(
                    "first",
                    "id -u; hostname; echo $FROM_IMAGE; echo made >/data/x",
                    uid="first",
                    uts="new",
                    hostname="h",
                    binds=["shared:/data"],
                    runtime={"mkdir": ["data2"]},
                ),
                container(
                    "second",
                    "cat /data/x; touch /file 2>/dev/null || echo readonly",
                    readonly=True,
                    binds=["shared:/data:ro"],
                ),
                container("gone", "", command=["/no/such/program"]),
            ],
            "services": [
                container(
                    "web",
                    "ip link | grep -c mtu; grep CapEff /proc/self/status",
                    net="new",
                    capabilities=["CAP_NET_ADMIN"],
                ),
                container("twice", "echo again; exit 1", restart="on-failure:1"),
            ],
            "onshutdown": [container("bye", "echo bye $$")],
        },
        "--images",
        str(archive),
    )
    assert boot.finish(120) == 1
    # The volume is root's: the first one, which isn't, can't write to it.
    assert boot.lines("onboot.000-first.out") == ["100", "h", "yes"]
    assert boot.lines("onboot.001-second.out") == ["readonly"]
    assert "onboot 002-gone: exec" in boot.said(), boot.said()
    assert boot.lines("web.out") == ["1", "CapEff:\t0000000000001000"]
    assert boot.lines("twice.out") == ["again", "again"]
    assert boot.lines("shutdown.000-bye.out") == ["bye 1"]
    assert str(boot.directory) not in Path("/proc/self/mountinfo").read_text()
    assert not set(Path("/run").glob("boat-init-*")) - before


@pytest.mark.runtime
def test_a_container_that_does_not_listen_is_killed(
    start: Start, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = start(
        {"services": [container("deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done")]},
        "--images",
        str(archive),
        "--grace=0.5",
    )
    until(lambda: boot.lines("deaf.out") == ["up"])
    assert boot.stop() == 0
    assert "service deaf: ended with 137" in boot.said()


@pytest.mark.runtime
def test_a_prepared_boot_needs_no_archive_and_labels_count(start: Start, tmp_path: Path, archive: Path) -> None:
    label = '{"capabilities": ["CAP_CHOWN"], "env": ["PATH=/bin", "LABEL=yes"]}'
    labelled = busybox_archive(tmp_path / "labelled.tar", labels={"org.mobyproject.config": label})
    definition = {"services": [container("s", "echo $LABEL; grep CapEff /proc/self/status")]}
    spec = tmp_path / "spec.yml"
    spec.write_text(json.dumps(definition))
    result = subprocess.run(
        [BIN / "boat", "init", "prepare", "--state", tmp_path / "state", "--images", labelled, spec],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0 and result.stdout == "services s: busybox:test\n", result.stderr
    boot = start(definition, "--state", str(tmp_path / "state"))
    assert boot.finish() == 0
    assert boot.lines("s.out") == ["yes", "CapEff:\t0000000000000001"]


@pytest.mark.runtime
def test_linuxkits_own_layout_is_run(start: Start, tmp_path: Path, archive: Path) -> None:
    bundle = tmp_path / "containers/services/web"
    (bundle / "rootfs/bin").mkdir(parents=True)
    for directory in ("proc", "dev", "sys"):
        (bundle / "rootfs" / directory).mkdir()
    shutil.copy(BUSYBOX, bundle / "rootfs/bin/busybox")
    (bundle / "config.json").write_text(
        """{"ociVersion": "1.0.0", "root": {"path": "rootfs"}, "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/",
        "args": ["/bin/busybox", "echo", "from a bundle"], "env": []},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}}"""
    )
    boot = start(tmp_path / "containers")
    assert boot.finish() == 0
    assert boot.lines("web.out") == ["from a bundle"]


def test_wrong_definitions_are_refused_before_anything_runs(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    spec = tmp_path / "spec.yml"
    for text, code, words in (
        ("services: [{name: a, comand: [x]}]", 2, "did you mean 'command'?"),
        ("services: [{name: a, image: nothing:here}]", 9, "boatd"),
    ):
        spec.write_text(text)
        result = subprocess.run(
            [
                BIN / "boat",
                "--host",
                f"unix://{tmp_path}/none.sock",
                "init",
                "run",
                "--state",
                tmp_path / "state",
                spec,
            ],
            capture_output=True,
            text=True,
        )
        assert result.returncode == code and words in result.stderr, result.stderr
    result = subprocess.run([BIN / "boat", "init", "run", tmp_path / "none.yml"], capture_output=True, text=True)
    assert result.returncode == 3 and "does not exist" in result.stderr


def test_a_memlogd_that_is_there_already_is_used(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    programs = Programs(tmp_path_factory.mktemp("there"), ["-quiet"])
    programs.start("memlogd")
    try:
        boot = start(
            {"services": [shell("s", "echo joined")]},
            *("--socket-log", programs.log_socket, "--socket-query", programs.query_socket),
        )
        assert boot.finish() == 0
        assert "the memlogd that answers" in boot.said()
        assert boot.lines("s.out") == ["joined"]
        assert b'"source":"s.out","msg":"joined"' in programs.dump()
    finally:
        programs.close()


def test_a_second_signal_waits_for_nobody(start: Start) -> None:
    boot = start({"services": [shell("deaf", "trap '' TERM INT; echo up; while :; do sleep 0.1; done")]})
    until(lambda: boot.lines("deaf.out") == ["up"])
    boot.process.send_signal(signal.SIGTERM)
    until(lambda: "SIGTERM came: ending" in boot.said())
    assert boot.stop() == 0
    assert "ending at once" in boot.said() and "service deaf: ended with 137" in boot.said()


def test_everything_may_write_to_the_console(start: Start) -> None:
    boot = start({"services": [shell("s", "echo to the console")]}, "--console")
    assert boot.finish() == 0
    assert "to the console" in boot.said() and not Path(boot.log_socket).exists()
