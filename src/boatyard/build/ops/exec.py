"""The exec op: a process in a container, on the files that its mounts name.

`_prepared` is where mounts become directories; it is the same for running the step and for opening a shell in its
state.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from boatyard.build.llb.graph import ContentCache, ExecOp, Mount, MountType, NetMode, SecurityMode, Vertex
from boatyard.build.ops.output import StepOutput
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.result import LayersResult, Result, Selector
from boatyard.build.solver.types import CacheMap, ContentKey, ContentOf, StepContext
from boatyard.errors import DeniedError, ExitError, InvalidError, NotFoundError, StorageError
from boatyard.image.interruption import run_settled
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.runtime import container, emulation, rootfs
from boatyard.runtime.container import ContainerSpec

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

FULL = 1 << 20
"""With fewer bytes free than this, a full disk is the likely reason for a failure."""


class Changes:
    """The snapshots that take a step's changes, by output. What was not committed is removed at the end."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers
        self._active: set[SnapshotId] = set()
        self._outputs: dict[int, tuple[Chain, SnapshotId]] = {}

    def begin(self, chain: Chain, output: int) -> SnapshotId:
        """A snapshot for changes on top of a chain; `output` -1: they are thrown away."""
        active = self._layers.snapshotter.prepare()
        self._active.add(active)
        if output >= 0:
            self._outputs[output] = (chain, active)
        return active

    def commit(self) -> list[Result]:
        """The outputs in order: all of them, or none. Nothing may be mounted any more."""
        results: list[LayersResult] = []
        try:
            for output in sorted(self._outputs):
                chain, active = self._outputs[output]
                layer = self._layers.add(active, base=chain)
                self._active.remove(active)
                results.append(LayersResult((*chain, layer), self._layers))
        except BaseException:
            layers = [result.layers[-1] for result in results]
            results.clear()  # they hold what is removed now
            for layer in layers:
                self._layers.remove(layer)
            raise
        return list(results)

    def discard(self) -> None:
        while self._active:
            self._layers.snapshotter.remove(self._active.pop())


class ExecStep:
    """The op of one exec vertex in one build."""

    def __init__(self, vertex: Vertex, op: ExecOp, worker: Worker, build: BuildContext) -> None:
        self._vertex = vertex
        self._op = op
        self._worker = worker
        self._build = build

    async def cache_map(self, step: StepContext) -> CacheMap:
        self._check_inputs()
        self._check_entitlements()
        keyed = _keyed(self._op)
        platform = self._vertex.platform or self._worker.platform
        digest = hashlib.sha256(msgspec.json.encode((str(platform), keyed))).hexdigest()
        contents = tuple(self._content_of(index) for index in range(len(self._vertex.inputs)))
        return CacheMap(digest=digest, contents=contents, components=_components(self._op, str(platform)))

    def _check_inputs(self) -> None:
        count = len(self._vertex.inputs)
        for mount in self._op.mounts:
            if not -1 <= mount.input < count:
                raise InvalidError(f"the mount at {mount.dest} is of input {mount.input}, but the step has {count}")

    def _check_entitlements(self) -> None:
        wanted = {
            "network.host": self._op.network is NetMode.HOST,
            "security.insecure": self._op.security is SecurityMode.INSECURE,
            "device": bool(self._op.cdi_devices),
        }
        for name, needed in wanted.items():
            if needed and name not in self._build.entitlements:
                raise DeniedError(
                    f"the step needs the entitlement {name}, which this build was not given",
                    hint=f"pass `--allow {name}`, and allow it in the daemon's configuration (`entitlements`)",
                )

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
            async with self._prepared(inputs, changes) as spec:
                await self._run(step, spec)
            return await run_settled(changes.commit)
        finally:
            await run_settled(changes.discard)

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
            mounts: list[container.Mount] = []
            root: Path | None = None
            readonly_root = False
            shm_size = container.DEFAULT_SHM_SIZE
            for mount in self._op.mounts:
                if mount.type is MountType.TMPFS and mount.dest == "/dev/shm":
                    shm_size = mount.tmpfs_size or shm_size
                elif mount.type is MountType.BIND:
                    source = await self._bind(stack, mount, inputs, changes)
                    if mount.dest == "/":
                        root, readonly_root = source, mount.readonly
                    else:
                        mounts.append(container.BindMount(source, self._target(mount), readonly=mount.readonly))
                elif (other := await self._special(stack, mount, inputs)) is not None:
                    mounts.append(other)
            if root is None:
                raise InvalidError("the step has no root file system", hint="an exec op needs a mount with dest /")
            yield replace(await self._spec(root, mounts, shm_size), readonly_root=readonly_root)

    def _target(self, mount: Mount) -> str:
        return os.path.normpath(os.path.join(self._op.meta.cwd, mount.dest))

    async def _bind(self, stack: AsyncExitStack, mount: Mount, inputs: Sequence[Result], changes: Changes) -> Path:
        chain: Chain = await inputs[mount.input].chain() if mount.input >= 0 else ()
        # A root that is read-only inside is written to before, where mounts need a place.
        writable = mount.output >= 0 or not mount.readonly or mount.dest == "/"
        mounted = ExitStack()
        stack.push_async_callback(run_settled, mounted.close)

        def make() -> Path:
            active = changes.begin(chain, mount.output) if writable else None
            tree = mounted.enter_context(self._worker.layers.mount(chain, active=active))
            return _beneath(tree, mount.selector)

        return await run_settled(make)

    async def _special(self, stack: AsyncExitStack, mount: Mount, inputs: Sequence[Result]) -> container.Mount | None:
        target = self._target(mount)
        if mount.type is MountType.TMPFS:
            return container.TmpfsMount(target, size=mount.tmpfs_size)
        if mount.type is MountType.CACHE:
            return await self._cache(stack, mount, target, inputs)
        if mount.type is MountType.SECRET and mount.secret:
            data = await self._secret(mount.secret.id, mount.secret.optional)
            if data is None:
                return None
            secret = mount.secret
            return container.SecretFile(target, data, uid=secret.uid, gid=secret.gid, mode=secret.mode)
        if mount.type is MountType.SSH and mount.ssh:
            self._build.used.add(f"ssh:{mount.ssh.id}")
            socket = await self._build.requester.ssh_agent(mount.ssh.id)
            if socket is not None:
                return container.AgentSocket(socket, target, uid=mount.ssh.uid, gid=mount.ssh.gid, mode=mount.ssh.mode)
            if mount.ssh.optional:
                return None
            raise NotFoundError(
                f"the step needs the SSH agent {mount.ssh.id!r}, which this build was not given",
                hint=f"pass `--ssh {mount.ssh.id}` with a running ssh-agent, or `--ssh {mount.ssh.id}=KEYFILE`",
            )
        raise InvalidError(f"the mount at {mount.dest} is incomplete: it has no {mount.type.name.lower()} options")

    async def _cache(
        self, stack: AsyncExitStack, mount: Mount, target: str, inputs: Sequence[Result]
    ) -> container.BindMount:
        if mount.cache is None:
            raise InvalidError(f"the mount at {mount.dest} is incomplete: it has no cache options")
        fill = None
        if mount.input >= 0:
            chain = await inputs[mount.input].chain()

            def fill(directory: Path) -> None:
                with self._worker.layers.mount(chain) as tree:
                    _copy_tree(_beneath(tree, mount.selector), directory)

        directory = await stack.enter_async_context(
            self._worker.cache_mounts.acquire(mount.cache.id, mount.cache.sharing, fill)
        )
        return container.BindMount(directory, target, readonly=mount.readonly)

    async def _secret(self, id: str, optional: bool) -> bytes | None:
        self._build.used.add(f"secret:{id}")
        data = await self._build.requester.secret(id)
        if data is None and not optional:
            raise NotFoundError(
                f"the step needs the secret {id!r}, which this build was not given",
                hint=f"pass `--secret id={id},src=FILE` or `--secret id={id},env=VARIABLE`",
            )
        return data

    async def _spec(self, root: Path, mounts: Sequence[container.Mount], shm_size: int) -> ContainerSpec:
        meta = self._op.meta
        resources = self._vertex.metadata.linux_resources
        return ContainerSpec(
            root=root,
            args=meta.args,
            env=await self._environment(mounts),
            cwd=meta.cwd or "/",
            user=meta.user,
            mounts=tuple(mounts),
            hostname=meta.hostname or "buildkitsandbox",
            network={
                NetMode.UNSET: container.Network.DEFAULT,
                NetMode.HOST: container.Network.HOST,
                NetMode.NONE: container.Network.NONE,
            }[self._op.network],
            extra_hosts=tuple((entry.host, entry.ip) for entry in meta.extra_hosts),
            insecure=self._op.security is SecurityMode.INSECURE,
            shm_size=shm_size,
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
            devices=tuple(device.name for device in self._op.cdi_devices),
        )

    async def _environment(self, mounts: Sequence[container.Mount]) -> tuple[str, ...]:
        env = {name: value for name, _, value in (entry.partition("=") for entry in (DEFAULT_PATH, *self._op.meta.env))}
        agent = next((mount for mount in mounts if isinstance(mount, container.AgentSocket)), None)
        if agent is not None:
            env.setdefault("SSH_AUTH_SOCK", agent.target)
        for wanted in self._op.secret_env:
            data = await self._secret(wanted.id, wanted.optional)
            if data is not None:
                env[wanted.name] = data.decode("utf-8", "surrogateescape")
        for proxy in (self._op.meta.proxy_env, self._build.proxy):
            for name in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"):
                if proxy is not None and (value := getattr(proxy, name)):
                    env.setdefault(name.upper(), value)
                    env.setdefault(name, value)
        return tuple(f"{name}={value}" for name, value in env.items())

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
            f"the step is for {platform}, and this machine runs programs for {own} only: `apt-get install "
            "qemu-user-static binfmt-support` adds emulators, FROM --platform=$BUILDPLATFORM needs none"
        )


def _beneath(tree: Path, selector: str) -> Path:
    """A path inside a mounted tree; its symlinks are followed inside the tree."""
    path = Path(rootfs.resolve(str(tree), selector)) if selector.strip("/") else tree
    if not path.exists():
        raise NotFoundError(f'"{selector}": not found', hint="it is the source of a mount: check source= and from=")
    return path


def _copy_tree(source: Path, target: Path) -> None:
    """Files with all their attributes, the root directory's too. Blocks."""
    result = subprocess.run(
        ["cp", "-a", "--reflink=auto", f"{source}/.", target], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise StorageError(f"can't fill a cache mount: {result.stderr.strip()}")


def _is_read_only(mount: Mount) -> bool:
    return (
        mount.type is MountType.BIND
        and mount.readonly
        and mount.output < 0
        and mount.dest != "/"
        and mount.content_cache is not ContentCache.OFF
    )


def _keyed(op: ExecOp) -> ExecOp:
    """The op without what must not change its key: proxies; selectors of inputs that count by content stay, they are
    paths inside."""
    return replace(op, meta=replace(op.meta, proxy_env=None))


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
