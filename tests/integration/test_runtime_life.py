"""The ends of containers: cancelled, killed with the daemon, cleared up after; terminals and signals."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boatyard.errors import InvalidError, UnavailableError, UnsupportedError
from boatyard.runtime.container import ContainerSpec, Control, SecretFile, Stdio
from boatyard.runtime.executor import OciExecutor, RuntimeConfig
from boatyard.runtime.network import Mode
from boatyard.runtime.process import children
from integration.conftest import ExecutorFactory, Run, run_in

pytestmark = [pytest.mark.root, pytest.mark.runtime]


def processes(marker: str) -> list[int]:
    """Those with a word among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


def scratch_entries(scratch: Path) -> list[str]:
    """What belongs to runs in the scratch file system."""
    return [path.name for path in scratch.glob("run-*")] + [path.name for path in (scratch / "state").glob("*")]


def groups(executor: OciExecutor) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/boatyard-{executor.instance}-*"))


def bridges() -> list[str]:
    return [path.name for path in Path("/sys/class/net").glob("boat*") if (path / "ifalias").exists()]


@pytest.fixture
def marker() -> str:
    """A number of seconds to sleep that no other process has."""
    return f"9{random.SystemRandom().randrange(10**8):08}"


async def test_a_cancelled_container_is_gone_within_a_second(
    each_executor: OciExecutor, root: Path, marker: str
) -> None:
    command = f"trap '' TERM INT; (sleep {marker} &); setsid sleep {marker} & sleep {marker}"
    running = asyncio.create_task(
        run_in(each_executor, root, "sh", "-c", command, mounts=(SecretFile("/run/secrets/s", b"x"),))
    )
    await until(lambda: len(processes(marker)) == 3)
    started = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - started < 1
    assert processes(marker) == []
    assert await each_executor.call(scratch_entries, each_executor.scratch) == []
    assert not (root / "run").exists()


async def test_cancelling_at_any_moment_leaves_nothing(each_executor: OciExecutor, root: Path, marker: str) -> None:
    for step in range(40):
        running = asyncio.create_task(run_in(each_executor, root, "sleep", marker))
        await asyncio.sleep(step * 0.0004)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert processes(marker) == []
    assert await each_executor.call(scratch_entries, each_executor.scratch) == []
    assert sorted(path.name for path in root.iterdir()) == ["bin", "etc", "home", "root", "tmp"]


async def test_a_second_cancellation_does_not_cut_the_clearing_up_short(
    executor: OciExecutor, root: Path, marker: str
) -> None:
    running = asyncio.create_task(run_in(executor, root, "sleep", marker))
    await until(lambda: processes(marker))
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert processes(marker) == []
    assert await executor.call(scratch_entries, executor.scratch) == []


async def test_background_processes_end_with_the_first_one(run_each: Run, marker: str) -> None:
    outcome = await run_each("sh", "-c", f"sleep {marker} & exit 5")
    assert outcome.code == 5
    assert processes(marker) == []


async def test_a_failing_callback_ends_the_container(executor: OciExecutor, root: Path, marker: str) -> None:
    def fail(control: Control) -> None:
        raise ValueError("no")

    spec = ContainerSpec(root=root, args=("sleep", marker), env=("PATH=/bin",))
    with pytest.raises(ValueError, match="no"):
        await executor.run(spec, Stdio(0, 1, 2), on_start=fail)
    assert processes(marker) == []


async def test_a_signal_reaches_the_first_process(each_executor: OciExecutor, root: Path) -> None:
    controls: list[Control] = []
    spec = ContainerSpec(
        root=root,
        args=("sh", "-c", "trap 'exit 9' USR1; : >/ready; while :; do sleep 0.01; done"),
        env=("PATH=/bin",),
    )
    running = asyncio.create_task(each_executor.run(spec, Stdio(0, 1, 2), on_start=controls.append))
    await until((root / "ready").exists)
    assert controls[0].pid in processes(spec.args[2])
    controls[0].signal(signal.SIGUSR1)
    assert await running == 9
    assert controls[0].pid == 0
    controls[0].signal(signal.SIGUSR1)


async def test_a_container_killed_from_outside_has_exit_code_137(
    each_executor: OciExecutor, root: Path, marker: str
) -> None:
    running = asyncio.create_task(run_in(each_executor, root, "sleep", marker))
    await until(lambda: processes(marker))
    os.kill(processes(marker)[0], signal.SIGKILL)
    assert (await running).code == 137


async def test_a_runtime_killed_from_outside_takes_its_container_along(
    executor: OciExecutor, root: Path, marker: str
) -> None:
    controls: list[Control] = []
    spec = ContainerSpec(root=root, args=("sleep", marker), env=("PATH=/bin",))
    running = asyncio.create_task(executor.run(spec, Stdio(0, 1, 2), on_start=controls.append))
    await until(lambda: processes(marker))
    status = Path(f"/proc/{processes(marker)[0]}/stat").read_text()
    os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert await running == 137
    await until(lambda: not processes(marker))
    assert await executor.call(scratch_entries, executor.scratch) == []


async def test_closing_ends_what_runs_and_refuses_what_comes(executor: OciExecutor, root: Path, marker: str) -> None:
    running = asyncio.create_task(run_in(executor, root, "sleep", marker))
    await until(lambda: processes(marker))
    await executor.close()
    assert (await running).code == 137
    assert processes(marker) == []
    with pytest.raises(UnavailableError):
        await run_in(executor, root, "true")


async def test_a_killed_namespace_is_replaced(executor: OciExecutor, root: Path, marker: str) -> None:
    if not executor.contained:
        pytest.skip("needs namespaces of its own")
    running = asyncio.create_task(run_in(executor, root, "sleep", marker))
    await until(lambda: processes(marker))
    (first,) = (pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/comm").read_text() == "sh\n")
    os.kill(first, signal.SIGKILL)
    assert (await running).code == 137
    assert (await run_in(executor, root, "echo", "again")).out == "again\n"


async def test_a_terminal_is_handed_over(each_executor: OciExecutor, root: Path) -> None:
    masters: list[int] = []

    def receive(master: int) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        masters.append(master)

    spec = ContainerSpec(
        root=root,
        args=("sh", "-c", "tty; echo $TERM; read word; echo got $word; stty size; exit 4"),
        env=("PATH=/bin",),
    )
    running = asyncio.create_task(each_executor.run(spec, receive))
    await until(lambda: masters or running.done())
    said = b""
    while b"xterm" not in said:
        said += await asyncio.to_thread(os.read, masters[0], 1000)
    os.write(masters[0], b"hello\n")
    assert await running == 4
    with pytest.raises(OSError, match="Input/output error"):
        while True:
            said += os.read(masters[0], 1000)
    os.close(masters[0])
    lines = said.decode().replace("\r", "").splitlines()
    assert lines == ["/dev/pts/0", "xterm", "hello", "got hello", "33 101"]


async def test_a_program_that_ends_at_once_still_hands_its_terminal_over(
    each_executor: OciExecutor, root: Path
) -> None:
    for _ in range(10):
        masters: list[int] = []
        assert await each_executor.run(ContainerSpec(root=root, args=("/bin/echo", "x")), masters.append) == 0
        assert os.read(masters[0], 10) == b"x\r\n"
        os.close(masters[0])


async def test_a_program_that_cant_be_started_in_a_terminal_is_named(each_executor: OciExecutor, root: Path) -> None:
    masters: list[int] = []
    with pytest.raises(InvalidError, match="nosuch"):
        await each_executor.run(ContainerSpec(root=root, args=("nosuch",), env=("PATH=/bin",)), masters.append)
    for master in masters:
        os.close(master)


async def test_a_runtime_that_does_not_work_is_named_with_the_reason(
    private_mounts: None, state_dir: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "crun"
    fake.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    fake.chmod(0o755)
    executor = OciExecutor(state_dir, RuntimeConfig(runtime=str(fake)))
    try:
        with pytest.raises(UnsupportedError, match="a trivial container ended with 1: broken"):
            await executor.start()
    finally:
        await executor.close()


async def test_a_runtime_is_tried_again_when_its_file_changed(
    make_executor: ExecutorFactory, root: Path, tmp_path: Path
) -> None:
    real = shutil.which("crun") or shutil.which("runc", path="/usr/sbin:/usr/bin")
    assert real is not None
    program = tmp_path / Path(real).name
    shutil.copy2(real, program)
    executor = await make_executor(str(program))
    before = (await executor.runtime())[0]
    program.unlink()
    shutil.copy(real, program)
    assert (await run_in(executor, root, "true")).code == 0
    assert (await executor.runtime())[0] != before


DAEMON = """
import asyncio, sys
from pathlib import Path
from boatyard.runtime.container import ContainerSpec, Resources, Stdio
from boatyard.runtime.executor import OciExecutor, RuntimeConfig
from boatyard.runtime.isolation import enter_private_mount_namespace
from boatyard.runtime.network import Mode
from boatyard.runtime.process import children

state, root, marker, private, network = sys.argv[1:]
if private == "private":
    enter_private_mount_namespace()

async def main():
    executor = OciExecutor(Path(state), RuntimeConfig(network=Mode(network)))
    command = f"setsid sleep {marker} & sleep {marker}"
    spec = ContainerSpec(root=Path(root), args=("sh", "-c", command), env=("PATH=/bin",), resources=Resources(pids=50))
    await executor.run(spec, Stdio(0, 1, 2))

asyncio.run(main())
"""


Daemon = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def daemon(runtime_installed: None, state_dir: Path, root: Path, marker: str) -> Iterator[Daemon]:
    """Starts a process that runs a container until it is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(private: str = "private", network: str = "host") -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", DAEMON, state_dir, root, marker, private, network])
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_containers_die_with_a_killed_daemon(
    daemon: Daemon, marker: str, state_dir: Path, make_executor: ExecutorFactory
) -> None:
    process = daemon()
    await until(lambda: len(processes(marker)) == 3, 20)
    process.kill()
    await until(lambda: not [pid for pid in processes(marker) if pid != process.pid], 1)
    assert list(state_dir.iterdir()) == []
    executor = await make_executor()
    await executor.close()
    assert groups(executor) == []


async def test_what_a_daemon_without_namespaces_left_is_removed_at_the_next_start(
    daemon: Daemon, marker: str, make_executor: ExecutorFactory, state_dir: Path
) -> None:
    process = daemon("shared")
    await until(lambda: len(processes(marker)) == 3, 20)
    process.kill()
    process.wait()
    executor = await make_executor()
    assert processes(marker) == []
    assert not [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(state_dir) in line]
    await executor.close()
    assert list(state_dir.iterdir()) == []


async def test_a_killed_daemons_bridge_is_replaced_at_the_next_start(
    daemon: Daemon, marker: str, make_executor: ExecutorFactory
) -> None:
    process = daemon(network="auto")
    await until(lambda: len(processes(marker)) == 3, 20)
    process.kill()
    process.wait()
    executor = await make_executor(network=Mode.AUTO)
    choice = await executor.network()
    if choice.mode is not Mode.BRIDGE:
        pytest.skip(f"no bridge here: {choice.reason}")
    assert f"boat{executor.instance}" in bridges()
    await executor.close()
    assert f"boat{executor.instance}" not in bridges()


async def test_a_bridge_of_an_instance_that_never_comes_back_is_removed_by_another(
    daemon: Daemon, marker: str, private_mounts: None
) -> None:
    process = daemon(network="auto")
    await until(lambda: len(processes(marker)) == 3, 20)
    label = f"-{process.pid:x}-"
    (name,) = (name for name in bridges() if label in Path(f"/sys/class/net/{name}/ifalias").read_text())
    process.kill()
    process.wait()
    with tempfile.TemporaryDirectory(prefix="boat-state-") as other:
        executor = OciExecutor(Path(other), RuntimeConfig(network=Mode.AUTO))
        await executor.network()
        assert name not in bridges()
        assert not list(Path("/sys/fs/cgroup").glob(f"**/boatyard-{name.removeprefix('boat')}-*"))
        await executor.close()
