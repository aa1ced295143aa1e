"""Run one container of an image and remove it when it ends (`boat run --rm`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from boatyard.errors import InvalidError
from boatyard.image import documents
from boatyard.image.layer.chain import Chain
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

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is said on top of the image's own config. `entrypoint` None keeps the image's; `volumes` are
    SOURCE:TARGET[:ro]."""

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
        """The process's exit code. Its changes to the root file system are thrown away."""
        image = documents.read_image(self._layers.content, target, platform)
        chain = await asyncio.to_thread(image_chain, self._layers, image.manifest.layers, image.config.rootfs.diff_ids)
        with ExitStack() as stack:
            root = await asyncio.to_thread(self._mount, stack, chain)
            spec = specification(image.config.config, options, root)
            try:
                return await self._executor.run(spec, stdio, on_start=on_start, on_warning=on_warning)
            finally:
                await asyncio.to_thread(stack.close)

    def _mount(self, stack: ExitStack, chain: Chain) -> Path:
        snapshotter = self._layers.snapshotter
        active = snapshotter.prepare()
        stack.callback(snapshotter.remove, active)
        return stack.enter_context(self._layers.mount(chain, active=active))


def specification(config: RunConfig, options: RunOptions, root: Path) -> ContainerSpec:
    """The container of an image's config and what the caller says."""
    entrypoint = options.entrypoint if options.entrypoint is not None else config.entrypoint or ()
    # A replaced entrypoint drops the image's command: it was meant as arguments of the old one.
    command = options.command or (() if options.entrypoint is not None else config.cmd or ())
    args = (*entrypoint, *command)
    if not args:
        raise InvalidError("there is no command to run: the image has none", hint="name one: boat run IMAGE COMMAND")
    hostname = options.hostname or os.urandom(6).hex()
    return ContainerSpec(
        root=root,
        args=args,
        env=_environment(config.env, options, hostname),
        cwd=options.working_dir or config.working_dir or "/",
        user=options.user or config.user,
        mounts=(*_volumes(options.volumes), *(container.TmpfsMount(target) for target in options.tmpfs)),
        hostname=hostname,
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


def _volumes(volumes: Sequence[str]) -> list[container.BindMount]:
    mounts = []
    for text in volumes:
        source, _, rest = text.partition(":")
        target, *flags = rest.split(":")
        if not target.startswith("/") or not source.startswith("/") or flags not in ([], ["ro"], ["rw"]):
            raise InvalidError(
                f"invalid volume {text!r}", hint="write /host/directory:/container/directory, with :ro to protect it"
            )
        if not os.path.exists(source):
            raise InvalidError(f"the volume's source {source} doesn't exist", hint="make it first")
        mounts.append(container.BindMount(Path(source), target, readonly=flags == ["ro"]))
    return mounts
