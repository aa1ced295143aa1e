"""What a manifest says of itself: its type, what it is made of, what it refers to. Pure.

Specification: OCI image-spec, manifest.md and image-index.md; Docker's image manifest, schema 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from boatyard.image import digest as digests
from boatyard.image import spec
from boatyard.image.digest import Digest
from boatyard.registry.server.refusal import manifest_invalid

LARGEST = 4 << 20
"""Bytes of a manifest that are accepted: what the specification asks for at least."""

_NOT_DISTRIBUTED = frozenset(
    (
        spec.DOCKER_LAYER_FOREIGN,
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    )
)


class _Descriptor(msgspec.Struct, rename="camel"):
    media_type: str = ""
    digest: str = ""
    size: int = -1


class _Manifest(msgspec.Struct, rename="camel"):
    """An image manifest or an index: which one, its media type says."""

    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    annotations: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    media_type: str
    artifact_type: str
    subject: Digest | None
    annotations: dict[str, str]
    blobs: tuple[Digest, ...]
    manifests: tuple[Digest, ...]


def read(data: bytes, content_type: str) -> Facts:
    """RefusedError (MANIFEST_INVALID) when it is no manifest of a type that is known. `content_type`: the header."""
    told = content_type.partition(";")[0].strip().lower()
    try:
        found = msgspec.json.decode(data, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise manifest_invalid(str(error)) from error
    media_type = found.media_type or told
    if told not in ("", "application/json", "application/octet-stream") and told != media_type:
        raise manifest_invalid(f"it says to be {media_type}, its Content-Type {told}")
    if media_type in ("", "application/json", "application/octet-stream"):
        media_type = spec.OCI_INDEX if found.manifests is not None and found.config is None else spec.OCI_MANIFEST
    if found.schema_version != 2:
        raise manifest_invalid(f"schema version {found.schema_version} is not supported")
    annotations = found.annotations or {}
    subject = _digest(found.subject) if found.subject else None
    if media_type in spec.INDEXES:
        if found.manifests is None:
            raise manifest_invalid("an index without manifests")
        children = tuple(map(_digest, found.manifests))
        return Facts(media_type, found.artifact_type, subject, annotations, (), children)
    if media_type not in spec.MANIFESTS:
        raise manifest_invalid(f"media type {media_type[:200]!r} is not supported")
    if found.config is None or (found.layers is None and media_type == spec.DOCKER_MANIFEST):
        raise manifest_invalid("an image manifest needs a config and layers")
    blobs = [_digest(found.config)]
    # Layers that may not be distributed lie where their URLs say.
    blobs += [_digest(layer) for layer in found.layers or () if layer.media_type not in _NOT_DISTRIBUTED]
    artifact_type = found.artifact_type or found.config.media_type
    return Facts(media_type, artifact_type, subject, annotations, tuple(blobs), ())


def _digest(descriptor: _Descriptor) -> Digest:
    if not digests.is_digest(descriptor.digest):
        raise manifest_invalid(f"it names {descriptor.digest[:160]!r}, which is no digest")
    if descriptor.size < 0:
        raise manifest_invalid(f"the descriptor of {descriptor.digest} has no size")
    return Digest(descriptor.digest)
