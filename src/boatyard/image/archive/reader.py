"""Images in, from one tar: an OCI image layout, what `docker save` of any age writes, or both in one.

The archive is read once, from a file or a pipe, with its entries in any order; only then is it known what they were
for. What it brings is in the content store afterwards, verified, and without a name: naming is up to the caller. After
an error some blobs may be in the content store that nothing names; garbage collection takes them.

Specification: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast

from boatyard.errors import IntegrityError, InvalidError, LayerError, NotFoundError, UnsupportedError
from boatyard.image import documents, spec
from boatyard.image.archive.contents import ArchivedImage, Contents, contents, images_of
from boatyard.image.archive.docker import docker_images, names_by_config
from boatyard.image.archive.entries import Entries, not_readable, read_entries
from boatyard.image.archive.layout import check_layout
from boatyard.image.archive.tap import tapped
from boatyard.image.content.store import ContentStore
from boatyard.image.digest import Digest
from boatyard.image.layer import compression
from boatyard.image.layer.tarstream import Source


def read_archive(
    stream: BinaryIO,
    content: ContentStore,
    *,
    hold: Callable[[Digest], None] | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> tuple[ArchivedImage, ...]:
    """The images of an archive, compressed or not, all their blobs in the content store. `hold` hears of every digest,
    for a lease; `on_bytes` of every chunk read. Raises InvalidError, IntegrityError or UnsupportedError when something
    is wrong with the archive."""
    try:
        counted = tapped(stream, lambda data: on_bytes(len(data)) if on_bytes else None)
        with compression.open_decompressed(counted) as plain:
            # Every stream that it gives can `readinto`; the type has no word for that.
            entries = read_entries(cast(Source, plain), content, hold)
    except LayerError as error:
        raise not_readable(error) from error
    images = _interpret(entries, content)
    _check_complete(images, content, hold)
    return images


def _interpret(entries: Entries, content: ContentStore) -> tuple[ArchivedImage, ...]:
    index = entries.document("index.json", content)
    images: tuple[ArchivedImage, ...] = ()
    if index is not None:
        if marker := entries.document("oci-layout", content):
            check_layout(marker)
        images = _with_docker_names(images_of(documents.parse_index(index)), entries, content)
    if not images:
        images = docker_images(entries, content)
    if images:
        return images
    if index is not None or entries.find("manifest.json") is not None:
        raise NotFoundError("the image archive holds no image")
    if entries.find("repositories") is not None:
        raise UnsupportedError(
            "this archive is from a Docker older than 1.10", hint="load it there, and save it with a newer one"
        )
    if entries.looks_like_a_root():
        raise InvalidError(
            "this is the archive of a root file system, not of an image", hint="use `boat image import FILE NAME`"
        )
    tops = sorted({name.partition("/")[0] for name in entries.files})
    if len(tops) == 1 and entries.find(f"{tops[0]}/index.json") is not None:
        raise InvalidError(
            f"the image layout lies in a directory {tops[0]!r} of the archive",
            hint=f"make the archive from inside: tar -C {tops[0]} -cf FILE .",
        )
    raise InvalidError(
        "this is no image archive: it has neither index.json nor manifest.json",
        hint="it takes what `docker save`, `podman save`, `skopeo copy` and `boat image save` write",
    )


def _with_docker_names(
    images: tuple[ArchivedImage, ...], entries: Entries, content: ContentStore
) -> tuple[ArchivedImage, ...]:
    """Some writers put the names only into manifest.json, where they belong to a config."""
    if all(image.names for image in images):
        return images
    names = names_by_config(entries, content)
    found = []
    for image in images:
        if not image.names:
            image = ArchivedImage(image.target, _names_of(image, names, content))
        found.append(image)
    return tuple(found)


def _names_of(image: ArchivedImage, names: dict[Digest, tuple[str, ...]], content: ContentStore) -> tuple[str, ...]:
    for manifest in documents.image_manifests(content, image.target):
        try:
            config = documents.read_manifest(content, manifest).config.digest
        except NotFoundError:
            continue
        if config in names:
            return names[config]
    return ()


def _check_complete(
    images: tuple[ArchivedImage, ...], content: ContentStore, hold: Callable[[Digest], None] | None
) -> None:
    """Every image has at least one platform, and of each platform whose manifest is there everything else too."""
    try:
        found = contents(images, content)
    except NotFoundError as error:
        raise IntegrityError(
            f"the image archive is not complete: {error.message}", hint="it may have been cut off: make it again"
        ) from error
    _check_blobs(found, content)
    if hold:
        for digest in (*found.documents, *found.blobs):
            hold(digest)


def _check_blobs(found: Contents, content: ContentStore) -> None:
    for digest, (descriptor, _) in found.blobs.items():
        info = content.info(digest)
        if info is None and descriptor.media_type == spec.DOCKER_LAYER_FOREIGN:
            origin = ", ".join(descriptor.urls) or "elsewhere"
            raise UnsupportedError(f"layer {digest} is not in the archive but to be fetched from {origin}")
        if info is None:
            raise IntegrityError(
                f"the image archive lacks the layer {digest}", hint="it may have been cut off: make it again"
            )
        if info.size != descriptor.size:
            raise IntegrityError(f"layer {digest} has {info.size} bytes; its manifest says {descriptor.size}")
