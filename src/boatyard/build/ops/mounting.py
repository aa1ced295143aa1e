"""Mounts of the build graph made ready for a container: results become directories, secrets files, agents sockets.

It is the same for a step that runs, a shell in its state, and a container that a frontend asks for.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from boatyard.build.llb.graph import Mount, MountType, ProxyEnv, SecretEnv
from boatyard.build.ops.changes import Changes
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.result import Result
from boatyard.errors import InvalidError, NotFoundError, StorageError
from boatyard.image.interruption import run_settled
from boatyard.image.layer.chain import Chain
from boatyard.runtime import container, rootfs

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


@dataclass(slots=True)
class Mounted:
    """What a container is made of. `places`: where the files of each mount are on this host, by the mount's number."""

    root: Path = Path("/nonexistent")
    readonly_root: bool = False
    mounts: list[container.Mount] = field(default_factory=list)
    shm_size: int = container.DEFAULT_SHM_SIZE
    places: dict[int, Path] = field(default_factory=dict)

    @property
    def agent(self) -> container.AgentSocket | None:
        return next((mount for mount in self.mounts if isinstance(mount, container.AgentSocket)), None)


class Mounting:
    """Makes mounts ready for one build's steps."""

    def __init__(self, worker: Worker, build: BuildContext) -> None:
        self._worker = worker
        self._build = build

    async def prepare(
        self, mounts: Sequence[Mount], inputs: Sequence[Result], cwd: str, changes: Changes, stack: AsyncExitStack
    ) -> Mounted:
        """Everything is as it was once `stack` is closed, but for the changes, which the caller commits or discards
        after that. `cwd`: what relative targets are relative to."""
        mounted = Mounted()
        has_root = False
        for number, mount in enumerate(mounts):
            if mount.type is MountType.TMPFS and mount.dest == "/dev/shm":
                mounted.shm_size = mount.tmpfs_size or mounted.shm_size
            elif mount.type is MountType.BIND:
                source = mounted.places[number] = await self._bind(stack, number, mount, inputs, changes)
                if mount.dest == "/":
                    mounted.root, mounted.readonly_root, has_root = source, mount.readonly, True
                else:
                    target = _target(mount, cwd)
                    mounted.mounts.append(container.BindMount(source, target, readonly=mount.readonly))
            elif (other := await self._special(stack, mount, _target(mount, cwd), inputs)) is not None:
                mounted.mounts.append(other)
                if isinstance(other, container.BindMount):
                    mounted.places[number] = other.source
        if not has_root:
            raise InvalidError("the step has no root file system", hint="an exec op needs a mount with dest /")
        return mounted

    async def _bind(
        self, stack: AsyncExitStack, number: int, mount: Mount, inputs: Sequence[Result], changes: Changes
    ) -> Path:
        chain: Chain = await inputs[mount.input].chain() if mount.input >= 0 else ()
        # A root that is read-only inside is written to before, where mounts need a place.
        writable = mount.output >= 0 or not mount.readonly or mount.dest == "/"
        opened = ExitStack()
        stack.push_async_callback(run_settled, opened.close)

        def make() -> Path:
            active = changes.begin(number, chain, mount.output) if writable else None
            tree = opened.enter_context(self._worker.layers.mount(chain, active=active))
            return _beneath(tree, mount.selector)

        return await run_settled(make)

    async def _special(
        self, stack: AsyncExitStack, mount: Mount, target: str, inputs: Sequence[Result]
    ) -> container.Mount | None:
        if mount.type is MountType.TMPFS:
            return container.TmpfsMount(target, size=mount.tmpfs_size)
        if mount.type is MountType.CACHE:
            return await self._cache(stack, mount, target, inputs)
        if mount.type is MountType.SECRET and mount.secret:
            data = await self.secret(mount.secret.id, mount.secret.optional)
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

    async def secret(self, id: str, optional: bool) -> bytes | None:
        self._build.used.add(f"secret:{id}")
        data = await self._build.requester.secret(id)
        if data is None and not optional:
            raise NotFoundError(
                f"the step needs the secret {id!r}, which this build was not given",
                hint=f"pass `--secret id={id},src=FILE` or `--secret id={id},env=VARIABLE`",
            )
        return data

    async def environment(
        self,
        env: Sequence[str],
        secrets: Sequence[SecretEnv],
        agent: container.AgentSocket | None,
        proxy: ProxyEnv | None = None,
    ) -> tuple[str, ...]:
        """What a process gets: its own variables, secrets, the agent's socket, proxies."""
        merged = {name: value for name, _, value in (entry.partition("=") for entry in (DEFAULT_PATH, *env))}
        if agent is not None:
            merged.setdefault("SSH_AUTH_SOCK", agent.target)
        for wanted in secrets:
            data = await self.secret(wanted.id, wanted.optional)
            if data is not None:
                merged[wanted.name] = data.decode("utf-8", "surrogateescape")
        for known in (proxy, self._build.proxy):
            for name in _PROXIES:
                if known is not None and (value := getattr(known, name)):
                    merged.setdefault(name.upper(), value)
                    merged.setdefault(name, value)
        return tuple(f"{name}={value}" for name, value in merged.items())


def _target(mount: Mount, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, mount.dest))


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
