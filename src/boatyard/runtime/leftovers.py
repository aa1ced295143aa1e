"""What an earlier daemon of the same instance may have left when it was killed, and its removal.

With a spawner that is contained nothing but empty cgroups can be left; without, containers may still run and the
scratch file system is mounted.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from pathlib import Path

import msgspec

from boatyard.runtime import cgroups, kernel

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""For killed processes to be gone, in seconds."""


class _Status(msgspec.Struct):
    """Of crun's `status` and runc's `state.json`: both tell when the process started, in clock ticks since boot."""

    pid: int = 0
    init_process_pid: int = 0
    process_start_time: int = msgspec.field(default=0, name="process-start-time")
    init_process_start: int = 0


def clear(scratch: Path, group: str, cgroup_root: Path = cgroups.ROOT) -> list[str]:
    """Kill and remove; what was found, in words. Only to be called when no daemon of this instance runs."""
    found: list[str] = []
    for pid in recorded_processes(scratch / "state"):
        found.append(f"container process {pid}")
        _kill(pid)
    deadline = time.monotonic() + PATIENCE
    while True:
        for directory in cgroups.groups_beneath(group, cgroup_root):
            for pid in _members(directory):
                found.append(f"process {pid} in {directory}")
                _kill(pid)
        busy = cgroups.remove_groups(group, cgroup_root)
        if not busy or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    found += [f"cgroup {directory}" for directory in busy]
    for point in reversed(kernel.mount_points(str(scratch))):
        found.append(f"mount {point}")
        kernel.unmount(point)
    if scratch.is_dir():
        for entry in scratch.iterdir():
            found.append(str(entry))
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
    return found


def recorded_processes(state: Path) -> list[int]:
    """First processes of the containers recorded in a runtime's state directory that are still the same processes."""
    pids = []
    for path in (*state.glob("*/status"), *state.glob("*/state.json")):
        try:
            status = msgspec.json.decode(path.read_bytes(), type=_Status)
        except (OSError, msgspec.MsgspecError) as error:
            log.debug("%s tells nothing: %s", path, error)
            continue
        pid = status.pid or status.init_process_pid
        started = status.process_start_time or status.init_process_start
        if pid > 1 and _start_time(pid) == started:
            pids.append(pid)
    return pids


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)), or -1."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return -1


def _members(directory: Path) -> list[int]:
    """Processes in a cgroup. Not this one: threads of it that just ended may still count as members."""
    try:
        return [
            int(line)
            for line in (directory / "cgroup.procs").read_text().split()
            if int(line) not in (0, 1, os.getpid())
        ]
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
