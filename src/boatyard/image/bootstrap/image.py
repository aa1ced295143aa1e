"""`boat bootstrap NAME`: which base image a name stands for, and how what was made becomes an image under that name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image.bootstrap import busybox, debian
from boatyard.image.bootstrap.files import LayerFiles
from boatyard.image.interruption import run_settled
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.single import make_single
from boatyard.image.spec import Descriptor, History, RunConfig
from boatyard.image.timestamp import rfc3339


@dataclass(frozen=True, slots=True)
class BootstrapRequest:
    """`epoch` is SOURCE_DATE_EPOCH; None takes the current time."""

    reference: Reference
    platform: Platform
    suite: str = ""
    variant: str = "minbase"
    mirror: str = ""
    include: tuple[str, ...] = ()
    epoch: int | None = None
    runnable: bool = True
    """Whether programs of the platform run here."""


async def bootstrap(request: BootstrapRequest, layers: LayerStore, log: Callable[[bytes], None]) -> Descriptor:
    """Make the base image that `request.reference` stands for. The descriptor of its manifest, for the caller to
    name."""
    snapshotter = layers.snapshotter
    active = snapshotter.prepare()
    try:
        files = LayerFiles(snapshotter.directory(active))
        config, command = await _fill(request, files, log)
        epoch = request.epoch if request.epoch is not None else int(time.time())
        await run_settled(files.clamp_times, epoch)
    except BaseException:
        await run_settled(snapshotter.remove, active)
        raise
    entry = History(created=rfc3339(epoch), created_by=command, comment="boat bootstrap")
    target, _ = await run_settled(make_single, layers, active, request.platform, config, entry)
    return target


async def _fill(request: BootstrapRequest, files: LayerFiles, log: Callable[[bytes], None]) -> tuple[RunConfig, str]:
    """The run config, and what stands in the history."""
    name = request.reference.path.rpartition("/")[2]
    if name == "busybox":
        return await busybox.make(request.platform, files, request.epoch, log), "busybox (static)"
    if name == "debian":
        if not request.runnable:
            raise UnsupportedError(
                f"Debian's packages are configured by programs for {request.platform}, which don't run here",
                hint=f"boat platform install {request.platform.architecture}",
            )
        recipe = debian.recipe(
            request.reference,
            request.platform,
            suite=request.suite,
            variant=request.variant,
            mirror=request.mirror,
            include=request.include,
        )
        packages = f" with {', '.join(recipe.include)}" if recipe.include else ""
        return await debian.make(
            recipe, files, request.epoch, log
        ), f"Debian {recipe.suite} ({recipe.variant}){packages}"
    raise InvalidError(
        f"there is no recipe for a base image called {request.reference.familiar()}",
        hint="try debian:bookworm-slim, debian:bookworm or busybox",
    )
