"""Documents of stored images: indexes, manifests and configs; reading them, choosing by platform, writing them.

What comes in may be anybody's: sizes are bounded, digests verified, every digest inside a document is checked before
somebody makes a path of it, and a document that can't be read raises InvalidError or IntegrityError, nothing else.
Go's encoders write empty lists and maps as `null`; such fields are read as left out.

Specification: OCI image-spec, manifest.md, image-index.md, config.md ("Layer ChainID").
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from boatyard.errors import InvalidError, NotFoundError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image import platform as platforms
from boatyard.image import spec
from boatyard.image.content.store import Ingester, Provider
from boatyard.image.content.verified import read_blob
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, ImageConfig, Index, Manifest

LARGEST = 4 << 20
"""Bytes of the largest document that is read; registries have the same limit."""
_LARGEST_SIZE = 1 << 62
_DEEPEST = 8
REFERENCE_TYPE = "vnd.docker.reference.type"
"""Annotation of an index entry that describes another entry: an attestation, not an image."""

_Document = TypeVar("_Document", Manifest, Index, ImageConfig)


class _Shape(msgspec.Struct):
    """Which kind of document it is, by its fields: a manifest must not be readable as an index, nor the reverse."""

    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    media_type: str = msgspec.field(default="", name="mediaType")
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="fsLayers")


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """One platform of an image. `descriptor` is the manifest's; `manifest.config.digest` is Docker's image ID."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def platform(self) -> Platform:
        return config_platform(self.config)


def parse_manifest(data: bytes) -> Manifest:
    """Raises InvalidError; UnsupportedError for Docker's schema 1."""
    _check_shape(data, "manifest", forbidden="manifests")
    manifest = _decode(data, Manifest, "manifest")
    _check_descriptors((manifest.config, *manifest.layers), "manifest")
    if manifest.subject:
        _check_descriptors((manifest.subject,), "manifest")
    return manifest


def parse_index(data: bytes) -> Index:
    """Raises InvalidError."""
    _check_shape(data, "index", forbidden="layers")
    index = _decode(data, Index, "index")
    _check_descriptors(index.manifests, "index")
    if index.subject:
        _check_descriptors((index.subject,), "index")
    return index


def parse_config(data: bytes) -> ImageConfig:
    """Raises InvalidError."""
    config = _decode(data, ImageConfig, "image config")
    for diff_id in config.rootfs.diff_ids:
        if not digests.is_digest(diff_id):
            raise InvalidError(f"image config is not valid: {diff_id[:80]!r} is not a diff ID")
    return config


def read_bytes(provider: Provider, descriptor: Descriptor) -> bytes:
    """The document as it was fetched, verified."""
    return read_blob(provider, descriptor, limit=LARGEST)


def read_index(provider: Provider, descriptor: Descriptor) -> Index:
    return _read(provider, descriptor, parse_index)


def read_manifest(provider: Provider, descriptor: Descriptor, platform: Platform | None = None) -> Manifest:
    """The manifest that `descriptor` names, or the best one for `platform` (the host's) of the index it names."""
    manifest = resolve_platform(provider, descriptor, platform)
    return _read(provider, manifest, parse_manifest)


def read_config(provider: Provider, manifest: Manifest) -> ImageConfig:
    """UnsupportedError when the manifest isn't an image's."""
    if manifest.config.media_type not in spec.CONFIGS:
        raise UnsupportedError(
            f"this is not an image but an artifact of type {manifest.artifact_type or manifest.config.media_type!r}"
        )
    return _read(provider, manifest.config, parse_config)


def read_image(provider: Provider, descriptor: Descriptor, platform: Platform | None = None) -> ImageDocuments:
    """Manifest and config for `platform` (the host's). A single manifest is taken whatever it is for."""
    chosen = resolve_platform(provider, descriptor, platform)
    manifest = _read(provider, chosen, parse_manifest)
    config = read_config(provider, manifest)
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise InvalidError(
            f"image {chosen.digest} has {len(manifest.layers)} layers but its config names "
            f"{len(config.rootfs.diff_ids)} diff IDs"
        )
    return ImageDocuments(chosen, manifest, config)


def resolve_platform(provider: Provider, descriptor: Descriptor, platform: Platform | None = None) -> Descriptor:
    """The descriptor of the manifest that serves `platform` (the host's); that of a manifest is returned as it is."""
    if descriptor.media_type in spec.MANIFESTS:
        return descriptor
    if descriptor.media_type not in spec.INDEXES:
        raise UnsupportedError(f"{descriptor.digest} is neither a manifest nor an index but {descriptor.media_type!r}")
    wanted = platform or platforms.host_platform()
    offered = list(image_manifests(provider, descriptor))
    chosen = platforms.closest(wanted, [item.platform for item in offered if item.platform])
    if chosen is not None:
        return [item for item in offered if item.platform][chosen]
    names = ", ".join(sorted({str(item.platform) for item in offered if item.platform})) or "nothing"
    raise NotFoundError(
        f"image {descriptor.digest} has no variant for {wanted}; it has {names}", hint="choose one with --platform"
    )


def image_manifests(provider: Provider, descriptor: Descriptor) -> Iterator[Descriptor]:
    """The descriptors of all image manifests below an index, however deep, in order; a manifest gives itself.
    Attestations and artifacts are left out. Where the index says no platform, it is filled in from the config if that
    can be found."""
    yield from _image_manifests(provider, descriptor, set(), 0)


def _image_manifests(provider: Provider, descriptor: Descriptor, seen: set[Digest], depth: int) -> Iterator[Descriptor]:
    if depth > _DEEPEST:
        raise InvalidError(f"index {descriptor.digest} lies {depth} indexes deep; at most {_DEEPEST} are followed")
    if descriptor.digest in seen:
        return
    seen.add(descriptor.digest)
    if descriptor.media_type in spec.INDEXES:
        for entry in read_index(provider, descriptor).manifests:
            if not is_attestation(entry):
                yield from _image_manifests(provider, entry, seen, depth + 1)
    elif descriptor.media_type in spec.MANIFESTS:
        if descriptor.platform is None:
            try:
                config = read_config(provider, read_manifest(provider, descriptor))
            except UnsupportedError:
                return
            except NotFoundError:
                yield descriptor
                return
            descriptor = msgspec.structs.replace(descriptor, platform=config_platform(config))
        yield descriptor


def children(provider: Provider, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """What a document refers to directly, attestations included; () for anything that is not an index or a manifest.
    NotFoundError when the document isn't there."""
    if descriptor.media_type in spec.INDEXES:
        return read_index(provider, descriptor).manifests
    if descriptor.media_type in spec.MANIFESTS:
        manifest = read_manifest(provider, descriptor)
        return (manifest.config, *manifest.layers)
    return ()


def media_type_of(data: bytes) -> str:
    """What a document is, by its own word or, where it says nothing, by its fields. InvalidError when it is neither an
    index nor a manifest."""
    shape = _shape(data, "document")
    if shape.media_type in spec.INDEXES | spec.MANIFESTS:
        return shape.media_type
    for field, media_type in ((shape.manifests, spec.OCI_INDEX), (shape.layers, spec.OCI_MANIFEST)):
        if field is not msgspec.UNSET and not shape.media_type:
            return media_type
    raise InvalidError(f"this is neither a manifest nor an index but {shape.media_type or 'something else'!r}")


def is_attestation(entry: Descriptor) -> bool:
    """Whether an index entry describes another entry rather than being an image."""
    unknown = entry.platform is not None and (entry.platform.os, entry.platform.architecture) == ("unknown", "unknown")
    return unknown or REFERENCE_TYPE in entry.annotations


def config_platform(config: ImageConfig) -> Platform:
    return platforms.normalise(config.os, config.architecture, config.variant, config.os_version, config.os_features)


def chain_id(diff_ids: Sequence[Digest]) -> Digest:
    """Names a stack of layers by their diff IDs. Of no layers at all it is the digest of nothing (our convention)."""
    if not diff_ids:
        return digests.of_bytes(b"")
    identifier = diff_ids[0]
    for diff_id in diff_ids[1:]:
        identifier = Digest("sha256:" + hashlib.sha256(f"{identifier} {diff_id}".encode()).hexdigest())
    return identifier


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """The chain ID of each layer with all below it, lowest first."""
    identifiers: list[Digest] = []
    for diff_id in diff_ids:
        identifiers.append(chain_id([identifiers[-1], diff_id]) if identifiers else diff_id)
    return identifiers


def write(ingester: Ingester, data: bytes, media_type: str, *, platform: Platform | None = None) -> Descriptor:
    """Store a document (or any small content) that is in memory."""
    digest = digests.of_bytes(data)
    with ingester.ingest(f"document {uuid.uuid4().hex}") as writer:
        writer.write(data)
        writer.commit(size=len(data), digest=digest)
    return Descriptor(media_type=media_type, digest=digest, size=len(data), platform=platform)


def write_document(
    ingester: Ingester,
    document: Manifest | Index | ImageConfig,
    media_type: str = "",
    *,
    platform: Platform | None = None,
) -> Descriptor:
    """Encode and store a document that Boatyard made. Its own `media_type` is taken unless one is given."""
    if not media_type:
        media_type = spec.OCI_CONFIG if isinstance(document, ImageConfig) else document.media_type
    return write(ingester, spec.encode(document), media_type, platform=platform)


def _read(provider: Provider, descriptor: Descriptor, parse: Callable[[bytes], _Document]) -> _Document:
    data = read_bytes(provider, descriptor)
    try:
        return parse(data)
    except (InvalidError, UnsupportedError) as error:
        raise type(error)(f"{descriptor.digest}: {error.message}", hint=error.hint) from error


def _decode(data: bytes, kind: type[_Document], what: str) -> _Document:
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError:
            return msgspec.convert(_without_nulls(msgspec.json.decode(data)), kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidError(f"{what} is not valid: {str(error)[:300]}") from error


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _shape(data: bytes, what: str) -> _Shape:
    try:
        return msgspec.json.decode(data, type=_Shape)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidError(f"{what} is not valid: {str(error)[:300]}") from error


def _check_shape(data: bytes, what: str, *, forbidden: str) -> None:
    shape = _shape(data, what)
    if shape.fs_layers is not msgspec.UNSET:
        raise UnsupportedError(
            "this image is in Docker's schema 1, which was given up in 2019", hint="pull and push it with Docker 20.10"
        )
    if getattr(shape, forbidden) not in (msgspec.UNSET, msgspec.Raw(b"null")):
        raise InvalidError(
            f"{what} is not valid: it has a field {forbidden!r}, so it could be taken for something else"
        )


def _check_descriptors(descriptors: Sequence[Descriptor], what: str) -> None:
    for descriptor in descriptors:
        if not digests.is_digest(descriptor.digest):
            raise InvalidError(f"{what} is not valid: {descriptor.digest[:80]!r} is not a digest that can be verified")
        if not 0 <= descriptor.size <= _LARGEST_SIZE:
            raise InvalidError(f"{what} is not valid: {descriptor.digest} has the size {descriptor.size}")
