"""Copy images from one registry to another, without a local store: blobs stream through, those of the same registry are
mounted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from boatyard.errors import NotFoundError
from boatyard.image import documents, spec
from boatyard.image import platform as platforms
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor
from boatyard.registry import referrers
from boatyard.registry.push import Pusher
from boatyard.registry.repository import Document, Repository

if TYPE_CHECKING:
    from boatyard.registry.transport import Response

_DEEPEST = 8

Told = Callable[[Descriptor, int], None]


def copy(
    source: Repository,
    wanted: str,
    target: Repository,
    names: Sequence[str],
    *,
    platform: Platform | None = None,
    with_referrers: bool = False,
    told: Told = lambda blob, count: None,
) -> Descriptor:
    """Copy what a tag or digest names, under these tags (none: by digest only). `platform`: only the manifest for it.
    `with_referrers`: signatures and the like come along. The descriptor of what was copied."""
    top = source.manifest(wanted)
    if platform is not None and top.descriptor.media_type in spec.INDEXES:
        top = source.manifest(_chosen(source, top, platform))
    collected: dict[Digest, Document] = {}
    _collect(source, top, collected, 0)
    pusher = Pusher(target, lambda blob: _opened(source, blob), known=lambda digest: (source.name,), told=told)
    blobs = [blob for document in collected.values() for blob in _blobs(document)]
    pusher.blobs(blobs)
    pusher.documents(list(collected.values()), names)
    if with_referrers:
        for digest in list(collected):
            for entry in referrers.find(source, digest):
                referring = source.manifest(entry.digest)
                pusher.blobs(_blobs(referring))
                referrers.attach(target, referring)
    return top.descriptor


def _chosen(source: Repository, index: Document, platform: Platform) -> Digest:
    entries = [
        each for each in documents.parse_index(index.data).manifests
        if each.platform and not documents.is_attestation(each)
    ]  # fmt: skip
    number = platforms.closest(platform, [each.platform for each in entries if each.platform])
    if number is None:
        offered = ", ".join(sorted({str(each.platform) for each in entries})) or "nothing"
        raise NotFoundError(f"{source.name.familiar_name()} has no variant for {platform}; it has {offered}")
    return entries[number].digest


def _collect(source: Repository, document: Document, found: dict[Digest, Document], depth: int) -> None:
    """A document after those below it, each once."""
    if document.descriptor.digest in found or depth > _DEEPEST:
        return
    if document.descriptor.media_type in spec.INDEXES:
        for entry in documents.parse_index(document.data).manifests:
            if entry.digest not in found and entry.media_type in spec.INDEXES | spec.MANIFESTS:
                _collect(source, source.manifest(entry.digest), found, depth + 1)
    found[document.descriptor.digest] = document


def _blobs(document: Document) -> list[Descriptor]:
    if document.descriptor.media_type not in spec.MANIFESTS:
        return []
    manifest = documents.parse_manifest(document.data)
    return [manifest.config, *manifest.layers]


@contextmanager
def _opened(source: Repository, blob: Descriptor) -> Iterator[BinaryIO]:
    with source.open_blob(blob) as (response, _):
        yield cast(BinaryIO, _Reading(response))


class _Reading:
    """An answer as a stream. The other registry verifies the digest."""

    def __init__(self, response: Response) -> None:
        self._pieces = response.stream(1 << 20)

    def read(self, size: int = -1) -> bytes:
        return next(self._pieces, b"")
