"""What an earlier daemon of the same instance may have left when it was killed, and its removal.

With a spawner that is contained nothing but empty cgroups can be left; without, containers may still run and the
scratch file system is mounted.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import time
from pathlib import Path

import msgspec

from boatyard.runtime import cgroups, isolation, kernel, owner

log = logging.getLogger(__name__)

GROUP = "boatyard"
PATIENCE = 2.0
"""For killed processes to be gone, in seconds."""


class _Status(msgspec.Struct):
    """Of crun's `status` and runc's `state.json`: both tell when the process started, in clock ticks since boot."""

    pid: int = 0
    init_process_pid: int = 0
    process_start_time: int = msgspec.field(default=0, name="process-start-time")
    init_process_start: int = 0


def group_name(instance: str) -> str:
    """The control group of this process' containers."""
    return f"{GROUP}-{instance}-{owner.current()}"


def clear(scratch: Path, instance: str, cgroup_root: Path = cgroups.ROOT) -> list[str]:
    """Kill and remove what is this instance's; what was found, in words. Only to be called when no daemon of it runs.

    Groups of other instances are removed as well when the process that made them is gone.
    """
    found: list[str] = []
    for state in (scratch / "state").glob("*"):
        found += [f"container process {pid}" for pid in kill_recorded(state)]
    for group in abandoned_groups(instance, cgroup_root):
        found += _clear_group(group, cgroup_root)
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


def abandoned_groups(instance: str, cgroup_root: Path = cgroups.ROOT) -> list[str]:
    """Names of groups that are this instance's, or of a process that is gone."""
    names = {path.name for path in (*cgroup_root.glob(f"{GROUP}-*"), *cgroup_root.glob(f"*/{GROUP}-*"))}
    found = []
    for name in sorted(names):
        other, _, label = name.removeprefix(f"{GROUP}-").partition("-")
        maker = owner.parse(label)
        if maker is not None and (other == instance or maker.is_gone()):
            found.append(name)
    return found


def _clear_group(group: str, cgroup_root: Path) -> list[str]:
    found: list[str] = []
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
    # What crun took for a hierarchy (see isolation.drop_hybrid_hierarchy).
    shutil.rmtree(f"{isolation.HYBRID_HIERARCHY}/{group}", ignore_errors=True)
    return found


def kill_recorded(state: Path) -> list[int]:
    """Kill the container that a runtime recorded in this directory, if it is still the same process, and wait for its
    end.

    Process IDs are those of the /proc that the calling thread sees, which need not be those that kill(2) takes from
    it: so the process is addressed by its directory there. The IDs killed.
    """
    killed = []
    for path in (state / "status", state / "state.json"):
        try:
            status = msgspec.json.decode(path.read_bytes(), type=_Status)
        except FileNotFoundError:
            continue
        except (OSError, msgspec.MsgspecError) as error:
            log.debug("%s tells nothing: %s", path, error)
            continue
        pid = status.pid or status.init_process_pid
        if pid > 1 and _kill_if_started(pid, status.process_start_time or status.init_process_start):
            killed.append(pid)
    return killed


def remove_state(state: Path) -> None:
    """Remove a runtime's record of one container. runc may have been killed while a view of itself was mounted in
    there.
    """
    for entry in list(state.iterdir()) if state.is_dir() else ():
        try:
            kernel.unmount(str(entry))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                log.debug("%s can't be unmounted: %s", entry, error)
    shutil.rmtree(state, ignore_errors=True)


def _kill_if_started(pid: int, started: int) -> bool:
    try:
        process = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if _start_time(process) != started:
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while _start_time(process) == started and time.monotonic() < deadline:
            time.sleep(0.002)
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True


def _start_time(process: int) -> int:
    """Field 22 of the process' `stat` (proc(5)), or -1 when it is gone or only waits to be reaped."""
    try:
        descriptor = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        try:
            fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
        finally:
            os.close(descriptor)
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


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
