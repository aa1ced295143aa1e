"""OCI image layouts as directories: images taken out of one, and put into one.

A layout that is read may be anybody's, and lies in a directory that somebody may be changing: files are opened beneath
an open directory, must be regular, and are verified by digest while they are copied. A layout that is written may exist
already: blobs that are there stay, an image whose name is there replaces it.

Specification: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.archive.contents import (
    LAYOUT,
    REFERENCE_NAME,
    ArchivedImage,
    LayerSource,
    StoredLayers,
    blob_path,
    contents,
    images_of,
    index_document,
    names_of,
)
from boatyard.image.content.directory import DirectoryStore, storage_error, storage_errors
from boatyard.image.content.store import ContentStore, Provider
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, Index

_CHUNK = 1 << 20


class LayoutProvider:
    """The blobs of a layout, as a content provider. `directory` is an open directory, which the caller closes."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return _open_regular(self._directory, blob_path(digests.parse(digest)))
        except FileNotFoundError as error:
            raise NotFoundError(f"the image layout has no blob {digest}") from error


def read_index(directory: int) -> Index:
    """The index.json of the layout in an open directory. NotFoundError when it is no layout."""
    try:
        marker = _read_small(directory, "oci-layout")
        data = _read_small(directory, "index.json")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"this directory is no OCI image layout: it has no {error.filename}",
            hint="`docker buildx build --output type=oci,tar=false,dest=DIR` and `skopeo copy ... oci:DIR` make one",
        ) from error
    check_layout(marker)
    return documents.parse_index(data)


def check_layout(marker: bytes) -> None:
    """Raises UnsupportedError unless `oci-layout` says version 1."""
    try:
        version = msgspec.json.decode(marker, type=dict[str, str]).get("imageLayoutVersion", "")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidError(f"the file oci-layout is not valid: {error}") from error
    if not version.startswith("1."):
        raise UnsupportedError(f"the image layout has version {version!r}; only 1.x is known")


def images(directory: int) -> tuple[ArchivedImage, ...]:
    """What the layout in an open directory holds."""
    return images_of(read_index(directory))


def take(
    directory: int,
    content: ContentStore,
    *,
    digest: Digest | None = None,
    tag: str | None = None,
    platform: Platform | None = None,
) -> Descriptor:
    """Copy an image of the layout in an open directory into the content store: the one with that digest, else with that
    tag, else the only one or `latest`. With a platform, only what that needs. NotFoundError, or IntegrityError when a
    blob is not what its name says."""
    provider = LayoutProvider(directory)
    target = _by_digest(provider, read_index(directory), digest) if digest else _by_tag(read_index(directory), tag)
    copy(provider, content, target, platform)
    return target


def _by_tag(index: Index, tag: str | None) -> Descriptor:
    entries = [entry for entry in index.manifests if not documents.is_attestation(entry)]
    tagged = {_tag(entry): entry for entry in entries}
    if tag is None and len({entry.digest for entry in entries}) == 1:
        found: Descriptor | None = entries[0]
    else:
        found = tagged.get(tag or references.DEFAULT_TAG)
    if found is None:
        names = ", ".join(sorted(name for name in tagged if name)) or "none with a tag"
        raise NotFoundError(f"the image layout has no image tagged {tag or references.DEFAULT_TAG}; it has {names}")
    return images_of(Index(schema_version=2, manifests=(found,)))[0].target


def _tag(entry: Descriptor) -> str:
    names = names_of(entry)
    return (names and references.parse(names[0]).tag) or entry.annotations.get(REFERENCE_NAME, "")


def _by_digest(provider: LayoutProvider, index: Index, digest: Digest) -> Descriptor:
    """The digest may be that of any document in the layout, in the index or not."""
    for image in images_of(index):
        if image.target.digest == digest:
            return image.target
    with provider.open(digest) as file:
        data = file.read(documents.LARGEST + 1)
    if len(data) > documents.LARGEST or digests.of_bytes(data, digests.algorithm(digest)) != digest:
        raise IntegrityError(f"the blob {digest} of the image layout is damaged, or no image")
    return Descriptor(media_type=documents.media_type_of(data), digest=digest, size=len(data))


def copy(provider: Provider, content: ContentStore, target: Descriptor, platform: Platform | None = None) -> None:
    """Copy an image with all below it from one store to another, verified, layers first and the target last. Blobs that
    are there already are not read. Platforms that the source lacks are left out, unless nothing would remain."""
    if platform is not None:
        chosen = documents.resolve_platform(provider, target, platform)
        _copy_tree(provider, content, chosen)
        _copy_documents(provider, content, target)
    else:
        _copy_tree(provider, content, target)


def _copy_tree(provider: Provider, content: ContentStore, target: Descriptor) -> None:
    found = contents([ArchivedImage(target)], provider)
    layers = StoredLayers(provider)
    for descriptor, diff_id in found.blobs.values():
        if not _is_there(content, descriptor):
            with layers.open_layer(descriptor, diff_id) as stream:
                _ingest(content, descriptor, stream)
    for digest, data in found.documents.items():
        if digest != target.digest:
            documents.write(content, data, "")
    documents.write(content, found.documents[target.digest], "")


def _copy_documents(provider: Provider, content: ContentStore, target: Descriptor) -> None:
    """Only indexes: what leads from the target to a manifest that was copied."""
    for entry in documents.children(provider, target) if target.media_type in spec.INDEXES else ():
        if entry.media_type in spec.INDEXES:
            _copy_documents(provider, content, entry)
    documents.write(content, documents.read_bytes(provider, target), "")


def _is_there(content: ContentStore, descriptor: Descriptor) -> bool:
    info = content.info(descriptor.digest)
    return info is not None and info.size == descriptor.size


def _ingest(content: ContentStore, descriptor: Descriptor, stream: BinaryIO) -> None:
    with content.ingest(f"copy {os.urandom(8).hex()}") as writer:
        try:
            while chunk := stream.read(_CHUNK):
                writer.write(chunk)
            writer.commit(size=descriptor.size, digest=descriptor.digest)
        except BaseException:
            writer.abort()
            raise


def write_layout(directory: Path, exported: Sequence[ArchivedImage], provider: Provider, layers: LayerSource) -> None:
    """Put images into the layout in `directory`, which is made if needed. The index is replaced at the very end, in one
    step: a failure leaves the layout as it was, perhaps with some blobs more."""
    store = DirectoryStore(directory, durable=False)
    try:
        found = contents(exported, provider)
        for descriptor, diff_id in found.blobs.values():
            if not _is_there(store, descriptor):
                with layers.open_layer(descriptor, diff_id) as stream:
                    _ingest(store, descriptor, stream)
        for data in found.documents.values():
            documents.write(store, data, "")
        index = _merged(_existing(directory), index_document(exported))
        with storage_errors(directory):
            _replace(directory / "oci-layout", LAYOUT)
            _replace(directory / "index.json", spec.encode(index))
    finally:
        try:
            (directory / "ingest").rmdir()
        except OSError:
            # Somebody else writes to this layout too, and will remove it.
            pass


def _existing(directory: Path) -> Index | None:
    if not (directory / "index.json").exists():
        return None
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return read_index(fd)
    finally:
        os.close(fd)


def _merged(old: Index | None, new: Index) -> Index:
    """Entries that name the same, or nothing about the same target, give way."""
    if old is None:
        return new
    replaced = {(names_of(entry), "" if names_of(entry) else entry.digest) for entry in new.manifests}
    kept = tuple(
        entry for entry in old.manifests if (names_of(entry), "" if names_of(entry) else entry.digest) not in replaced
    )
    return msgspec.structs.replace(old, manifests=kept + new.manifests)


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _open_regular(directory: int, path: str) -> BinaryIO:
    """A pipe or a device in somebody's directory must not block or feed us. FileNotFoundError passes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, Path(path)) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidError(f"{path} of the image layout is not a regular file")
    return os.fdopen(fd, "rb")


def _read_small(directory: int, path: str) -> bytes:
    with _open_regular(directory, path) as file:
        data = file.read(documents.LARGEST + 1)
    if len(data) > documents.LARGEST:
        raise InvalidError(f"{path} of the image layout is larger than {documents.LARGEST} bytes")
    return data
