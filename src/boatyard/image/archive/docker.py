"""Docker's archives: `manifest.json` and the files it names become manifests as registries know them.

Layers lie there as plain tars (`ID/layer.tar`, often links to each other; `blobs/sha256/...` since Docker 25) or
compressed, as other tools write them. A plain tar must have the diff ID that the config says.

Specification: none; what Docker 1.10 to 29, Podman, Skopeo, Bazel, Jib, Kaniko and Nix write.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boatyard.errors import IntegrityError, InvalidError, UnsupportedError
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.archive.contents import ArchivedImage
from boatyard.image.archive.entries import Entries, Stored
from boatyard.image.content.store import ContentStore
from boatyard.image.digest import Digest
from boatyard.image.layer import compression
from boatyard.image.spec import Descriptor, Manifest

_MAGIC = 16
_LAYER_TYPES = {"tar": spec.DOCKER_LAYER, "gzip": spec.DOCKER_LAYER_GZIP, "zstd": spec.DOCKER_LAYER_ZSTD}


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    """Docker decodes names of fields whatever their case; writers all use these."""

    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


def docker_images(entries: Entries, content: ContentStore) -> tuple[ArchivedImage, ...]:
    """Make and store a manifest for each entry of manifest.json."""
    images: dict[Digest, ArchivedImage] = {}
    for entry in _read(entries, content):
        target = _make_manifest(entry, entries, content)
        known = images.get(target.digest, ArchivedImage(target))
        images[target.digest] = ArchivedImage(target, tuple(dict.fromkeys((*known.names, *_names(entry)))))
    return tuple(images.values())


def names_by_config(entries: Entries, content: ContentStore) -> dict[Digest, tuple[str, ...]]:
    """Which names manifest.json gives to the image with a certain config."""
    names: dict[Digest, tuple[str, ...]] = {}
    for entry in _read(entries, content):
        if config := entries.store(entry.config, content):
            names[config.digest] = (*names.get(config.digest, ()), *_names(entry))
    return names


def _read(entries: Entries, content: ContentStore) -> Sequence[_Entry]:
    data = entries.document("manifest.json", content)
    if data is None:
        return ()
    try:
        return msgspec.json.decode(data, type=list[_Entry])
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidError(f"manifest.json of the image archive is not valid: {str(error)[:300]}") from error


def _names(entry: _Entry) -> tuple[str, ...]:
    return tuple(str(references.parse(name).with_default_tag()) for name in entry.repo_tags or ())


def _make_manifest(entry: _Entry, entries: Entries, content: ContentStore) -> Descriptor:
    data = entries.document(entry.config, content)
    if data is None:
        raise _lacks(entry.config, "config")
    config = documents.parse_config(data)
    paths = entry.layers or ()
    if len(paths) != len(config.rootfs.diff_ids):
        raise IntegrityError(
            f"manifest.json of the image archive lists {len(paths)} layers, the config {entry.config[:200]!r} "
            f"{len(config.rootfs.diff_ids)}"
        )
    layers = []
    for path, diff_id in zip(paths, config.rootfs.diff_ids, strict=True):
        stored = entries.store(path, content)
        if stored is None:
            raise _lacks(path, "layer")
        layers.append(_layer(path, stored, diff_id, content))
    manifest = Manifest(
        schema_version=2,
        media_type=spec.DOCKER_MANIFEST,
        config=documents.write(content, data, spec.DOCKER_CONFIG),
        layers=tuple(layers),
    )
    return documents.write_document(content, manifest)


def _layer(path: str, stored: Stored, diff_id: Digest, content: ContentStore) -> Descriptor:
    with content.open(stored.digest) as file:
        kind = compression.detect(file.read(_MAGIC))
    if kind not in _LAYER_TYPES:
        raise UnsupportedError(
            f"layer {path[:200]!r} of the image archive is compressed with {kind}", hint="use gzip, zstd or nothing"
        )
    if kind == "tar" and stored.digest != diff_id:
        raise IntegrityError(
            f"layer {path[:200]!r} of the image archive has the digest {stored.digest}; the config says {diff_id}",
            hint="make or fetch the archive again",
        )
    return Descriptor(media_type=_LAYER_TYPES[kind], digest=stored.digest, size=stored.size)


def _lacks(path: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"the image archive lacks the {what} {path[:200]!r} that its manifest.json names",
        hint="it may have been cut off: make or fetch it again",
    )
