"""`boat bootstrap NAME`: which base image a name stands for, and how what was made becomes an image under that name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from boatyard.errors import InvalidError
from boatyard.image import documents, spec
from boatyard.image.bootstrap import busybox, debian
from boatyard.image.bootstrap.files import LayerFiles
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor, History, ImageConfig, Manifest, RootFS, RunConfig
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


async def bootstrap(request: BootstrapRequest, layers: LayerStore, log: Callable[[bytes], None]) -> Descriptor:
    """Make the base image that `request.reference` stands for. The descriptor of its manifest, for the caller to
    name."""
    snapshotter = layers.snapshotter
    active = snapshotter.prepare()
    try:
        files = LayerFiles(snapshotter.directory(active))
        config, command = await _fill(request, files, log)
        epoch = request.epoch if request.epoch is not None else int(time.time())
        await asyncio.to_thread(files.clamp_times, epoch)
        layer = await asyncio.to_thread(layers.add, active)
    except BaseException:
        await asyncio.to_thread(snapshotter.remove, active)
        raise
    ((diff_id, size),) = await asyncio.to_thread(layers.describe, (layer,))
    created = rfc3339(epoch)
    document = ImageConfig(
        architecture=request.platform.architecture,
        os=request.platform.os,
        variant=request.platform.variant,
        created=created,
        config=config,
        rootfs=RootFS(diff_ids=(diff_id,)),
        history=(History(created=created, created_by=command, comment="boat bootstrap"),),
    )
    config_descriptor = documents.write(layers.content, spec.encode(document), spec.OCI_CONFIG)
    manifest = Manifest(
        schema_version=2,
        media_type=spec.OCI_MANIFEST,
        config=config_descriptor,
        layers=(Descriptor(media_type=spec.OCI_LAYER, digest=diff_id, size=size),),
    )
    target = documents.write(layers.content, spec.encode(manifest), spec.OCI_MANIFEST)
    layers.record_chain((layer,))
    return target


async def _fill(request: BootstrapRequest, files: LayerFiles, log: Callable[[bytes], None]) -> tuple[RunConfig, str]:
    """The run config, and what stands in the history."""
    name = request.reference.path.rpartition("/")[2]
    if name == "busybox":
        return await busybox.make(request.platform, files, request.epoch, log), "busybox (static)"
    if name == "debian":
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
