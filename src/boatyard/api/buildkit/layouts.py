"""OCI layouts that are content stores of a client's session: what an image needs of one, and all of one into it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from boatyard.errors import ConflictError, IntegrityError, InvalidError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import platform as platforms
from boatyard.image.archive.contents import LAYOUT, blob_path
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, Index
from boatyard.session.content import ClientContent
from boatyard.session.session import Session

_EXPORT = "export"
_PIECE = 1 << 20


async def fetched_layout(
    session: Session, name: str, digest: Digest | None, platform: Platform, directory: Path
) -> None:
    """Make `directory` a layout with so much of the client's as an image of it needs on a platform. NotFoundError."""
    if digest is None:
        raise InvalidError(
            f"the OCI layout {name!r} is asked for an image without a digest", hint="write NAME@sha256:..."
        )
    content = ClientContent(session, f"oci:{name}")
    blobs = directory / "blobs"
    data = await _document(content, name, digest)
    target = Descriptor(media_type=documents.media_type_of(data), digest=digest, size=len(data))
    _keep(directory, digest, data)
    manifest = data
    if target.media_type in spec.INDEXES:
        chosen = _chosen(documents.parse_index(data), platform, name)
        manifest = await _document(content, name, chosen.digest)
        _keep(directory, chosen.digest, manifest)
    image = documents.parse_manifest(manifest)
    for descriptor in (image.config, *image.layers):
        await _fetch(content, descriptor, blobs)
    (directory / "oci-layout").write_bytes(LAYOUT)
    (directory / "index.json").write_bytes(spec.encode(Index(schema_version=2, manifests=(target,))))


def _chosen(index: Index, platform: Platform, name: str) -> Descriptor:
    entries = [entry for entry in index.manifests if entry.platform and not documents.is_attestation(entry)]
    found = platforms.closest(platform, [entry.platform for entry in entries if entry.platform])
    if found is None:
        raise NotFoundError(f"the image of the OCI layout {name!r} is not for {platform}")
    return entries[found]


async def _document(content: ClientContent, name: str, digest: Digest) -> bytes:
    size = await content.size(digest)
    if size is None:
        raise NotFoundError(f"the OCI layout {name!r} has no blob {digest}")
    if size > documents.LARGEST:
        raise InvalidError(f"the blob {digest} of the OCI layout {name!r} is too large for a manifest")
    data = b"".join([piece async for piece in content.read(digest)])
    if digests.of_bytes(data, digests.algorithm(digest)) != digest:
        raise IntegrityError(f"the blob {digest} of the OCI layout {name!r} is damaged")
    return data


def _keep(directory: Path, digest: Digest, data: bytes) -> None:
    path = directory / blob_path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


async def _fetch(content: ClientContent, descriptor: Descriptor, blobs: Path) -> None:
    """Whoever takes the blob verifies it."""
    path = blobs.parent / blob_path(digests.parse(descriptor.digest))
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with open(path, "wb") as file:
        async for piece in content.read(descriptor.digest):
            size += len(piece)
            if size > descriptor.size:
                raise IntegrityError(f"the blob {descriptor.digest} is larger than its {descriptor.size} bytes")
            await asyncio.to_thread(file.write, piece)


async def send_layout(session: Session, directory: Path) -> None:
    """All blobs of a layout into the store that the client offers for this, those that others name last."""
    content = ClientContent(session, _EXPORT)
    for path in await asyncio.to_thread(_in_order, directory):
        digest = f"{path.parent.name}:{path.name}"
        size = path.stat().st_size
        if await content.size(digest) == size:
            continue
        try:
            async with content.write(f"upload-{digest}", digest, size) as writer:
                with open(path, "rb", buffering=0) as file:
                    file.seek(writer.offset)
                    while piece := await asyncio.to_thread(file.read, _PIECE):
                        await writer.write(piece)
        except ConflictError:
            continue  # it came there meanwhile


def _in_order(directory: Path) -> Sequence[Path]:
    """Manifests are small: of equals, what is named comes before what names it, or the order doesn't matter."""
    paths = [Path(entry.path) for below in os.scandir(directory / "blobs") for entry in os.scandir(below.path)]
    return sorted(paths, key=lambda path: (_is_document(path), path.name))


def _is_document(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(1) == b"{"
