"""A container that a frontend asks for: results and the rest mounted, and processes started in it at will.

The first process makes the container, and the container ends with it; those that are started while it runs join it.
Nothing of what they change is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from boatyard.build import entitlements
from boatyard.build.llb.graph import HostIP, Mount, NetMode, SecretEnv, SecurityMode
from boatyard.build.ops.changes import Changes
from boatyard.build.ops.exec import NETWORKS
from boatyard.build.ops.mounting import Mounted, Mounting
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.result import Result
from boatyard.errors import ConflictError, NotFoundError
from boatyard.image.interruption import run_settled
from boatyard.runtime.container import (
    ContainerSpec,
    Control,
    ProcessSpec,
    RunningContainer,
    Stdio,
    TerminalReceiver,
)


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """`mounts` name their results by number in `results` (`Mount.input`). One of them is at "/"."""

    mounts: tuple[Mount, ...]
    results: tuple[Result, ...] = ()
    network: NetMode = NetMode.UNSET
    extra_hosts: tuple[HostIP, ...] = ()
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    security: SecurityMode = SecurityMode.SANDBOX
    secret_env: tuple[SecretEnv, ...] = ()


@asynccontextmanager
async def open_container(
    request: ContainerRequest, worker: Worker, build: BuildContext
) -> AsyncIterator[BuildContainer]:
    """At the end its processes are killed, and nothing is left."""
    entitlements.check(build.entitlements, network=request.network, what="the container")
    changes = Changes(worker.layers)
    mounting = Mounting(worker, build)
    try:
        async with AsyncExitStack() as stack:
            mounted = await mounting.prepare(request.mounts, request.results, "/", changes, stack)
            made = BuildContainer(request, mounted, mounting, worker, build)
            try:
                yield made
            finally:
                await made.close()
    finally:
        await run_settled(changes.discard)


class BuildContainer:
    """Made by `open_container`. Used on the event loop."""

    def __init__(
        self, request: ContainerRequest, mounted: Mounted, mounting: Mounting, worker: Worker, build: BuildContext
    ) -> None:
        self._request = request
        self._mounted = mounted
        self._mounting = mounting
        self._worker = worker
        self._build = build
        self._running: RunningContainer | None = None
        self._starting: asyncio.Future[None] | None = None
        self._processes: set[asyncio.Task[int]] = set()
        self._closed = False

    def place(self, mount: int) -> Path:
        """Where on this host the files of a mount are. NotFoundError for a mount that has none (a tmpfs, a secret)."""
        try:
            return self._mounted.places[mount]
        except KeyError:
            raise NotFoundError(f"the container has no mount {mount} whose files can be read") from None

    async def run(
        self,
        process: ProcessRequest,
        stdio: Stdio | TerminalReceiver,
        on_start: Callable[[Control], None],
    ) -> int:
        """A process from its start to its end; its exit code. Cancelling kills it. The errors of `Executor.run`."""
        if self._closed:
            raise ConflictError("the container is released")
        task = asyncio.ensure_future(self._run(process, stdio, on_start))
        self._processes.add(task)
        task.add_done_callback(self._processes.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait((task,))
            raise

    async def _run(
        self, process: ProcessRequest, stdio: Stdio | TerminalReceiver, on_start: Callable[[Control], None]
    ) -> int:
        entitlements.check(self._build.entitlements, security=process.security, what="the process")
        env = await self._mounting.environment(process.env, process.secret_env, self._mounted.agent)
        spec = ProcessSpec(
            args=process.args,
            env=env,
            cwd=process.cwd or "/",
            user=process.user,
            insecure=process.security is SecurityMode.INSECURE,
        )
        if self._starting is None:
            return await self._start(spec, stdio, on_start)
        await asyncio.shield(self._starting)
        if self._running is None:
            raise ConflictError("the container's first process has ended: nothing can be started in it any more")
        return await self._running.exec(spec, stdio, on_start=on_start)

    async def _start(
        self, process: ProcessSpec, stdio: Stdio | TerminalReceiver, on_start: Callable[[Control], None]
    ) -> int:
        self._starting = starting = asyncio.get_running_loop().create_future()

        def started(control: RunningContainer) -> None:
            self._running = control
            if not starting.done():
                starting.set_result(None)
            on_start(control)

        try:
            return await self._worker.executor.run(self._spec(process), stdio, on_start=started)
        finally:
            self._running = None
            if not starting.done():
                starting.set_result(None)

    def _spec(self, process: ProcessSpec) -> ContainerSpec:
        return ContainerSpec(
            root=self._mounted.root,
            args=process.args,
            env=process.env,
            cwd=process.cwd,
            user=process.user,
            mounts=tuple(self._mounted.mounts),
            hostname=self._request.hostname or "buildkitsandbox",
            network=NETWORKS[self._request.network],
            extra_hosts=tuple((entry.host, entry.ip) for entry in self._request.extra_hosts),
            insecure=process.insecure,
            shm_size=self._mounted.shm_size,
            readonly_root=self._mounted.readonly_root,
            trust_host_ca=self._build.trust_host_ca,
        )

    async def close(self) -> None:
        """Kill what runs. Idempotent."""
        self._closed = True
        while self._processes:
            for task in self._processes:
                task.cancel()
            await run_to_end(self._processes)


async def run_to_end(tasks: Sequence[asyncio.Task[int]] | set[asyncio.Task[int]]) -> None:
    """Until all have ended, however often this is cancelled meanwhile."""
    cancelled = False
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
