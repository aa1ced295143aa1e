"""What is run, as frozen values, and who runs it, as a protocol.

Knows processes, mounts and isolation; knows nothing of images, layers or builds: it is handed directories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from boatyard.runtime.edits import Edits

DEFAULT_SHM_SIZE = 64 << 20
"""Bytes of /dev/shm."""
HOST_GATEWAY = "host-gateway"
"""Docker's word for the address at which a container reaches its host."""


class Network(Enum):
    DEFAULT = "default"
    """What the configuration says: a sandbox behind a bridge where the host can do that, else the host's."""
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BindMount:
    """`source` on the host at `target` inside. A missing target (and its parents) is made in the root file system and
    removed afterwards."""

    source: Path
    target: str
    readonly: bool = False
    recursive: bool = True


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    target: str
    size: int = 0
    mode: int = 0o1777


@dataclass(frozen=True, slots=True)
class SecretFile:
    """`data` as a read-only file at `target`; it lives on a tmpfs only."""

    target: str
    data: bytes = field(repr=False)
    uid: int = 0
    gid: int = 0
    mode: int = 0o400


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """The unix socket `source` on the host, reachable at `target` inside by the given owner."""

    source: str
    target: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class OciMount:
    """A mount in the runtime's own words. `type` "" is a bind mount."""

    source: str
    target: str
    options: tuple[str, ...] = ()
    type: str = ""


Mount = BindMount | TmpfsMount | SecretFile | AgentSocket | OciMount


@dataclass(frozen=True, slots=True)
class Limit:
    name: str
    """As in `ulimit`: nofile, nproc, memlock, core ..."""
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Resources:
    """0 or "" is unlimited. Bytes, shares, microseconds."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One process in a container. `root` is a mounted, writable root file system, nobody else's while it runs."""

    root: Path
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    """`name`, `uid`, `name:group` or `uid:gid`, looked up in the root file system's /etc/passwd and /etc/group."""
    mounts: tuple[Mount, ...] = ()
    hostname: str = "boatyard"
    network: Network = Network.DEFAULT
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(name, address) pairs for /etc/hosts; HOST_GATEWAY is the host's address, wherever that is."""
    insecure: bool = False
    """All capabilities this daemon has, no seccomp, no masked paths, host devices."""
    unprivileged: bool = False
    """No capabilities at all, and no way to get any (set-uid programs stay what their caller is)."""
    shm_size: int = DEFAULT_SHM_SIZE
    ulimits: tuple[Limit, ...] = ()
    resources: Resources = Resources()
    cgroup_parent: str = ""
    readonly_root: bool = False
    trust_host_ca: bool = False
    init: bool = False
    """Put a small init process of the host (tini or its like) before the program, to reap and to forward signals."""
    devices: tuple[str, ...] = ()
    """`host[:inside[:permissions]]` as in `docker run --device`; permissions are a choice of `rwm`."""
    edits: Edits = field(default_factory=Edits)
    """What devices need beside their nodes."""
    hostname_file: bool = False
    """Show a /etc/hostname of the container's own. A build step sees and writes the image's, as with BuildKit."""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process in a container that runs; the fields are those of `ContainerSpec`. `insecure`: with all capabilities
    that this daemon has; what the container as a whole may do was settled at its start."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors the process gets; the caller keeps and closes its own copies. With `tty`, the three are unused and
    `on_terminal` is called with the pseudo-terminal's master descriptor (which the callee owns) before the process
    starts."""

    stdin: int
    stdout: int
    stderr: int


class TerminalReceiver(Protocol):
    def __call__(self, master_fd: int) -> None: ...


class Executor(Protocol):
    """Runs containers. One per daemon."""

    async def run(
        self,
        spec: ContainerSpec,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: StartedReceiver | None = None,
        on_warning: WarningReceiver | None = None,
    ) -> int:
        """Run to the end; the exit code (128 + N when signal N ended it). When the task is cancelled, every process of
        the container is killed and nothing is left before CancelledError is raised. When it can't be started, raises
        DeniedError, ExecutableError, InvalidError (an unknown user: the message names it) or StorageError."""


class StartedReceiver(Protocol):
    def __call__(self, control: RunningContainer) -> None: ...


class WarningReceiver(Protocol):
    def __call__(self, message: str) -> None: ...


class Control(Protocol):
    """A running process's handle."""

    def signal(self, number: int) -> None: ...
    @property
    def pid(self) -> int: ...


class RunningContainer(Control, Protocol):
    """A running container's handle, which is its first process's."""

    async def exec(
        self,
        process: ProcessSpec,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: Callable[[Control], None] | None = None,
    ) -> int:
        """One more process, to its end; its exit code. It is killed when the task is cancelled, and with the
        container. ConflictError when the container has ended; else the errors of `Executor.run`."""
