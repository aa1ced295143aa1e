"""What of images is here: their manifests one by one, and the layers that several of them have. Everything blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from boatyard.api.engine.services import LayerUse, ManifestDetail
from boatyard.errors import BoatyardError
from boatyard.image import documents, spec
from boatyard.image.digest import Digest
from boatyard.image.layer.store import LayerStore
from boatyard.image.spec import Descriptor
from boatyard.image.store import Image

_SUBJECT = "vnd.docker.reference.digest"


def manifests(layers: LayerStore, target: Descriptor) -> Iterator[ManifestDetail]:
    """Of an image, attestations included, in the order of its index."""
    for descriptor in _entries(layers, target):
        try:
            yield _detail(layers, descriptor)
        except BoatyardError:
            # A platform that was never fetched, or is damaged: it is listed all the same.
            kind = "attestation" if documents.is_attestation(descriptor) else "unknown"
            yield ManifestDetail(descriptor, kind, False, 0, subject=descriptor.annotations.get(_SUBJECT, ""))


def _entries(layers: LayerStore, target: Descriptor) -> Iterator[Descriptor]:
    if target.media_type not in spec.INDEXES:
        yield from documents.image_manifests(layers.content, target)
        return
    for entry in documents.read_index(layers.content, target).manifests:
        if documents.is_attestation(entry):
            yield entry
        else:
            yield from documents.image_manifests(layers.content, entry)


def _detail(layers: LayerStore, descriptor: Descriptor) -> ManifestDetail:
    manifest = documents.read_manifest(layers.content, descriptor)
    blobs = [descriptor, manifest.config, *manifest.layers]
    stored = [blob for blob in blobs if layers.content.info(blob.digest) is not None]
    content = sum(blob.size for blob in stored)
    if documents.is_attestation(descriptor):
        subject = descriptor.annotations.get(_SUBJECT, "")
        return ManifestDetail(descriptor, "attestation", len(stored) == len(blobs), content, subject=subject)
    diff_ids = documents.read_config(layers.content, manifest).rootfs.diff_ids
    rows = [layers.get(layer) for layer in layers.find_chain(diff_ids) or ()]
    # Layers that were made here have their bytes in a snapshot, and become a blob when somebody wants one.
    available = len(rows) == len(diff_ids) or len(stored) == len(blobs)
    unpacked = sum(row.size or 0 for row in rows if row.snapshot is not None)
    return ManifestDetail(descriptor, "image", available, content, unpacked)


def layer_use(layers: LayerStore, images: Iterable[Image]) -> LayerUse:
    sizes: dict[Digest, int] = {}
    used: dict[str, set[Digest]] = {}
    for image in images:
        if image.target.digest not in used:
            found = dict(_layer_sizes(layers, image.target))
            sizes |= found
            used[image.target.digest] = set(found)
    users = Counter(diff_id for diff_ids in used.values() for diff_id in diff_ids)
    shared = {
        digest: sum(sizes[diff_id] for diff_id in diff_ids if users[diff_id] > 1) for digest, diff_ids in used.items()
    }
    return LayerUse(sum(sizes.values()), shared)


def _layer_sizes(layers: LayerStore, target: Descriptor) -> Iterator[tuple[Digest, int]]:
    """By diff ID; those of an image that can't be read don't count."""
    try:
        for descriptor in documents.image_manifests(layers.content, target):
            manifest = documents.read_manifest(layers.content, descriptor)
            diff_ids = documents.read_config(layers.content, manifest).rootfs.diff_ids
            rows = {row.diff_id: row.size for row in map(layers.get, layers.find_chain(diff_ids) or ())}
            for diff_id, blob in zip(diff_ids, manifest.layers, strict=False):
                yield diff_id, rows.get(diff_id) or blob.size
    except BoatyardError:
        return
