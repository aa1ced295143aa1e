"""Changed images: pure functions from an image's documents to those of a new image.

Nothing is read or stored here; `store` at the end puts the result into a content store. A config that is changed is
encoded anew and a new image comes of it; the one it was made from is untouched.

Specification: OCI image-spec, manifest.md, config.md ("Changeset" and "History"); Docker's image manifest v2 schema 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.content.store import Ingester
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor, History, ImageConfig, Index, Manifest, RootFS, RunConfig

TO_DOCKER = {
    spec.OCI_INDEX: spec.DOCKER_INDEX,
    spec.OCI_MANIFEST: spec.DOCKER_MANIFEST,
    spec.OCI_CONFIG: spec.DOCKER_CONFIG,
    spec.OCI_LAYER: spec.DOCKER_LAYER,
    spec.OCI_LAYER_GZIP: spec.DOCKER_LAYER_GZIP,
    spec.OCI_LAYER_ZSTD: spec.DOCKER_LAYER_ZSTD,
}
"""Media types that have a twin."""
TO_OCI = {docker: oci for oci, docker in TO_DOCKER.items()}


@dataclass(frozen=True, slots=True)
class ImageView:
    """One platform of an image: a manifest and the config it names."""

    manifest: Manifest
    config: ImageConfig


@dataclass(frozen=True, slots=True)
class AddedLayer:
    """A layer to put on top of an image. `history` says where it came from."""

    descriptor: Descriptor
    diff_id: Digest
    history: History


def new(config: ImageConfig) -> ImageView:
    """An image without layers. The layers and the history of the config are left out."""
    config = msgspec.structs.replace(config, rootfs=RootFS(), history=())
    empty = Descriptor(media_type=spec.OCI_CONFIG, digest=digests.of_bytes(b""), size=0)
    manifest = Manifest(schema_version=2, media_type=spec.OCI_MANIFEST, config=empty, layers=())
    return with_config(ImageView(manifest, config), config)


def append(image: ImageView, added: Sequence[AddedLayer], *, created: str = "") -> ImageView:
    """With more layers on top. `created` becomes the image's age, unless it is empty."""
    config = msgspec.structs.replace(
        image.config,
        created=created or image.config.created,
        rootfs=RootFS(diff_ids=image.config.rootfs.diff_ids + tuple(layer.diff_id for layer in added)),
        history=image.config.history + tuple(layer.history for layer in added),
    )
    kinds = TO_DOCKER if _is_docker(image.manifest) else TO_OCI
    layers = image.manifest.layers + tuple(_retyped(layer.descriptor, kinds) for layer in added)
    return _renamed(msgspec.structs.replace(image.manifest, layers=layers), config)


def with_config(image: ImageView, config: ImageConfig) -> ImageView:
    """With another config for the same layers. InvalidError when it counts other layers."""
    if len(config.rootfs.diff_ids) != len(image.manifest.layers):
        raise InvalidError(
            f"the config names {len(config.rootfs.diff_ids)} layers, the manifest {len(image.manifest.layers)}"
        )
    return _renamed(image.manifest, config)


def change_run_config(image: ImageView, change: Callable[[RunConfig], RunConfig], history: History) -> ImageView:
    """With changed defaults for its containers; `history` tells of it, as a step without a layer."""
    told = msgspec.structs.replace(history, empty_layer=True)
    config = msgspec.structs.replace(
        image.config, config=change(image.config.config), history=(*image.config.history, told)
    )
    return with_config(image, config)


def annotate(image: ImageView, annotations: Mapping[str, str]) -> ImageView:
    """With annotations added to the manifest's, an empty value taking one away. UnsupportedError for Docker's
    manifests, which have none."""
    if annotations and _is_docker(image.manifest):
        raise UnsupportedError("manifests in Docker's format have no annotations", hint="use OCI media types")
    merged = {key: value for key, value in (image.manifest.annotations | dict(annotations)).items() if value}
    return ImageView(msgspec.structs.replace(image.manifest, annotations=dict(sorted(merged.items()))), image.config)


def to_docker(image: ImageView) -> ImageView:
    """In Docker's media types. UnsupportedError when the manifest has what Docker's can't hold."""
    manifest = image.manifest
    for what, there in (("annotations", manifest.annotations), ("a subject", manifest.subject)):
        if there:
            raise UnsupportedError(f"a manifest with {what} can't be in Docker's format", hint="use OCI media types")
    return _converted(image, TO_DOCKER)


def to_oci(image: ImageView) -> ImageView:
    """In the media types of the OCI specification."""
    return _converted(image, TO_OCI)


def make_index(
    manifests: Sequence[Descriptor], *, annotations: Mapping[str, str] | None = None, docker: bool = False
) -> Index:
    """An index of manifests, in the order given. UnsupportedError when a Docker index would have annotations."""
    if docker and annotations:
        raise UnsupportedError("indexes in Docker's format have no annotations", hint="use OCI media types")
    return Index(
        schema_version=2,
        media_type=spec.DOCKER_INDEX if docker else spec.OCI_INDEX,
        manifests=tuple(manifests),
        annotations=dict(sorted((annotations or {}).items())),
    )


def store(ingester: Ingester, image: ImageView) -> Descriptor:
    """Put config and manifest into a content store; the manifest's descriptor, with the platform. A config that was
    fetched and not changed stays what it was, and must be there already."""
    data = spec.encode(image.config)
    if digests.of_bytes(data) == image.manifest.config.digest:
        documents.write(ingester, data, image.manifest.config.media_type)
    return documents.write_document(ingester, image.manifest, platform=documents.config_platform(image.config))


def _is_docker(manifest: Manifest) -> bool:
    return manifest.media_type == spec.DOCKER_MANIFEST


def _converted(image: ImageView, kinds: Mapping[str, str]) -> ImageView:
    manifest = msgspec.structs.replace(
        image.manifest,
        media_type=kinds.get(image.manifest.media_type, image.manifest.media_type),
        config=_retyped(image.manifest.config, kinds),
        layers=tuple(_retyped(layer, kinds) for layer in image.manifest.layers),
    )
    return ImageView(manifest, image.config)


def _retyped(descriptor: Descriptor, kinds: Mapping[str, str]) -> Descriptor:
    return msgspec.structs.replace(descriptor, media_type=kinds.get(descriptor.media_type, descriptor.media_type))


def _renamed(manifest: Manifest, config: ImageConfig) -> ImageView:
    """The manifest with the digest of the config as it is now."""
    data = spec.encode(config)
    descriptor = Descriptor(media_type=manifest.config.media_type, digest=digests.of_bytes(data), size=len(data))
    return ImageView(msgspec.structs.replace(manifest, config=descriptor), config)
