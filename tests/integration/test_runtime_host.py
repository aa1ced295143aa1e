"""The daemon's namespace, other kinds of hosts, and what is said about this one.

What changes a process for good is done in one of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boatyard.runtime import doctor
from boatyard.runtime.doctor import Status
from boatyard.runtime.executor import OciExecutor

pytestmark = [pytest.mark.root, pytest.mark.runtime]


def python(program: str, *args: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_mounts_of_the_daemon_are_its_own_and_reach_what_it_splits_off(runtime_installed: None, tmp_path: Path) -> None:
    program = """
import subprocess, sys
from pathlib import Path
from boatyard.runtime import isolation, kernel
isolation.enter_private_mount_namespace()
print(isolation.propagates_mounts(), isolation.is_hybrid())
child = subprocess.Popen(["unshare", "-m", "--propagation", "slave", "sh", "-c", 'echo; read x; ls "$0"', sys.argv[1]],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
kernel.mount("tmpfs", sys.argv[1], "tmpfs")
Path(sys.argv[1], "seen").touch()
print(child.communicate("go")[0].strip())
print(kernel.mount_points(sys.argv[1]))
"""
    assert python(program, tmp_path) == ["True False", "seen", repr([str(tmp_path)])]
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


RUN = """
import asyncio, os, subprocess, sys
from pathlib import Path
from boatyard.runtime import cgroups, kernel
from boatyard.runtime.container import ContainerSpec, Resources, Stdio
from boatyard.runtime.executor import OciExecutor, RuntimeConfig
from boatyard.runtime.isolation import enter_private_mount_namespace
from boatyard.runtime.network import Mode

state, root, prepare = sys.argv[1:]
enter_private_mount_namespace()
subprocess.run(["sh", "-ec", prepare], check=True)

async def main():
    print(cgroups.detect().layout.value)
    executor = OciExecutor(Path(state), RuntimeConfig(network=Mode.HOST))
    warnings = []
    script = "echo ran; mknod /tmp/d b 254 0 2>/dev/null && head -c 1 /tmp/d >/dev/null 2>&1 || echo refused"
    spec = ContainerSpec(root=Path(root), args=("sh", "-c", script), env=("PATH=/bin",), resources=Resources(pids=100))
    sys.stdout.flush()
    code = await executor.run(spec, Stdio(0, 1, 2), on_warning=warnings.append)
    print(code, "warned" if warnings else "")
    await executor.close()
    print([str(path) for path in Path("/sys/fs/cgroup").glob(f"**/*{executor.instance}*")])

asyncio.run(main())
"""


def test_containers_run_and_are_kept_from_devices_with_cgroup_v2(
    runtime_installed: None, state_dir: Path, root: Path
) -> None:
    prepare = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"
    lines = python(RUN, state_dir, root, prepare)
    assert lines[0] == "v2"
    assert lines[1:3] == ["ran", "refused"]
    assert lines[3].startswith("0")
    assert lines[4] == "[]"


def test_containers_run_and_are_kept_from_devices_without_cgroups(
    runtime_installed: None, state_dir: Path, root: Path
) -> None:
    lines = python(RUN, state_dir, root, "umount -R /sys/fs/cgroup")
    assert lines == ["none", "ran", "refused", "0 warned", "[]"]


async def test_the_doctor_finds_this_host_fit(executor: OciExecutor, tmp_path: Path) -> None:
    checks = await doctor.report(executor, tmp_path)
    by_name = {check.name: check for check in checks}
    assert by_name["runtime"].status is Status.OK
    assert {"cgroups", "overlayfs", "seccomp", "network", "emulation", "disk space"} <= by_name.keys()
    assert all(check.detail for check in checks)
    assert all(check.fix for check in checks if check.status is Status.FAIL)
