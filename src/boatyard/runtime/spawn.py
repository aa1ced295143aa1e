"""Where containers are started from: a few threads in a place of their own, from which nothing can be left behind.

The threads live in a mount namespace split off the daemon's, and what they start lives in a PID namespace whose first
process waits for the end of a pipe that only the daemon holds. When the daemon ends in whatever way, the pipe closes,
that process ends, and the kernel kills all others in the namespace. The scratch file system (bundles, secrets, sockets)
is mounted only there and goes the same way.

Where that can't be (mounts don't propagate, or namespaces are refused) the threads are ordinary ones, the scratch
file system is mounted in the daemon's namespace, and what a killed daemon leaves is removed at the next start.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from boatyard.errors import InvalidError, UnavailableError
from boatyard.runtime import isolation, kernel, process

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

MAX_SCRATCH_PATH = 70
"""Sockets are made in it, and their paths end at 107 bytes."""

ORPHAN_PATIENCE = 2.0
EXITED_UNREAPED = os.WEXITED | os.WNOHANG | os.WNOWAIT

PYTHONS_SIGNALS = (
    # Ignored by Python, or caught by us: what is started has them at their defaults.
    *(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGPWR),
)

DAEMON_PROC = "proc"
"""In the scratch file system: /proc as the daemon sees it."""

# The first process of the PID namespace: mounts /proc as the namespace sees it (the runtimes look their children up
# there), says so, and reaps orphans (a shell's `wait` takes whatever child ends) until the pipe it was given closes.
INIT_SCRIPT = """mount -t proc -o nosuid,nodev,noexec proc /proc || exit 1
exec 3<&0
cat <&3 >/dev/null &
echo ready
exec >/dev/null
wait"""


@dataclass(frozen=True, slots=True)
class _Place:
    mounts: int
    """Descriptor of the mount namespace."""
    processes: int
    """Descriptor of the PID namespace."""
    init: int
    """Process ID of its first process, a child of the daemon."""
    reader: int
    """Its child, which reads the pipe."""
    alive: int
    """Write end of the pipe."""


class Spawner:
    """Owns the threads, the namespaces and the scratch file system. One per executor.

    `scratch` must be an absolute, short path; a tmpfs that never swaps is mounted there, seen by the threads only.
    """

    def __init__(self, scratch: Path, *, threads: int = 4, prepare_thread: Callable[[], None] | None = None) -> None:
        if len(os.fsencode(scratch)) > MAX_SCRATCH_PATH:
            raise InvalidError(
                f"the state directory's path is too long for sockets: {scratch}",
                hint=f"choose one of at most {MAX_SCRATCH_PATH} bytes",
            )
        self.scratch = scratch
        self._prepare_thread = prepare_thread
        self._threads = threads
        self._place: _Place | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._mounted_here = False

    @property
    def contained(self) -> bool:
        """Whether what is started dies with this process, whatever happens."""
        return self._place is not None

    @property
    def broken(self) -> bool:
        """Whether the first process of the namespace was killed: nothing can be started in there any more."""
        return self._place is not None and os.waitid(os.P_PID, self._place.init, EXITED_UNREAPED) is not None

    def start(self) -> None:
        """Make the place. Blocking; raises OSError only when not even the scratch directory can be made."""
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        if isolation.propagates_mounts():
            outcome: list[_Place | OSError] = []
            worker = threading.Thread(target=lambda: outcome.append(self._make_place()), name="runtime-place")
            worker.start()
            worker.join()
            made = outcome[0]
            if isinstance(made, OSError):
                log.warning("containers can't be given a place of their own: %s", made)
            else:
                self._place = made
        if self._place is None:
            self._mounted_here = _mount_scratch(self.scratch)
        self._pool = ThreadPoolExecutor(self._threads, "runtime", initializer=self._enter)

    def _make_place(self) -> _Place | OSError:
        """In a thread that is thrown away afterwards."""
        opened: list[int] = []
        try:
            kernel.unshare(kernel.CLONE_FS | kernel.CLONE_NEWNS)
            kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_SLAVE)
            own = os.open("/proc/thread-self/ns", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.append(own)
            isolation.drop_hybrid_hierarchy()
            isolation.provide_cgroup_root()
            if not _mount_scratch(self.scratch):
                raise PermissionError(1, f"{self.scratch} can't be mounted")
            daemon_proc = self.scratch / DAEMON_PROC
            daemon_proc.mkdir()
            kernel.mount("/proc", str(daemon_proc), flags=kernel.MS_BIND)
            kernel.unshare(kernel.CLONE_NEWPID)
            hold, alive = os.pipe2(os.O_CLOEXEC)
            opened += [hold, alive]
            said, ready = os.pipe2(os.O_CLOEXEC)
            opened += [said, ready]
            init = spawn(["/bin/sh", "-c", INIT_SCRIPT], {"PATH": os.defpath}, (hold, ready, 2))
            os.close(ready)
            opened.remove(ready)
            if os.read(said, 16) != b"ready\n":
                os.waitpid(init, 0)
                raise ChildProcessError(10, "the first process of the namespace ended")
            mounts = os.open("mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)
            processes = os.open("pid_for_children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)
            opened.remove(alive)
            return _Place(mounts, processes, init, process.children(init, str(daemon_proc))[0], alive)
        except OSError as error:
            return error
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _enter(self) -> None:
        """In each thread, first."""
        if self._place is not None:
            kernel.unshare(kernel.CLONE_FS)
            kernel.setns(self._place.mounts, kernel.CLONE_NEWNS)
            kernel.setns(self._place.processes, kernel.CLONE_NEWPID)
        if self._prepare_thread is not None:
            self._prepare_thread()

    def descriptor_path(self, descriptor: int) -> str:
        """A path by which what is started here can open one of the daemon's own descriptors."""
        return f"{self.scratch / DAEMON_PROC if self.contained else '/proc'}/{os.getpid()}/fd/{descriptor}"

    def kill_orphans(self) -> None:
        """Kill what lost its parent in the namespace: containers whose runtime was killed. In one of the threads."""
        if self._place is None:
            return
        proc = str(self.scratch / DAEMON_PROC)
        deadline = time.monotonic() + ORPHAN_PATIENCE
        while time.monotonic() < deadline:
            orphans = [pid for pid in process.children(self._place.init, proc) if pid != self._place.reader]
            if not orphans:
                return
            for orphan in orphans:
                try:
                    os.kill(orphan, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.002)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run in one of the threads: there, /proc shows the namespace's processes only and has no /proc/self."""
        if self._pool is None:
            raise UnavailableError("the container runtime is not started, or closed already")
        loop = asyncio.get_running_loop()
        return asyncio.wrap_future(self._pool.submit(function, *args, **kwargs), loop=loop)

    def close(self) -> None:
        """End the threads, kill what they started and unmount. Blocking."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        if self._place is not None:
            place, self._place = self._place, None
            os.close(place.alive)
            os.kill(place.init, signal.SIGKILL)
            os.waitpid(place.init, 0)
            os.close(place.mounts)
            os.close(place.processes)
        if self._mounted_here:
            kernel.unmount(str(self.scratch))
            self._mounted_here = False


def _mount_scratch(path: Path) -> bool:
    """A tmpfs without swap (Linux 6.4), else a ramfs, which has none. False where mounting is refused."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    for kind, data in (("tmpfs", "noswap,mode=0700"), ("ramfs", "mode=0700")):
        try:
            kernel.mount(kind, str(path), kind, flags, data)
        except PermissionError:
            return False
        except OSError as error:
            log.debug("%s with %s: %s", kind, data, error)
            continue
        return True
    return False


def spawn(args: list[str], env: Mapping[str, str], stdio: tuple[int, int, int] | str) -> int:
    """Start a program with these three descriptors, or the file of that path thrice, and nothing else; its process ID.

    In a session of its own (a Ctrl-C at the daemon's terminal is not for it; a terminal named by path becomes its own),
    with the signals Python ignores back at their defaults. posix_spawn shares the parent's memory until exec: a large
    daemon starts things as fast as a small one.
    """
    copies: list[int] = []
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = []
    try:
        if isinstance(stdio, str):
            actions.append((os.POSIX_SPAWN_OPEN, 0, stdio, os.O_RDWR, 0))
            actions += [(os.POSIX_SPAWN_DUP2, 0, target) for target in (1, 2)]
        else:
            for target, source in enumerate(stdio):
                # A source among 0-2 could be overwritten before it is copied.
                while source <= 2:
                    source = os.dup(source)
                    copies.append(source)
                actions.append((os.POSIX_SPAWN_DUP2, source, target))
        return os.posix_spawn(
            args[0],
            args,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=PYTHONS_SIGNALS,
        )
    finally:
        for descriptor in copies:
            os.close(descriptor)


def spawn_with(args: list[str], descriptors: tuple[int, ...]) -> int:
    """Start a program that finds these descriptors as 3, 4, ...; its standard input and output are nothing, its
    standard error is ours. In a session of its own, with its parent's environment; its process ID."""
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64) for descriptor in descriptors]
    try:
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
        ]
        actions += [(os.POSIX_SPAWN_DUP2, copy, target) for target, copy in enumerate(copies, start=3)]
        return os.posix_spawn(
            args[0], args, os.environ, file_actions=actions, setsid=True, setsigmask=(), setsigdef=PYTHONS_SIGNALS
        )
    finally:
        for copy in copies:
            os.close(copy)
