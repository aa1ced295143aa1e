"""Run one container of an image and remove it when it ends (`boat run --rm`)."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from boatyard.errors import InvalidError, NotFoundError
from boatyard.image import documents
from boatyard.image.interruption import run_settled
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, RunConfig
from boatyard.image.unpacking import image_chain
from boatyard.runtime import container
from boatyard.runtime.container import (
    ContainerSpec,
    Executor,
    StartedReceiver,
    Stdio,
    TerminalReceiver,
    WarningReceiver,
)

UNMOUNTED = Path("/nonexistent")
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is said on top of the image's own config. `entrypoint` None keeps the image's; `volumes` are
    SOURCE:TARGET[:ro], `tmpfs` TARGET[:size=..,mode=..]."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    network: container.Network = container.Network.DEFAULT
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = container.DEFAULT_SHM_SIZE
    ulimits: tuple[container.Limit, ...] = ()
    resources: container.Resources = field(default_factory=container.Resources)
    read_only: bool = False
    privileged: bool = False
    init: bool = False
    trust_host_ca: bool = False
    terminal: bool = False


class Runner:
    """One per daemon."""

    def __init__(self, layers: LayerStore, executor: Executor) -> None:
        self._layers = layers
        self._executor = executor

    async def run(
        self,
        target: Descriptor,
        platform: Platform | None,
        options: RunOptions,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: StartedReceiver | None = None,
        on_warning: WarningReceiver | None = None,
    ) -> int:
        """The process's exit code. Its changes to the root file system are thrown away, however it ends."""
        image = await asyncio.to_thread(documents.read_image, self._layers.content, target, platform)
        spec = specification(image.config.config, options)
        mounted = ExitStack()
        try:
            root = await run_settled(self._mount, mounted, image)
            return await self._executor.run(replace(spec, root=root), stdio, on_start=on_start, on_warning=on_warning)
        finally:
            await run_settled(mounted.close)

    def _mount(self, stack: ExitStack, image: documents.ImageDocuments) -> Path:
        chain = image_chain(self._layers, image.manifest.layers, image.config.rootfs.diff_ids)
        self._layers.hold(chain)
        stack.callback(self._layers.let_go, chain)
        snapshotter = self._layers.snapshotter
        active = snapshotter.prepare()
        stack.callback(snapshotter.remove, active)
        return stack.enter_context(self._layers.mount(chain, active=active))


def specification(config: RunConfig, options: RunOptions) -> ContainerSpec:
    """The container of an image's config and what the caller says; its root is still to be mounted."""
    entrypoint = options.entrypoint if options.entrypoint is not None else config.entrypoint or ()
    # A replaced entrypoint drops the image's command: it was meant as arguments of the old one.
    command = options.command or (() if options.entrypoint is not None else config.cmd or ())
    args = (*entrypoint, *command)
    if not args:
        raise InvalidError("there is no command to run: the image has none", hint="name one: boat run IMAGE COMMAND")
    hostname = options.hostname or os.urandom(6).hex()
    mounts: tuple[container.Mount, ...] = (*map(_volume, options.volumes), *map(_tmpfs, options.tmpfs))
    targets = Counter(mount.target.rstrip("/") for mount in mounts)
    for target, count in targets.items():
        if count > 1:
            raise InvalidError(f"there are {count} mounts at {target}", hint="keep one of them")
    return ContainerSpec(
        root=UNMOUNTED,
        args=args,
        env=_environment(config.env, options, hostname),
        cwd=options.working_dir or config.working_dir or "/",
        user=options.user or config.user,
        mounts=mounts,
        hostname=hostname,
        hostname_file=True,
        network=options.network,
        extra_hosts=options.extra_hosts,
        insecure=options.privileged,
        shm_size=options.shm_size or container.DEFAULT_SHM_SIZE,
        ulimits=options.ulimits,
        resources=options.resources,
        readonly_root=options.read_only,
        trust_host_ca=options.trust_host_ca,
        init=options.init,
    )


def _environment(image: Sequence[str], options: RunOptions, hostname: str) -> tuple[str, ...]:
    merged = dict(entry.partition("=")[::2] for entry in (DEFAULT_PATH, f"HOSTNAME={hostname}"))
    if options.terminal:
        merged["TERM"] = "xterm"
    for entry in (*image, *options.env):
        name, _, value = entry.partition("=")
        merged[name] = value
    return tuple(f"{name}={value}" for name, value in merged.items())


def _volume(text: str) -> container.BindMount:
    source, _, rest = text.partition(":")
    target, *flags = rest.split(":")
    if not target.startswith("/") or not source.startswith("/") or flags not in ([], ["ro"], ["rw"]):
        raise InvalidError(
            f"invalid volume {text!r}", hint="write /host/directory:/container/directory, with :ro to protect it"
        )
    if not os.path.exists(source):
        raise NotFoundError(f"the volume's source {source} doesn't exist", hint="make it first: mkdir")
    return container.BindMount(Path(source), target, readonly=flags == ["ro"])


def _tmpfs(text: str) -> container.TmpfsMount:
    target, _, rest = text.partition(":")
    size, mode = 0, 0o1777
    for option in filter(None, rest.split(",")):
        if match := re.fullmatch(r"size=(\d+)([kmg]?)b?", option, re.IGNORECASE):
            size = int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]
        elif match := re.fullmatch(r"mode=([0-7]{1,4})", option):
            mode = int(match[1], 8)
        else:
            raise InvalidError(
                f"invalid option {option!r} of the tmpfs {text!r}", hint="there are size=BYTES[k|m|g] and mode=OCTAL"
            )
    if not target.startswith("/"):
        raise InvalidError(f"invalid tmpfs {text!r}", hint="write /container/directory[:size=64m,mode=1777]")
    return container.TmpfsMount(target, size=size, mode=mode)
