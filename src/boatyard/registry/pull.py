"""Bring images from a registry into the content store: documents first, layers when they are wanted.

Every byte is verified by its digest. A transfer that breaks is taken up where it broke, in this process or the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from boatyard.errors import IntegrityError, NotFoundError, UnavailableError
from boatyard.image import documents, spec
from boatyard.image import platform as platforms
from boatyard.image.content.store import ContentStore
from boatyard.image.digest import Digest
from boatyard.image.layer.once import Once
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor
from boatyard.registry.repository import Repository

AT_ONCE = 4
"""Blobs."""
_BREAKS = 5
"""In a row without a byte between them."""
_CHUNK = 1 << 20

Told = Callable[[Descriptor, int], None]
"""Takes progress: of which blob, how many bytes are there. Called from threads."""
Hold = Callable[[Digest], None]
"""Told of every digest before its bytes are in the store, to keep them from being collected."""


class Puller:
    """One per daemon or command. Thread-safe: what two want at once is fetched once."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._once = Once()

    def documents(
        self, repository: Repository, wanted: str, hold: Hold, choose: Sequence[Platform] | None
    ) -> Descriptor:
        """Fetch what a tag or digest names, and below an index the manifests and configs for these platforms (None:
        all). The descriptor of what was named. NotFoundError when it isn't there, or has none of the platforms."""
        named = repository.resolve(wanted)
        self._document(repository, named, hold)
        if named.media_type in spec.INDEXES:
            for manifest in self._chosen(repository, named, hold, choose):
                self._document(repository, manifest, hold)
                self._config(repository, manifest, hold)
        else:
            self._config(repository, named, hold)
        return named

    def _chosen(
        self, repository: Repository, index: Descriptor, hold: Hold, choose: Sequence[Platform] | None
    ) -> list[Descriptor]:
        entries = list(documents.read_index(self._content, index).manifests)
        for nested in [each for each in entries if each.media_type in spec.INDEXES]:
            self._document(repository, nested, hold)
            entries += self._chosen(repository, nested, hold, choose)
        manifests = [each for each in entries if each.media_type in spec.MANIFESTS]
        if choose is None:
            return manifests
        images = [each for each in manifests if each.platform and not documents.is_attestation(each)]
        found = []
        for platform in choose:
            number = platforms.closest(platform, [each.platform for each in images if each.platform])
            if number is None:
                offered = ", ".join(sorted({str(each.platform) for each in images})) or "nothing"
                raise NotFoundError(
                    f"{repository.name.familiar_name()}@{index.digest} has no variant for {platform}; it has {offered}",
                    hint="choose one with --platform",
                )
            found.append(images[number])
        return found

    def _document(self, repository: Repository, descriptor: Descriptor, hold: Hold) -> None:
        hold(descriptor.digest)
        info = self._content.info(descriptor.digest)
        if info is None or info.size != descriptor.size:
            document = repository.manifest(descriptor.digest)
            documents.write(self._content, document.data, document.descriptor.media_type)

    def _config(self, repository: Repository, manifest: Descriptor, hold: Hold) -> None:
        config = documents.read_manifest(self._content, manifest).config
        hold(config.digest)
        if config.size <= documents.LARGEST:
            self.blob(repository, config)

    def blobs(
        self, repository: Repository, wanted: Iterable[Descriptor], told: Told = lambda blob, count: None
    ) -> None:
        """Several at a time; the first failure ends all."""
        wanted = list({blob.digest: blob for blob in wanted}.values())
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull") as pool:
            futures = [pool.submit(self.blob, repository, blob, told) for blob in wanted]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def blob(self, repository: Repository, blob: Descriptor, told: Told = lambda blob, count: None) -> None:
        """It is in the content store after this."""
        info = self._content.info(blob.digest)
        if info is not None and info.size == blob.size:
            told(blob, blob.size)
            return
        self._once.do(blob.digest, lambda: self._fetch(repository, blob, told))

    def _fetch(self, repository: Repository, blob: Descriptor, told: Told) -> None:
        with self._content.ingest(f"blob {blob.digest}", resume=True) as writer:
            breaks = 0
            while writer.offset < blob.size or not blob.size:
                before = writer.offset
                try:
                    with repository.open_blob(blob, writer.offset) as (response, begin):
                        if begin < writer.offset:
                            writer.truncate()
                            before = 0
                        for piece in response.stream(_CHUNK):
                            if writer.offset + len(piece) > blob.size:
                                writer.abort()
                                raise IntegrityError(
                                    f"{repository.name.domain} sends more than the {blob.size} bytes of {blob.digest}"
                                )
                            writer.write(piece)
                            told(blob, writer.offset)
                    if not blob.size:
                        break
                    if writer.offset < blob.size:
                        raise UnavailableError(
                            f"{repository.name.domain} sent {writer.offset} of the {blob.size} bytes of {blob.digest}"
                        )
                except UnavailableError:
                    repository.stop.check()
                    breaks = 0 if writer.offset > before else breaks + 1
                    if breaks >= _BREAKS:
                        raise
                    repository.stop.wait(0.2 * 2**breaks)
                    repository.stop.check()
            try:
                writer.commit(size=blob.size, digest=blob.digest)
            except IntegrityError as error:
                raise IntegrityError(
                    f"{repository.name.domain} sends other bytes for {blob.digest}: {error.message}",
                    hint="it, or something on the way, is damaged or forges images",
                ) from error
