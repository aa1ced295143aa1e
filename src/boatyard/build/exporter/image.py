"""The `image` exporter: puts the result into the local image store, under its names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from boatyard.build.exporter import assemble, options
from boatyard.build.exporter.assemble import AssembledImage, Document
from boatyard.build.exporter.base import BuiltImage, Exported, ExportRequest
from boatyard.build.exporter.options import ImageOptions
from boatyard.build.solver.types import StepContext
from boatyard.build.source.image import Keys, told_by
from boatyard.build.source.registry import Asked
from boatyard.image import documents
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.image.store import ImageStore
from boatyard.registry.hub import Hub

PackUntil = Callable[[Stop, Chain], tuple[Descriptor, ...]]
"""An `assemble.Pack` that can be stopped."""


class ImageExporter:
    """One per daemon."""

    def __init__(self, images: ImageStore, layers: LayerStore, hub: Hub) -> None:
        self._images = images
        self._layers = layers
        self._hub = hub

    def check(self, attrs: Mapping[str, str]) -> None:
        options.parse(attrs, oci=True)

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported:
        wanted = options.parse(request.attrs, oci=True)
        assembled = [
            await assembled_image(
                self._layers,
                step,
                built,
                wanted,
                indexed=request.multi_platform,
                pack=partial(self._pack, wanted) if wanted.push else None,
            )
            for built in request.images
        ]
        target, config = await asyncio.to_thread(self._keep, assembled, wanted, request.multi_platform)
        for name in wanted.names:
            self._images.put(name, target, built=True)
            step.status(f"naming to {name}", done=True)
        if not wanted.names and not self._images.named(target.digest):
            self._images.put(None, target, built=True)
        if wanted.push:
            await self._push(step, wanted, target, request.keys)
        return Exported(assemble.response(wanted.names, target, config))

    def _pack(self, wanted: ImageOptions, stop: Stop, chain: Chain) -> tuple[Descriptor, ...]:
        return self._layers.published(chain, wanted.blob_compression, force=wanted.force_compression)

    async def _push(self, step: StepContext, wanted: ImageOptions, target: Descriptor, keys: Keys | None) -> None:
        assert keys is not None
        registries = self._hub.registries(Asked(keys))
        told = told_by(step, "pushing ")
        for name in wanted.names:
            step.status(f"pushing manifest for {name}@{target.digest}")
            tags = () if wanted.push_by_digest or name.tag is None else (name.tag,)

            def work(stop: Stop, name: Reference = name, tags: tuple[str, ...] = tags) -> None:
                repository = self._hub.repository(registries, name, stop)
                self._hub.push(repository, tags, target, self._layers, told)

            await run_interruptible(work)
            step.status(f"pushing manifest for {name}@{target.digest}", done=True)

    def _keep(
        self, images: Sequence[AssembledImage], wanted: ImageOptions, multi_platform: bool
    ) -> tuple[Descriptor, Descriptor | None]:
        for each in images:
            keep(self._layers, each.config)
            keep(self._layers, each.manifest)
        if not multi_platform and len(images) == 1:
            return images[0].manifest.descriptor, images[0].config.descriptor
        document = assemble.index(images, wanted)
        keep(self._layers, document)
        return document.descriptor, None


def keep(layers: LayerStore, document: Document) -> None:
    """Put a document into the content store. One that is there already is young again, so that no garbage collection
    takes it before it is named. Blocks."""
    documents.write(layers.content, document.data, document.descriptor.media_type)


async def assembled_image(
    layers: LayerStore,
    step: StepContext,
    built: BuiltImage,
    wanted: ImageOptions,
    *,
    indexed: bool,
    pack: PackUntil | None = None,
) -> AssembledImage:
    """Layers, config and manifest of one platform; remembers the chain, so that the image is found again by its diff
    IDs. Without `pack` the image stays in the local store."""
    chain: Chain = await built.result.chain() if built.result else ()
    epoch = wanted.epoch if wanted.epoch is not None else built.epoch
    step.status("exporting layers")

    def make(stop: Stop) -> tuple[assemble.LayerBlob, ...]:
        packing = None if pack is None else partial(pack, stop)
        return assemble.layer_blobs(layers, chain, wanted, epoch=epoch, pack=packing)

    blobs = await run_interruptible(make)
    step.status("exporting layers", done=True)
    if not wanted.rewrite_timestamp:
        await asyncio.to_thread(layers.record_chain, chain)
    made = assemble.image(built, blobs, wanted, indexed=indexed)
    step.status(f"exporting manifest {made.manifest.descriptor.digest}", done=True)
    step.status(f"exporting config {made.config.descriptor.digest}", done=True)
    return made
