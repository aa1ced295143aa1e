"""The daemon's dealings with registries: pulls, pushes, and blobs that are fetched when somebody needs them.

Which repository a blob was seen in is kept in rows; with whose credentials a repository was reached last, in memory: a
layer that is fetched later is asked for with those.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from boatyard.errors import BoatyardError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image.content.store import ContentStore
from boatyard.image.digest import Digest
from boatyard.image.elsewhere import BlobSources
from boatyard.image.interruption import Stop
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.image.virtual import LayerStreams
from boatyard.registry.credential import Anonymous, Credentials
from boatyard.registry.hosts import Hosts
from boatyard.registry.proxies import proxy_of
from boatyard.registry.pull import Hold, Puller, Told
from boatyard.registry.push import Pusher
from boatyard.registry.repository import Document, Registries, Repository
from boatyard.registry.tokens import Tokens

if TYPE_CHECKING:
    from boatyard.registry.transport import Transport


_MOST_TOLD = 10_000


def _nobody(blob: Descriptor, count: int) -> None:
    """Nobody wants to know."""


class Hub:
    """One per daemon. Blocking and thread-safe. Implements `image.elsewhere.Elsewhere`."""

    def __init__(
        self,
        content: ContentStore,
        sources: BlobSources,
        hosts: Hosts,
        *,
        proxies: Mapping[str, str],
    ) -> None:
        """`proxies`: environment variables."""
        self._content = content
        self._sources = sources
        self._hosts = hosts
        self._proxies = proxies
        self._opened: Transport | None = None
        self._puller = Puller(content)
        self._lock = threading.Lock()
        self._used: dict[str, Registries] = {}
        """By repository: with whose credentials it was reached last."""
        self._told: dict[Digest, Told] = {}
        """Who wants to know how a blob's fetching goes."""

    def registries(self, credentials: Credentials) -> Registries:
        """All registries, as somebody with these credentials sees them."""
        transport = self._transport()
        return Registries(transport, self._hosts, Tokens(transport, credentials))

    def _transport(self) -> Transport:
        """Loaded when it is wanted: daemons that never speak to a registry do without."""
        with self._lock:
            if self._opened is None:
                from boatyard.registry.transport import Transport

                self._opened = Transport(proxies=lambda url: proxy_of(url, self._proxies))
            return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def repository(self, registries: Registries, reference: Reference, stop: Stop) -> Repository:
        with self._lock:
            self._used[reference.name] = registries
        return registries.repository(reference, stop)

    # Pulling

    def documents(
        self, repository: Repository, reference: Reference, hold: Hold, platforms: Sequence[Platform] | None
    ) -> Descriptor:
        """Everything of an image but its layers, which are known from then on. NotFoundError."""
        wanted = reference.digest or reference.tag or "latest"
        named = self._puller.documents(repository, wanted, hold, platforms)
        self._sources.add(repository.name, [layer.digest for layer in self._layers(named)])
        return named

    def _layers(self, named: Descriptor) -> Iterator[Descriptor]:
        """Of every platform whose manifest is here."""
        for manifest in documents.image_manifests(self._content, named):
            try:
                yield from documents.read_manifest(self._content, manifest).layers
            except NotFoundError:
                continue  # a platform that wasn't asked for

    def layers(self, repository: Repository, named: Descriptor, hold: Hold, told: Told) -> None:
        """The layers of what `documents` fetched."""
        wanted = list(self._layers(named))
        for layer in wanted:
            hold(layer.digest)
        self._puller.blobs(repository, wanted, told)

    def announce(self, registries: Registries, reference: Reference, blobs: Iterable[Digest], told: Told) -> None:
        """These may be fetched soon: with these credentials, and with this progress."""
        with self._lock:
            self._used[reference.name] = registries
            for digest in blobs:
                self._told.pop(digest, None)
                self._told[digest] = told
            while len(self._told) > _MOST_TOLD:
                del self._told[next(iter(self._told))]

    # Elsewhere

    def has(self, digest: Digest) -> bool:
        return bool(self._sources.of(digest))

    def fetch(self, blob: Descriptor) -> bool:
        failed: BoatyardError | None = None
        with self._lock:
            told = self._told.pop(blob.digest, None) or _nobody
        for name in self._sources.of(blob.digest):
            with self._lock:
                registries = self._used.get(name.name)
            repository = (registries or self.registries(Anonymous())).repository(name, Stop())
            try:
                self._puller.blob(repository, blob, told)
                return True
            except NotFoundError:
                self._sources.forget(name, blob.digest)
            except BoatyardError as error:
                failed = error
        if failed is not None:
            raise failed
        return False

    # Pushing

    def push(
        self, repository: Repository, names: Sequence[str], target: Descriptor, layers: LayerStore, told: Told
    ) -> None:
        """Push an image with everything below it that is here; `target`'s documents are in the content store.
        NotFoundError when a manifest that it names isn't."""
        found: dict[Digest, Document] = {}
        self._collect(target, found)
        blobs: dict[Digest, tuple[Descriptor, Digest | None]] = {}
        for document in found.values():
            if document.descriptor.media_type in spec.MANIFESTS:
                self._add_blobs(document, blobs)
        streams = LayerStreams(layers)

        @contextmanager
        def opened(blob: Descriptor) -> Iterator[BinaryIO]:
            with streams.open_layer(blob, blobs[blob.digest][1]) as stream:
                yield stream

        pusher = Pusher(repository, opened, known=self._sources.of, told=told)
        pusher.blobs([descriptor for descriptor, _ in blobs.values()])
        pusher.documents(list(found.values()), names)
        self._sources.add(repository.name, blobs)

    def push_cache(
        self,
        repository: Repository,
        names: Sequence[str],
        manifest: Descriptor,
        config: Descriptor,
        blobs: Mapping[Digest, Descriptor],
        layers: LayerStore,
        told: Told,
    ) -> None:
        """Push layers and a manifest that lists them, which is no image's."""
        streams = LayerStreams(layers)

        @contextmanager
        def opened(blob: Descriptor) -> Iterator[BinaryIO]:
            with streams.open_layer(blob, None) as stream:
                yield stream

        pusher = Pusher(repository, opened, known=self._sources.of, told=told)
        pusher.blobs([*blobs.values(), config])
        pusher.documents([Document(manifest, documents.read_bytes(self._content, manifest))], names)
        self._sources.add(repository.name, blobs)

    def _collect(self, descriptor: Descriptor, found: dict[Digest, Document]) -> None:
        """A document after those below it."""
        if descriptor.digest in found:
            return
        try:
            data = documents.read_bytes(self._content, descriptor)
        except NotFoundError as error:
            platform = f" for {descriptor.platform}" if descriptor.platform else ""
            raise NotFoundError(
                f"the manifest{platform} {descriptor.digest} of this image was never fetched",
                hint="pull it with --all-platforms, or push one platform with --platform",
            ) from error
        if descriptor.media_type in spec.INDEXES:
            for entry in documents.parse_index(data).manifests:
                self._collect(entry, found)
        found[descriptor.digest] = Document(descriptor, data)

    def _add_blobs(self, document: Document, blobs: dict[Digest, tuple[Descriptor, Digest | None]]) -> None:
        manifest = documents.parse_manifest(document.data)
        blobs.setdefault(manifest.config.digest, (manifest.config, None))
        diff_ids: Sequence[Digest | None] = [None] * len(manifest.layers)
        if manifest.config.media_type in spec.CONFIGS:
            known = documents.read_config(self._content, manifest).rootfs.diff_ids
            if len(known) == len(manifest.layers):
                diff_ids = known
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            blobs.setdefault(layer.digest, (layer, diff_id))
