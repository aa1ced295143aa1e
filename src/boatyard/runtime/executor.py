"""Runs containers with crun or runc: the Executor of a daemon on Linux.

One run is: a bundle on a file system in memory, mount points in the root, one process of the runtime in the
foreground, and the undoing of all that. What blocks is done in the spawner's threads, in one call before and one
after.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from boatyard.errors import ConflictError, StorageError, UnavailableError, UnsupportedError
from boatyard.runtime import cgroups, host, leftovers, probe, terminal
from boatyard.runtime.agent import Forwarder
from boatyard.runtime.bridge import BridgePool
from boatyard.runtime.container import (
    ContainerSpec,
    Control,
    Network,
    ProcessSpec,
    StartedReceiver,
    Stdio,
    TerminalReceiver,
    WarningReceiver,
)
from boatyard.runtime.hosts import LOOPBACK, Resolver
from boatyard.runtime.launch import Attachment, Joined, Launched, Launcher, Runtime
from boatyard.runtime.network import Mode, SandboxPool
from boatyard.runtime.process import RuntimeProcess
from boatyard.runtime.program import identity
from boatyard.runtime.spawn import Spawner

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_INTERVAL = 0.1
MADE_INTERVAL = 0.001
QUEUED_TERMINAL = 0.05


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    runtime: str = "auto"
    """`auto`, `crun`, `runc`, or a program's path."""
    network: Mode = Mode.AUTO
    subnet: str = ""
    """For the bridge, as 10.1.0.0/16; "" chooses one that the host doesn't use."""
    threads: int = 4
    resolver: Resolver = field(default_factory=Resolver)
    """Name servers and the rest for all containers; what it leaves out is the host's."""


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """What Network.DEFAULT is here."""

    mode: Mode
    """Never AUTO."""
    reason: str = ""
    """Why it is not a bridge, when one was wished for."""
    pool: SandboxPool | None = None

    @property
    def gateway(self) -> str:
        """Where containers reach the host; "" when they can't."""
        if self.pool is not None:
            return self.pool.gateway
        return "" if self.mode is Mode.NONE else LOOPBACK


class OciExecutor:
    """Owns the scratch file system in `state_dir`, the spawner, the bridge, and every running container. One per
    daemon.

    To be made and used in one event loop; `start` may be left out, the first run then does it. `close` kills what
    still runs.
    """

    def __init__(
        self, state_dir: Path, config: RuntimeConfig = RuntimeConfig(), environ: Mapping[str, str] = os.environ
    ) -> None:
        self._config = config
        self._environ = environ
        self.instance = hashlib.sha256(os.fsencode(state_dir.absolute())).hexdigest()[:8]
        self._group = leftovers.group_name(self.instance)
        self._device_group: cgroups.DeviceGroup | None = None
        self._spawner = Spawner(state_dir.absolute(), threads=config.threads, prepare_thread=self._join_device_group)
        self._placing: asyncio.Task[None] | None = None
        self._launcher: Launcher | None = None
        self._attempts: list[probe.Attempt] = []
        self._choosing: asyncio.Task[Launcher] | None = None
        self._network: asyncio.Future[NetworkChoice] | None = None
        self._numbers = itertools.count(1)
        self._running: set[RuntimeProcess] = set()
        self._active = 0
        self._idle = asyncio.Event()
        self._closed = False

    async def start(self) -> None:
        """Clear what a killed daemon left, make the place for containers, find the runtime, begin with the bridge.

        Raises UnsupportedError when no runtime works; each later run looks for one again.
        """
        await self._ready()

    async def _placed(self) -> None:
        if self._closed:
            raise UnavailableError("the container runtime is closed")
        if self._placing is None:
            self._placing = asyncio.create_task(self._place())
        elif self._placing.done() and self._spawner.broken:
            log.error("the first process of the containers' namespace was killed, and they with it: making a new one")
            self._placing = asyncio.create_task(self._replace())
        await asyncio.shield(self._placing)

    async def _place(self) -> None:
        if os.geteuid() != 0:
            raise UnsupportedError("containers can only be run by root", hint="start the daemon as root")
        await asyncio.to_thread(self._make_place)
        if self._config.network in (Mode.AUTO, Mode.BRIDGE):
            self._network = asyncio.ensure_future(asyncio.to_thread(self._open_bridge))

    async def _replace(self) -> None:
        # Their containers are dead already; they still have to clear up in the old place.
        await asyncio.gather(*(process.cleared.wait() for process in self._running))
        self._launcher = None
        await asyncio.to_thread(self._spawner.close)
        await asyncio.to_thread(self._spawner.start)

    def _make_place(self) -> None:
        found = leftovers.clear(self._spawner.scratch, self.instance)
        if found:
            log.warning("removed what an earlier daemon left: %s", ", ".join(found))
        hierarchies = cgroups.detect()
        if "devices" in hierarchies.controllers and hierarchies.writable:
            group = cgroups.DeviceGroup(hierarchies.controllers["devices"], f"{self._group}/shared")
            try:
                group.create()
                self._device_group = group
            except OSError as error:
                log.info("no group for device rules: %s", error)
        self._spawner.start()

    def _join_device_group(self) -> None:
        if self._device_group is not None:
            try:
                self._device_group.join()
            except FileNotFoundError:
                # Taken for a leftover and removed by somebody while no thread was in it.
                self._device_group.create()
                self._device_group.join()

    def _open_bridge(self) -> NetworkChoice:
        pool = BridgePool(self.instance, self._config.subnet)
        try:
            pool.open()
            pool.warm()
        except (UnsupportedError, UnavailableError, StorageError) as error:
            pool.close()
            if self._config.network is Mode.BRIDGE:
                raise
            log.info("containers use the host's network: %s", error)
            return NetworkChoice(Mode.HOST, error.message)
        return NetworkChoice(Mode.BRIDGE, pool=pool)

    async def _choose(self) -> Launcher:
        facts = host.examine(device_group=self._device_group is not None)

        def launcher(runtime: Runtime) -> Launcher:
            resolver = self._config.resolver
            return Launcher(runtime, facts, self._spawner.scratch, self._group, self._environ, resolver)

        chosen, self._attempts = await self._spawner.submit(
            probe.choose,
            self._config.runtime,
            self._spawner.scratch,
            launcher,
            contained=self._spawner.contained,
            device_group=self._device_group is not None,
        )
        if chosen is None:
            reasons = "; ".join(f"{tried.runtime.program.path}: {tried.failure}" for tried in self._attempts)
            raise UnsupportedError(
                f"no OCI runtime works on this host{': ' + reasons if reasons else ' (none is installed)'}",
                hint="apt-get install crun",
            )
        self._launcher = chosen
        return chosen

    @property
    def attempts(self) -> list[probe.Attempt]:
        """What was tried to find a runtime."""
        return self._attempts

    @property
    def contained(self) -> bool:
        """Whether everything started ends with this process, however it ends. Known once started."""
        return self._spawner.contained

    @property
    def scratch(self) -> Path:
        return self._spawner.scratch

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function where containers are started from: in that mount namespace, with the scratch file
        system in sight.
        """
        await self._placed()
        return await self._spawner.submit(function, *args, **kwargs)

    async def runtime(self) -> tuple[Runtime, list[probe.Attempt]]:
        """The runtime in use and what was tried to find it. Starts the executor."""
        return (await self._ready()).runtime, self._attempts

    async def network(self) -> NetworkChoice:
        """What Network.DEFAULT is. Starts the executor. With mode `bridge` it raises UnsupportedError where there
        can't be one.
        """
        await self._placed()
        if self._network is None:
            return NetworkChoice(self._config.network)
        return await asyncio.shield(self._network)

    async def _ready(self) -> Launcher:
        await self._placed()
        launcher = self._launcher
        if launcher is not None and _unchanged(launcher):
            return launcher
        # Not found yet, or the package was upgraded: what worked may not, what didn't may. All who wait share one
        # search, which goes on when one of them is cancelled.
        if self._choosing is None or self._choosing.done():
            self._choosing = asyncio.create_task(self._choose())
        return await asyncio.shield(self._choosing)

    async def _attach(self, spec: ContainerSpec, stack: AsyncExitStack) -> Attachment:
        if spec.network is not Network.DEFAULT:
            return _without_sandbox(spec.network)
        choice = await self.network()
        if choice.pool is None:
            return _without_sandbox(Network.NONE if choice.mode is Mode.NONE else Network.HOST)
        pool = choice.pool
        acquiring = asyncio.ensure_future(asyncio.to_thread(pool.acquire))
        cancelled = await _settle(acquiring)
        sandbox = acquiring.result()
        stack.callback(pool.release, sandbox, tainted=spec.insecure)
        if cancelled:
            raise asyncio.CancelledError
        return Attachment(
            Network.DEFAULT, self._spawner.descriptor_path(sandbox.descriptor), sandbox.address, sandbox.gateway
        )

    async def run(
        self,
        spec: ContainerSpec,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: StartedReceiver | None = None,
        on_warning: WarningReceiver | None = None,
    ) -> int:
        """See `Executor`. `on_start`'s control knows its process ID (0 before) once the runtime has made the
        container.
        """
        self._active += 1
        try:
            launcher = await self._ready()
            async with AsyncExitStack() as stack:
                attachment = await self._attach(spec, stack)
                return await self._run(launcher, spec, stdio, attachment, on_start, on_warning)
        finally:
            self._active -= 1
            if self._active == 0:
                self._idle.set()

    async def _run(
        self,
        launcher: Launcher,
        spec: ContainerSpec,
        stdio: Stdio | TerminalReceiver,
        attachment: Attachment,
        on_start: StartedReceiver | None,
        on_warning: WarningReceiver | None,
    ) -> int:
        descriptors = (stdio.stdin, stdio.stdout, stdio.stderr) if isinstance(stdio, Stdio) else None
        run_id = f"run-{next(self._numbers)}"
        launching = self._spawner.submit(launcher.launch, spec, run_id, descriptors, attachment)
        cancelled = await _settle(launching)
        if cancelled and launching.exception() is not None:
            raise asyncio.CancelledError
        launched = launching.result()
        process = RuntimeProcess(launched.pid)
        running = JoinableContainer(self, launcher, launched, process)
        self._running.add(process)
        code = 0
        interrupted = False
        try:
            if cancelled:
                raise asyncio.CancelledError
            if on_warning is not None:
                for warning in launched.warnings:
                    on_warning(warning)
            async with AsyncExitStack() as stack:
                while launched.prepared.agents:
                    await stack.enter_async_context(Forwarder(*launched.prepared.agents.pop()))
                if on_start is not None:
                    on_start(running)
                if not isinstance(stdio, Stdio):
                    await _hand_over(launched, process, stdio)
                code = await process.wait()
        except BaseException:
            # Also an error of one of the callbacks: the container has nobody any more.
            interrupted = True
            await _settle(asyncio.ensure_future(process.kill()))
            raise
        finally:
            if interrupted or process.killed:
                # runc's first steps may have outlived it, and a container its killed runtime.
                await _settle(self._spawner.submit(self._spawner.kill_orphans))
            await running.close()
            finishing = self._spawner.submit(launcher.finish, launched, code)
            cancelled = await _settle(finishing)
            self._running.discard(process)
            process.cleared.set()
        error = finishing.result()
        if cancelled:
            raise asyncio.CancelledError
        if error is not None:
            raise error
        return code

    async def join(
        self,
        launcher: Launcher,
        launched: Launched,
        first: RuntimeProcess,
        spec: ProcessSpec,
        stdio: Stdio | TerminalReceiver,
        on_start: Callable[[Control], None] | None,
    ) -> int:
        """For `JoinableContainer.exec`."""
        while not first.ended and not await self._spawner.submit(launcher.made, launched):  # noqa: ASYNC110 -- no event
            await asyncio.sleep(MADE_INTERVAL)
        if first.ended:
            raise ConflictError("the container has ended: nothing can be started in it any more")
        descriptors = (stdio.stdin, stdio.stdout, stdio.stderr) if isinstance(stdio, Stdio) else None
        joining = self._spawner.submit(launcher.join, spec, launched, descriptors)
        cancelled = await _settle(joining)
        if cancelled and joining.exception() is not None:
            raise asyncio.CancelledError
        joined = joining.result()
        process = RuntimeProcess(joined.pid)
        code = 0
        try:
            if cancelled:
                raise asyncio.CancelledError
            if on_start is not None:
                on_start(process)
            if not isinstance(stdio, Stdio):
                await _hand_over(joined, process, stdio)
            code = await process.wait()
        except BaseException:
            await _settle(asyncio.ensure_future(process.kill()))
            raise
        finally:
            leaving = self._spawner.submit(launcher.leave, joined, code)
            cancelled = await _settle(leaving)
        error = leaving.result()
        if cancelled:
            raise asyncio.CancelledError
        if error is not None:
            if first.ended:
                raise ConflictError("the container has ended") from error
            raise error
        return code

    async def close(self) -> None:
        """Kill every container, wait for their runs to end, and take away everything made. Nothing can be run
        afterwards.
        """
        if self._closed:
            return
        self._closed = True
        for task in (self._placing, self._choosing):
            if task is not None:
                await asyncio.wait((task,))
        while self._active:
            self._idle.clear()
            for process in list(self._running):
                await process.kill()
            # One that was about to start when the others were killed is met in the next round.
            await asyncio.wait((asyncio.ensure_future(self._idle.wait()),), timeout=CLOSE_INTERVAL)
        if self._network is not None:
            await asyncio.wait((self._network,))
            if self._network.exception() is None and (pool := self._network.result().pool) is not None:
                await asyncio.to_thread(pool.close)
        await asyncio.to_thread(self._undo)

    def _undo(self) -> None:
        self._spawner.close()
        leftovers.clear(self._spawner.scratch, self.instance)


class JoinableContainer:
    """A running container's handle, as long as it runs. Implements `container.RunningContainer`."""

    def __init__(self, executor: OciExecutor, launcher: Launcher, launched: Launched, process: RuntimeProcess) -> None:
        self._executor = executor
        self._launcher = launcher
        self._launched = launched
        self._process = process
        self._joined: set[asyncio.Task[int]] = set()

    def signal(self, number: int) -> None:
        self._process.signal(number)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def exec(
        self,
        process: ProcessSpec,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: Callable[[Control], None] | None = None,
    ) -> int:
        """See `container.RunningContainer`."""
        work = self._executor.join(self._launcher, self._launched, self._process, process, stdio, on_start)
        task = asyncio.ensure_future(work)
        self._joined.add(task)
        task.add_done_callback(self._joined.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await _settle(task)
            raise

    async def close(self) -> None:
        """The first process has ended, and the others with it: what the runtime and we had for them goes."""
        for task in list(self._joined):
            await _settle(task)


async def _hand_over(launched: Launched | Joined, process: RuntimeProcess, receiver: TerminalReceiver) -> None:
    """Give the terminal to its receiver as soon as it is there; a container that can't be started may have none."""
    if launched.console is None:
        master, launched.master = launched.master, -1
        receiver(master)
        return
    receiving = asyncio.ensure_future(terminal.receive(launched.console))
    ending = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait((receiving, ending), return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done():
            # The runtime may have sent it and ended at once: what is queued is still there.
            await asyncio.wait((receiving,), timeout=QUEUED_TERMINAL)
        if receiving.done() and (received := receiving.result()) is not None:
            receiver(received)
    finally:
        receiving.cancel()
        ending.cancel()


def _without_sandbox(network: Network) -> Attachment:
    return Attachment(network, gateway="" if network is Network.NONE else LOOPBACK)


def _unchanged(launcher: Launcher) -> bool:
    program = launcher.runtime.program
    try:
        return identity(program.path) == program.identity
    except OSError:
        return False


async def _settle(future: asyncio.Future[T]) -> bool:
    """Wait until it is done, whatever happens; whether this task was cancelled meanwhile."""
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
