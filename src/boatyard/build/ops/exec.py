"""The exec op: a process in a container, on the files that its mounts name.

`_prepared` is where mounts become directories (`mounting`); it is the same for running the step and for opening a
shell in its state.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from boatyard.build import entitlements
from boatyard.build.llb.graph import CDIDevice, ContentCache, ExecOp, Mount, MountType, NetMode, SecurityMode, Vertex
from boatyard.build.ops.changes import Changes
from boatyard.build.ops.mounting import DEFAULT_PATH, Mounted, Mounting
from boatyard.build.ops.output import StepOutput
from boatyard.build.ops.worker import BuildContext, StepRemains, Worker
from boatyard.build.result import Result, Selector
from boatyard.build.solver.types import CacheMap, ContentKey, ContentOf, StepContext
from boatyard.errors import BoatyardError, ExitError, InvalidError
from boatyard.image.interruption import run_settled
from boatyard.runtime import container, emulation
from boatyard.runtime.container import ContainerSpec
from boatyard.runtime.edits import Edits

__all__ = ["DEFAULT_PATH", "ExecStep"]

log = logging.getLogger(__name__)

NETWORKS = {
    NetMode.UNSET: container.Network.DEFAULT,
    NetMode.HOST: container.Network.HOST,
    NetMode.NONE: container.Network.NONE,
}
FULL = 1 << 20
"""With fewer bytes free than this, a full disk is the likely reason for a failure."""


class ExecStep:
    """The op of one exec vertex in one build."""

    def __init__(self, vertex: Vertex, op: ExecOp, worker: Worker, build: BuildContext) -> None:
        self._vertex = vertex
        self._op = op
        self._worker = worker
        self._build = build
        self._mounting = Mounting(worker, build)
        self._devices: Sequence[str] = ()
        """Qualified names, once they were found."""

    async def cache_map(self, step: StepContext) -> CacheMap:
        self._check_inputs()
        entitlements.check(self._build.entitlements, network=self._op.network, security=self._op.security)
        devices = await self._find_devices(step)
        keyed = _keyed(self._op, devices)
        platform = self._vertex.platform or self._worker.platform
        digest = hashlib.sha256(msgspec.json.encode((str(platform), keyed))).hexdigest()
        contents = tuple(self._content_of(index) for index in range(len(self._vertex.inputs)))
        return CacheMap(digest=digest, contents=contents, components=_components(keyed, str(platform)))

    async def _find_devices(self, step: StepContext) -> Sequence[str]:
        if wanted := self._op.cdi_devices:
            registry, given = self._worker.devices, self._build.entitlements
            self._devices = await asyncio.to_thread(entitlements.devices, wanted, given, registry)
            for device in wanted:
                if registry is None or not registry.find(given.devices.get(device.name, device.name)):
                    step.warn(f"the device {device.name} is not there: the step goes without it")
        return self._devices

    def _check_inputs(self) -> None:
        count = len(self._vertex.inputs)
        for mount in self._op.mounts:
            if not -1 <= mount.input < count:
                raise InvalidError(f"the mount at {mount.dest} is of input {mount.input}, but the step has {count}")

    def _content_of(self, index: int) -> ContentOf | None:
        """An input that is only ever read, through mounts, counts by the files these mounts show."""
        mounts = [mount for mount in self._op.mounts if mount.input == index]
        if not mounts or not all(_is_read_only(mount) for mount in mounts):
            return None
        selectors = [Selector(mount.selector or "/") for mount in mounts]

        async def content(result: Result) -> ContentKey:
            return await result.content_key(selectors)

        return content

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        changes = Changes(self._worker.layers)
        try:
            try:
                async with self._prepared(inputs, changes) as spec:
                    await self._run(step, spec)
            except BoatyardError:
                await self._keep_remains(inputs, changes)
                raise
            return await run_settled(changes.commit)
        finally:
            await run_settled(changes.discard)

    async def _keep_remains(self, inputs: Sequence[Result], changes: Changes) -> None:
        """For who wants to look at what failed."""
        if self._build.remains is None:
            return
        try:
            left = await run_settled(changes.keep)
        except BoatyardError as error:
            log.warning("what a failed step left behind can't be kept: %s", error)
            return
        given = tuple(inputs[mount.input] if mount.input >= 0 else None for mount in self._op.mounts)
        self._build.remains[self._vertex.digest] = StepRemains(
            given, tuple(left.get(number, before) for number, before in enumerate(given))
        )

    async def shell(self, inputs: Sequence[Result], run: Callable[[ContainerSpec], Awaitable[None]]) -> None:
        """Call `run` (an interactive shell) in the state this step starts from; its changes are thrown away."""
        changes = Changes(self._worker.layers)
        try:
            async with self._prepared(inputs, changes) as spec:
                await run(spec)
        finally:
            await run_settled(changes.discard)

    @asynccontextmanager
    async def _prepared(self, inputs: Sequence[Result], changes: Changes) -> AsyncIterator[ContainerSpec]:
        """The container, with everything mounted and looked up while the context lasts."""
        async with AsyncExitStack() as stack:
            mounted = await self._mounting.prepare(self._op.mounts, inputs, self._op.meta.cwd, changes, stack)
            yield await self._spec(mounted)

    async def _spec(self, mounted: Mounted) -> ContainerSpec:
        meta = self._op.meta
        resources = self._vertex.metadata.linux_resources
        return ContainerSpec(
            root=mounted.root,
            readonly_root=mounted.readonly_root,
            args=meta.args,
            env=await self._mounting.environment(meta.env, self._op.secret_env, mounted.agent, meta.proxy_env),
            cwd=meta.cwd or "/",
            user=meta.user,
            mounts=tuple(mounted.mounts),
            hostname=meta.hostname or "buildkitsandbox",
            network=NETWORKS[self._op.network],
            extra_hosts=tuple((entry.host, entry.ip) for entry in meta.extra_hosts),
            insecure=self._op.security is SecurityMode.INSECURE,
            shm_size=mounted.shm_size,
            ulimits=tuple(container.Limit(limit.name, limit.soft, limit.hard) for limit in meta.ulimits),
            resources=container.Resources(
                memory=resources.memory,
                memory_swap=resources.memory_swap,
                cpu_shares=resources.cpu_shares,
                cpu_period=resources.cpu_period,
                cpu_quota=resources.cpu_quota,
                cpuset_cpus=resources.cpuset_cpus,
                cpuset_mems=resources.cpuset_mems,
            )
            if resources
            else container.Resources(),
            cgroup_parent=meta.cgroup_parent or self._worker.cgroup_parent,
            trust_host_ca=self._build.trust_host_ca,
            edits=await self._edits(),
        )

    async def _edits(self) -> Edits:
        registry = self._worker.devices
        if registry is None or not self._devices:
            return Edits()
        return await asyncio.to_thread(registry.edits, self._devices)

    async def _run(self, step: StepContext, spec: ContainerSpec) -> None:
        def warn(message: str) -> None:
            step.warn(message)

        with StepOutput(step) as output:
            code = await self._worker.executor.run(spec, output.stdio, on_warning=warn)
            await output.drained()
        meta = self._op.meta
        if code in (meta.valid_exit_codes or (0,)):
            return
        error = ExitError(
            f'process "{" ".join(meta.args)}" did not complete successfully: exit code: {code}',
            exit_code=code,
            hint=self._foreign_hint(code) or _exit_hint(code, self._worker.directory),
        )
        if self._build.failed:
            await self._build.failed(spec, str(error))
        raise error

    def _foreign_hint(self, code: int) -> str | None:
        """For programs of another architecture. The runtime ends with 1 when the kernel refuses one, a shell with
        126."""
        platform, own = self._vertex.platform, self._worker.platform
        if platform is None or platform.architecture == own.architecture or code not in (1, 126):
            return None
        if any(emulated.split("/")[1] == platform.architecture for emulated in emulation.platforms()):
            return None
        return (
            f"the step is for {platform}, and this machine runs programs for {own} only: `boat platform install "
            f"{platform.architecture}` adds an emulator, FROM --platform=$BUILDPLATFORM needs none"
        )


def _is_read_only(mount: Mount) -> bool:
    return (
        mount.type is MountType.BIND
        and mount.readonly
        and mount.output < 0
        and mount.dest != "/"
        and mount.content_cache is not ContentCache.OFF
    )


def _keyed(op: ExecOp, devices: Sequence[str]) -> ExecOp:
    """The op without what must not change its key: proxies; selectors of inputs that count by content stay, they are
    paths inside. Devices are those that were found."""
    found = tuple(CDIDevice(name) for name in devices)
    return replace(op, meta=replace(op.meta, proxy_env=None), cdi_devices=found)


def _components(op: ExecOp, platform: str) -> dict[str, str]:
    meta = op.meta
    parts = {"the command": " ".join(meta.args), "the platform": platform}
    for entry in meta.env:
        name, _, value = entry.partition("=")
        parts[f"the variable {name}"] = value
    parts["the working directory"] = meta.cwd
    if meta.user:
        parts["the user"] = meta.user
    for mount in op.mounts:
        if mount.dest != "/":
            parts[f"the mount {mount.dest}"] = f"{mount.type.name.lower()} {mount.selector}".strip()
    if op.network is not NetMode.UNSET:
        parts["the network"] = op.network.name.lower()
    if op.security is not SecurityMode.SANDBOX:
        parts["the security mode"] = op.security.name.lower()
    for host in meta.extra_hosts:
        parts[f"the host {host.host}"] = host.ip
    for limit in meta.ulimits:
        parts[f"the limit {limit.name}"] = f"{limit.soft}:{limit.hard}"
    if meta.hostname:
        parts["the host name"] = meta.hostname
    if op.cdi_devices:
        parts["the devices"] = ", ".join(device.name for device in op.cdi_devices)
    return parts


def _exit_hint(code: int, directory: Path) -> str | None:
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < FULL:
        return "the disk that the daemon keeps its data on is full: `boat builder prune` frees space there"
    if code == 137:
        return "it was killed: out of memory is the usual reason"
    if code == 127:
        return "a command was not found in the step's root file system"
    if code == 126:
        return "a command was found but can't be executed: check its mode, its #! line and its architecture"
    return None
