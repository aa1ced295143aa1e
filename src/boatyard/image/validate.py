"""Check an image against every invariant of its specification: for tests, and for people who distrust a disk.

Everything is read: documents, and layers down to the last entry of their tars. What is wrong comes back as a list, not
as an exception: one damaged layer shouldn't hide another.

Specification: OCI image-spec, descriptor.md, manifest.md, image-index.md, config.md, layer.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from boatyard.errors import BoatyardError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import platform as platforms
from boatyard.image.archive.contents import LayerSource, StoredLayers
from boatyard.image.archive.tap import tapped
from boatyard.image.content.store import Provider
from boatyard.image.digest import Digest
from boatyard.image.layer import compression
from boatyard.image.layer.tarstream import TarReader
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, ImageConfig, Manifest

_CHUNK = 1 << 20
_OCI_LAYERS = frozenset({spec.OCI_LAYER, spec.OCI_LAYER_GZIP, spec.OCI_LAYER_ZSTD})
_DOCKER_LAYERS = frozenset(
    {spec.DOCKER_LAYER, spec.DOCKER_LAYER_GZIP, spec.DOCKER_LAYER_ZSTD, spec.DOCKER_LAYER_FOREIGN}
)
_FAMILIES = {
    spec.OCI_MANIFEST: (spec.OCI_CONFIG, _OCI_LAYERS),
    spec.DOCKER_MANIFEST: (spec.DOCKER_CONFIG, _DOCKER_LAYERS),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one document or layer."""

    digest: Digest
    text: str

    def __str__(self) -> str:
        return f"{self.digest}: {self.text}"


def validate_image(
    provider: Provider,
    target: Descriptor,
    *,
    layers: LayerSource | None = None,
    all_platforms: bool = False,
    contents: bool = True,
) -> list[Problem]:
    """What is wrong with an image; [] when nothing is. Layers come from `layers`, or from the provider. Platforms that
    aren't there count as wrong with `all_platforms`, or when there are no others. `contents=False` leaves layers
    unread."""
    source = layers or StoredLayers(provider)
    if target.media_type in spec.MANIFESTS:
        return list(_check_manifest(provider, target, source, contents))
    return list(_check_index(provider, target, source, all_platforms, contents))


def _check_index(
    provider: Provider, target: Descriptor, source: LayerSource, all_platforms: bool, contents: bool
) -> Iterator[Problem]:
    try:
        index = documents.read_index(provider, target)
        entries = list(documents.image_manifests(provider, target))
    except BoatyardError as error:
        yield Problem(target.digest, error.message)
        return
    yield from _check_own_type(target, index.media_type, index.schema_version)
    missing = []
    for entry in entries:
        try:
            documents.read_bytes(provider, entry)
        except NotFoundError:
            missing.append(
                Problem(entry.digest, f"the manifest for {entry.platform or 'an unknown platform'} is missing")
            )
            continue
        except BoatyardError as error:
            yield Problem(entry.digest, error.message)
            continue
        yield from _check_manifest(provider, entry, source, contents)
    if all_platforms or len(missing) == len(entries):
        yield from missing
    if not entries:
        yield Problem(target.digest, "the index names no image")


def _check_manifest(provider: Provider, target: Descriptor, source: LayerSource, contents: bool) -> Iterator[Problem]:
    try:
        manifest = documents.read_manifest(provider, target)
        config = documents.read_config(provider, manifest)
    except BoatyardError as error:
        yield Problem(target.digest, error.message)
        return
    yield from _check_own_type(target, manifest.media_type, manifest.schema_version)
    yield from _check_media_types(target, manifest)
    yield from _check_config(manifest, config, target.platform)
    diff_ids: tuple[Digest | None, ...] = config.rootfs.diff_ids
    if len(diff_ids) != len(manifest.layers):
        diff_ids = (None,) * len(manifest.layers)
    if contents:
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            yield from _check_layer(layer, diff_id, source)


def _check_own_type(target: Descriptor, media_type: str, schema_version: int) -> Iterator[Problem]:
    if media_type and media_type != target.media_type:
        yield Problem(target.digest, f"it calls itself {media_type!r}, its descriptor says {target.media_type!r}")
    if schema_version != 2:
        yield Problem(target.digest, f"its schema version is {schema_version}, not 2")


def _check_media_types(target: Descriptor, manifest: Manifest) -> Iterator[Problem]:
    config_type, layer_types = _FAMILIES[target.media_type]
    if manifest.config.media_type != config_type:
        yield Problem(target.digest, f"its config is of type {manifest.config.media_type!r}, not {config_type!r}")
    for layer in manifest.layers:
        if layer.media_type not in layer_types:
            yield Problem(
                layer.digest, f"a layer of type {layer.media_type!r} doesn't belong into {target.media_type!r}"
            )


def _check_config(manifest: Manifest, config: ImageConfig, platform: Platform | None) -> Iterator[Problem]:
    digest = manifest.config.digest
    if not config.os or not config.architecture:
        yield Problem(digest, "the config names no platform")
    own = documents.config_platform(config)
    if platform is not None and (own.os, own.architecture, own.variant) != _normal(platform):
        yield Problem(digest, f"the config is for {own}, the index says {platform}")
    if config.rootfs.type != "layers":
        yield Problem(digest, f"the root file system is of type {config.rootfs.type!r}, not 'layers'")
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        yield Problem(
            digest,
            f"the config names {len(config.rootfs.diff_ids)} diff IDs, the manifest {len(manifest.layers)} layers",
        )
    told = sum(not entry.empty_layer for entry in config.history)
    if config.history and told != len(manifest.layers):
        yield Problem(digest, f"the history tells of {told} layers, the manifest of {len(manifest.layers)}")


def _normal(platform: Platform) -> tuple[str, str, str]:
    normal = platforms.normalise(platform.os, platform.architecture, platform.variant)
    return normal.os, normal.architecture, normal.variant


def _check_layer(layer: Descriptor, diff_id: Digest | None, source: LayerSource) -> Iterator[Problem]:
    try:
        with source.open_layer(layer, diff_id) as stream:
            found = _digest_of_tar(stream)
    except BoatyardError as error:
        yield Problem(layer.digest, error.message)
        return
    if diff_id is not None and found != diff_id:
        yield Problem(layer.digest, f"the layer's diff ID is {found}, the config says {diff_id}")


def _digest_of_tar(stream: BinaryIO) -> Digest:
    """Read a layer to its end, as stored and as unpacked."""
    with compression.open_decompressed(stream) as plain:
        hasher = hashlib.sha256()
        reader = TarReader(tapped(plain, hasher.update))
        for _ in reader:
            pass
        reader.drain()
    while stream.read(_CHUNK):
        pass
    return digests.of_hash(hasher)
