"""Which OCI runtime works here, found out by running a trivial container with it.

The container's root is put together from the host's own directories, so nothing but the runtime has to be installed.
"""

from __future__ import annotations

import logging
import os
import re
import select
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boatyard.errors import BoatyardError
from boatyard.runtime import kernel
from boatyard.runtime.container import BindMount, ContainerSpec, Network
from boatyard.runtime.host import has_seccomp
from boatyard.runtime.launch import Attachment, Launcher, Runtime
from boatyard.runtime.program import Program, identity
from boatyard.runtime.spawn import DAEMON_PROC

log = logging.getLogger(__name__)

KINDS = ("crun", "runc")
"""In the order of preference: crun takes 4 ms where runc takes 25."""

HOST_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")

TIMEOUT = 20

FILTERED = 42
UNFILTERED = 40
# The shell's own words only. 40 + the mode that /proc/self/status tells: 0 none, 2 a filter.
SCRIPT = f"""while read -r key value; do
  [ "$key" = Seccomp: ] && exit $(({UNFILTERED} + value))
done </proc/self/status
exit {UNFILTERED}"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of trying one way of running containers."""

    runtime: Runtime
    failure: str = ""
    """"" when it works."""


def find(choice: str = "auto") -> list[Program]:
    """The programs to try: both kinds for "auto", else the kind or the path named."""
    names: Sequence[str] = KINDS if choice == "auto" else (choice,)
    found = []
    for name in names:
        path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin:/usr/local/sbin")
        if path is not None:
            kind = "runc" if "runc" in os.path.basename(name) else "crun"
            found.append(Program(kind, Path(path), identity(Path(path))))
    return found


def make_root(root: Path) -> tuple[BindMount, ...]:
    """A root file system of the host's programs and libraries: links and places are made in `root`, the mounts given
    back.
    """
    mounts = []
    root.mkdir(parents=True, exist_ok=True)
    for directory in HOST_DIRECTORIES:
        source = Path(directory)
        place = root / directory.lstrip("/")
        if place.is_symlink() or not source.exists():
            continue
        if source.is_symlink():
            place.symlink_to(os.readlink(source).lstrip("/"))
        else:
            place.mkdir(parents=True, exist_ok=True)
            mounts.append(BindMount(source, directory, readonly=True))
    return tuple(mounts)


def parse_version(output: str) -> str:
    """The number in what `crun --version` or `runc --version` prints first."""
    match = re.search(r"version\s+(\S+)", output)
    return match.group(1) if match else ""


def attempt(launcher: Launcher, root: Path, run_id: str, *, filters: bool) -> str:
    """Run the trivial container; "" when it did what it should, else why not. Blocking, in a spawner's thread."""
    spec = ContainerSpec(root=root, args=("/bin/sh", "-c", SCRIPT), mounts=make_root(root), network=Network.NONE)
    said, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        launched = launcher.launch(spec, run_id, (null, null, write), Attachment(Network.NONE))
        code = _wait(launched.pid)
        error = launcher.finish(launched, code)
        if error is not None:
            return error.message
        if code == (FILTERED if filters else UNFILTERED):
            return ""
        if code == UNFILTERED:
            return "it does not apply the system call filter"
        words = _drain(said).decode(errors="replace").strip()
        return f"a trivial container ended with {code}{': ' + words if words else ''}"
    except BoatyardError as failed:
        return failed.message
    finally:
        for descriptor in (said, write, null):
            os.close(descriptor)


def _wait(pid: int) -> int:
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(TIMEOUT * 1000):
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code if code >= 0 else 128 - code
    finally:
        os.close(descriptor)


def _drain(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def candidates(program: Program, scratch: Path, *, contained: bool, device_group: bool, filters: bool) -> list[Runtime]:
    """The ways to use a program, the fastest first. A read-only view of it is made in the scratch file system;
    blocking.
    """
    executable = str(program.path)
    if contained:
        view = scratch / f"{program.kind}-{'-'.join(str(number) for number in program.identity)}"
        if not view.exists():
            view.touch()
            kernel.bind_readonly(str(program.path), str(view))
        executable = str(view)
    if program.kind == "runc":
        return [Runtime(program, executable)]
    ways = [Runtime(program, executable, compiled_filter=filters, inherits_cgroup=device_group)]
    if filters:
        ways.append(Runtime(program, executable, compiled_filter=False, inherits_cgroup=device_group))
    if not device_group:
        # Device rules of cgroup v2 are a BPF program, which crun can't load without CAP_SYS_RESOURCE.
        ways.append(Runtime(program, executable, filters, inherits_cgroup=True, device_rules=False))
    return ways


def choose(
    choice: str, scratch: Path, launcher: Callable[[Runtime], Launcher], *, contained: bool, device_group: bool
) -> tuple[Launcher | None, list[Attempt]]:
    """The first way of running containers that works, and all that were tried. Blocking, in a spawner's thread."""
    filters = has_seccomp((scratch / DAEMON_PROC if contained else Path("/proc")) / f"{os.getpid()}/status")
    attempts: list[Attempt] = []
    for program in find(choice):
        for runtime in candidates(program, scratch, contained=contained, device_group=device_group, filters=filters):
            made = launcher(runtime)
            failure = attempt(made, scratch / "probe", f"try-{len(attempts)}", filters=filters)
            attempts.append(Attempt(runtime, failure))
            if not failure:
                return made, attempts
            log.info("%s can't be used: %s", program.path, failure)
    return None, attempts
