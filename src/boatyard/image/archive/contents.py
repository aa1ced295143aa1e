"""What an archive of images holds: the documents and blobs below the images that go into it, and the lists of names.

Knows nothing of tar or directories. Layers may be *virtual*: listed by a manifest, but not in the content store,
because their bytes are re-made from a snapshot when somebody wants them. So their bytes come from a `LayerSource`.

Specification: OCI image-spec, image-layout.md; Docker's `manifest.json` as `docker save` of version 25 writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import msgspec

from boatyard.errors import InvalidError, NotFoundError, UnsupportedError
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.content.store import Provider
from boatyard.image.content.verified import verified
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, Index, Manifest

IMAGE_NAME = "io.containerd.image.name"
"""Annotation of an entry in index.json: the whole normalised reference."""
REFERENCE_NAME = "org.opencontainers.image.ref.name"
"""Annotation of an entry in index.json: a tag for most tools, a whole reference for some."""
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class LayerSource(Protocol):
    """Where the bytes of layers come from."""

    def open_layer(self, descriptor: Descriptor, diff_id: Digest | None) -> AbstractContextManager[BinaryIO]:
        """The bytes that `descriptor` names, in its compression. The stream raises IntegrityError by itself, at its end
        at the latest, when they are others. `diff_id` is None for blobs of artifacts. NotFoundError."""


class StoredLayers:
    """A `LayerSource` of blobs that are all in the content store."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def open_layer(self, descriptor: Descriptor, diff_id: Digest | None) -> AbstractContextManager[BinaryIO]:
        return verified(self._provider, descriptor)


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """An image in an archive: a manifest or an index, and the normalised references that name it."""

    target: Descriptor
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Contents:
    """Everything below some images. `missing` are the documents that aren't in the content store: platforms that were
    never fetched."""

    documents: dict[Digest, bytes] = field(default_factory=dict)
    blobs: dict[Digest, tuple[Descriptor, Digest | None]] = field(default_factory=dict)
    missing: set[Digest] = field(default_factory=set)


class DockerImage(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry of Docker's manifest.json. Paths are those of files in the archive."""

    config: str
    repo_tags: tuple[str, ...] | None
    layers: tuple[str, ...]


def contents(images: Sequence[ArchivedImage], provider: Provider) -> Contents:
    """Read all documents below the images, verified. NotFoundError when one lacks all its platforms."""
    found = Contents()
    for image in images:
        if not _add(found, image.target, provider):
            name = f"image {image.names[0]}, " if image.names else ""
            raise NotFoundError(
                f"no manifest of {name}{image.target.digest} is in the content store", hint="load or build it again"
            )
    return found


def _add(found: Contents, target: Descriptor, provider: Provider) -> bool:
    """Whether any manifest below the target is there."""
    reached = False
    todo = [target]
    while todo:
        descriptor = todo.pop()
        if descriptor.digest in found.documents:
            reached = True
            continue
        if descriptor.digest in found.missing:
            continue
        try:
            data = documents.read_bytes(provider, descriptor)
        except NotFoundError:
            found.missing.add(descriptor.digest)
            continue
        if descriptor.media_type in spec.INDEXES:
            todo += reversed(documents.parse_index(data).manifests)
        elif descriptor.media_type in spec.MANIFESTS:
            _add_manifest(found, documents.parse_manifest(data), provider)
            reached = True
        else:
            raise UnsupportedError(
                f"{descriptor.digest} is neither a manifest nor an index but {descriptor.media_type!r}"
            )
        found.documents[descriptor.digest] = data
    return reached


def _add_manifest(found: Contents, manifest: Manifest, provider: Provider) -> None:
    found.documents[manifest.config.digest] = config = documents.read_bytes(provider, manifest.config)
    diff_ids: Sequence[Digest | None] = ()
    if manifest.config.media_type in spec.CONFIGS:
        diff_ids = documents.parse_config(config).rootfs.diff_ids
    if len(diff_ids) != len(manifest.layers):
        # An artifact, such as an attestation: its layers are files of their own kind.
        diff_ids = [None] * len(manifest.layers)
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        found.blobs.setdefault(layer.digest, (layer, diff_id))


def blob_path(digest: Digest) -> str:
    """Where a blob lies in a layout."""
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def index_document(images: Sequence[ArchivedImage]) -> Index:
    """The index.json of a layout: an entry for each name, or one without a name."""
    entries = []
    for image in images:
        for name in sorted(image.names):
            entries.append(_named(image.target, name))
        if not image.names:
            entries.append(image.target)
    return Index(schema_version=2, media_type=spec.OCI_INDEX, manifests=tuple(entries))


def _named(target: Descriptor, name: str) -> Descriptor:
    reference = references.parse(name)
    annotations = {IMAGE_NAME: str(reference)}
    if reference.tag:
        annotations[REFERENCE_NAME] = reference.tag
    return msgspec.structs.replace(target, annotations=dict(sorted((target.annotations | annotations).items())))


def names_of(entry: Descriptor) -> tuple[str, ...]:
    """The normalised reference that an entry of index.json carries, if any: a bare tag names nothing."""
    name = entry.annotations.get(IMAGE_NAME, "")
    if not name:
        short = entry.annotations.get(REFERENCE_NAME, "")
        name = short if "/" in short or ":" in short else ""
    if not name:
        return ()
    try:
        return (str(references.parse(name).with_default_tag()),)
    except InvalidError:
        # Anybody may write any annotation; an image under no name is better than none.
        return ()


def images_of(index: Index) -> tuple[ArchivedImage, ...]:
    """The images of an index.json, entries for the same target put together."""
    images: dict[Digest, ArchivedImage] = {}
    for entry in index.manifests:
        if documents.is_attestation(entry):
            continue
        target = msgspec.structs.replace(
            entry,
            annotations={
                key: value for key, value in entry.annotations.items() if key not in (IMAGE_NAME, REFERENCE_NAME)
            },
        )
        known = images.get(entry.digest, ArchivedImage(target))
        names = dict.fromkeys((*known.names, *names_of(entry)))
        images[entry.digest] = ArchivedImage(known.target, tuple(names))
    return tuple(images.values())


def docker_images(
    images: Sequence[ArchivedImage], provider: Provider, platform: Platform | None = None
) -> list[DockerImage]:
    """The manifest.json of an archive: one platform of each image, the host's unless another is given, else the first
    that is there. Artifacts are left out: Docker can't load them."""
    entries = []
    for image in images:
        manifest = _manifest_for(image.target, provider, platform)
        if manifest is None or manifest.config.media_type not in spec.CONFIGS:
            continue
        tags = [references.parse(name) for name in sorted(image.names)]
        entries.append(
            DockerImage(
                config=blob_path(manifest.config.digest),
                repo_tags=tuple(tag.familiar() for tag in tags if tag.tag and not tag.digest) or None,
                layers=tuple(blob_path(layer.digest) for layer in manifest.layers),
            )
        )
    return entries


def _manifest_for(target: Descriptor, provider: Provider, platform: Platform | None) -> Manifest | None:
    try:
        return documents.read_manifest(provider, target, platform)
    except (NotFoundError, UnsupportedError):
        pass
    for item in documents.image_manifests(provider, target):
        try:
            return documents.read_manifest(provider, item)
        except NotFoundError:
            continue
    return None
