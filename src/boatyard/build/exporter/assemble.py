"""From a chain of layers and a config to an image: config, manifest and, for several platforms, an index.

An image that stays in the local store lists its layers uncompressed: their digests are diff IDs, known by hashing
alone, so no layer has to be written (docs/adr/0003). An image that leaves has its layers as blobs in the compression
that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from boatyard.build.exporter.base import BuiltImage
from boatyard.build.exporter.options import ImageOptions
from boatyard.errors import InvalidError
from boatyard.image import digest as digests
from boatyard.image import platform as platforms
from boatyard.image import spec
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import Layer, LayerStore
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor, History, ImageConfig, Index, Manifest, RootFS
from boatyard.image.timestamp import rfc3339, seconds


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer as an image lists it. The blob is in the content store, or virtual: made from the snapshot when it is
    read."""

    descriptor: Descriptor
    diff_id: Digest
    created: float


@dataclass(frozen=True, slots=True)
class Document:
    descriptor: Descriptor
    data: bytes


@dataclass(frozen=True, slots=True)
class AssembledImage:
    """One platform: its manifest and config, to be put into the content store, and its layers."""

    manifest: Document
    config: Document
    layers: tuple[LayerBlob, ...]


Pack = Callable[[Chain], tuple[Descriptor, ...]]
"""Makes blobs of layers, wherever they go. Blocks."""


def layer_blobs(
    store: LayerStore, chain: Chain, options: ImageOptions, *, epoch: int | None, pack: Pack | None
) -> tuple[LayerBlob, ...]:
    """The layers as blobs. Without `pack` the image stays here, so that layers without a blob may be virtual.
    Blocks."""
    clamp = epoch if options.rewrite_timestamp else None
    if clamp is not None:
        return tuple(_rewritten(store, store.get(layer), options, clamp) for layer in chain)
    if pack is not None:
        blobs: tuple[Descriptor, ...] | None = pack(chain)
    elif options.compression is None:
        blobs = None
    else:
        blobs = in_store(store, options)(chain)
    diff_ids = store.diff_ids(chain)
    rows = [store.get(layer) for layer in chain]
    if blobs is None:
        # Sizes only of what was made here: what came with a blob may not even have been fetched.
        made = iter(store.describe(tuple(row.id for row in rows if row.origin is None)))
        blobs = tuple(row.origin or _virtual(*next(made)) for row in rows)
    return tuple(
        LayerBlob(blob, diff_id, row.created) for blob, diff_id, row in zip(blobs, diff_ids, rows, strict=True)
    )


def in_store(store: LayerStore, options: ImageOptions) -> Pack:
    """Blobs are put into the content store."""
    return lambda chain: store.blobs(chain, options.blob_compression, force=options.force_compression)


def _rewritten(store: LayerStore, row: Layer, options: ImageOptions, clamp: int) -> LayerBlob:
    """With no time in it later than the epoch. Layers that came with a base image keep their bytes."""
    if row.origin is None:
        descriptor, diff_id = store.rewritten(row.id, options.blob_compression, max_mtime=clamp)
    else:
        descriptor = store.blob(row.id, options.blob_compression, force=options.force_compression)
        (diff_id,) = store.diff_ids((row.id,))
    return LayerBlob(descriptor, diff_id, row.created)


def _virtual(diff_id: Digest, size: int) -> Descriptor:
    return Descriptor(media_type=spec.OCI_LAYER, digest=diff_id, size=size)


def image(built: BuiltImage, blobs: Sequence[LayerBlob], options: ImageOptions, *, indexed: bool) -> AssembledImage:
    """Config and manifest. Pure. `indexed`: an index will name the manifest, with its platform."""
    config_data = spec.encode(_config(built, blobs, options))
    config = Descriptor(
        media_type=spec.OCI_CONFIG if options.oci else spec.DOCKER_CONFIG,
        digest=digests.of_bytes(config_data),
        size=len(config_data),
    )
    media_type = spec.OCI_MANIFEST if options.oci else spec.DOCKER_MANIFEST
    manifest_data = spec.encode(
        Manifest(
            schema_version=2,
            media_type=media_type,
            config=config,
            layers=tuple(_as_listed(blob.descriptor, options.oci) for blob in blobs),
            annotations=_annotations(options, "manifest", str(built.platform)),
        )
    )
    manifest = Descriptor(
        media_type=media_type,
        digest=digests.of_bytes(manifest_data),
        size=len(manifest_data),
        platform=built.platform if indexed else None,
        annotations=_annotations(options, "manifest-descriptor", str(built.platform)),
    )
    return AssembledImage(Document(manifest, manifest_data), Document(config, config_data), tuple(blobs))


def index(images: Sequence[AssembledImage], options: ImageOptions) -> Document:
    """An image index of several platforms."""
    media_type = spec.OCI_INDEX if options.oci else spec.DOCKER_INDEX
    data = spec.encode(
        Index(
            schema_version=2,
            media_type=media_type,
            manifests=tuple(each.manifest.descriptor for each in images),
            annotations=_annotations(options, "index", ""),
        )
    )
    return Document(
        Descriptor(
            media_type=media_type,
            digest=digests.of_bytes(data),
            size=len(data),
            annotations=_annotations(options, "index-descriptor", ""),
        ),
        data,
    )


_TO_DOCKER = {
    spec.OCI_LAYER: spec.DOCKER_LAYER,
    spec.OCI_LAYER_GZIP: spec.DOCKER_LAYER_GZIP,
    spec.OCI_LAYER_ZSTD: spec.DOCKER_LAYER_ZSTD,
}
_TO_OCI = {docker: oci for oci, docker in _TO_DOCKER.items()}


def _as_listed(descriptor: Descriptor, oci: bool) -> Descriptor:
    table = _TO_OCI if oci else _TO_DOCKER
    return msgspec.structs.replace(descriptor, media_type=table.get(descriptor.media_type, descriptor.media_type))


def _annotations(options: ImageOptions, level: str, platform: str) -> dict[str, str]:
    return {
        annotation.key: annotation.value
        for annotation in options.annotations
        if annotation.level == level
        and (not annotation.platform or platforms.parse(annotation.platform) == platforms.parse(platform))
    }


def _config(built: BuiltImage, blobs: Sequence[LayerBlob], options: ImageOptions) -> ImageConfig:
    epoch = options.epoch if options.epoch is not None else built.epoch
    history = _history(built.config.history, blobs, epoch)
    created = (
        rfc3339(epoch) if epoch is not None else max((entry.created for entry in history), key=seconds, default="")
    )
    return msgspec.structs.replace(
        built.config,
        rootfs=RootFS(diff_ids=tuple(blob.diff_id for blob in blobs)),
        history=history,
        created=created or built.config.created,
    )


def _history(entries: Sequence[History], blobs: Sequence[LayerBlob], epoch: int | None) -> tuple[History, ...]:
    """One entry a layer, in order, and the empty ones between. A layer was created when its step ran, so that building
    again from the cache makes the same image. Steps that made no layer of their own are marked empty; layers beyond the
    history get an entry without a command."""
    left = sum(not entry.empty_layer for entry in entries)
    history = []
    layers = iter(blobs)
    surplus = left - len(blobs)
    if surplus > 0:
        # More steps claim a layer than there are: the first of the build's own gave none (a merge of nothing, an empty
        # base).
        entries = _without_layers(entries, surplus)
    last = ""
    for entry in entries:
        if not entry.empty_layer and (blob := next(layers, None)):
            last = entry.created or rfc3339(blob.created if epoch is None else min(blob.created, epoch))
        history.append(entry if entry.created else msgspec.structs.replace(entry, created=last))
    for blob in layers:
        last = rfc3339(blob.created if epoch is None else min(blob.created, epoch))
        history.append(History(created=last, comment="boatyard"))
    first = next((entry.created for entry in history if entry.created), "")
    return tuple(entry if entry.created else msgspec.structs.replace(entry, created=first) for entry in history)


def _without_layers(entries: Sequence[History], count: int) -> Sequence[History]:
    changed = list(entries)
    for position, entry in enumerate(changed):
        if count and not entry.empty_layer and not entry.created:
            changed[position] = msgspec.structs.replace(entry, empty_layer=True)
            count -= 1
    if count:
        raise InvalidError(f"the image's history names {count} more layers than it has")
    return changed


def response(names: Sequence[Reference], target: Descriptor, config: Descriptor | None) -> Mapping[str, str]:
    """What clients are told of an exported image, under BuildKit's keys."""
    told = {
        "containerimage.digest": target.digest,
        "containerimage.descriptor": spec.encode(target).decode(),
    }
    if config is not None:
        told["containerimage.config.digest"] = config.digest
    if names:
        told["image.name"] = ",".join(map(str, names))
    return told
