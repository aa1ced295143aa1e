"""Pull-through: what another registry has, fetched when somebody asks for it, and kept.

What a tag means is asked for again after a while; where the other registry can't be reached, what is here is given.
Blobs go to the client while they come in. Uses the client of this package, with its credentials, retries and
verification.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import ExitStack

from boatyard.errors import BoatyardError, NotFoundError
from boatyard.image.digest import Digest
from boatyard.image.interruption import Stop
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.registry.repository import Document, Registries, Repository
from boatyard.registry.server import manifest as facts
from boatyard.registry.server.records import ManifestRow, Records
from boatyard.registry.server.refusal import RefusedError, blob_unknown, manifest_unknown, name_unknown
from boatyard.registry.server.store import BlobStore

log = logging.getLogger(__name__)

FRESH = 60.0
"""Seconds for which a tag is believed to mean what it meant."""
_REMEMBERED = 10_000
_MOST_TAGS = 100_000
_PIECE = 1 << 20


class Mirror:
    """One per process; used on the event loop."""

    def __init__(
        self, registries: Registries, domain: str, records: Records, blobs: BlobStore, *, clock: Callable[[], float]
    ) -> None:
        self._registries = registries
        self._domain = domain
        self._records = records
        self._blobs = blobs
        self._clock = clock
        self._checked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._fetching: dict[tuple[str, Digest], asyncio.Lock] = {}

    def _repository(self, name: str) -> Repository:
        return self._registries.repository(Reference(self._domain, name), Stop())

    # Manifests

    async def bring_manifest(self, name: str, reference: str) -> None:
        """See to it that it is here, as the other registry has it now. RefusedError (404, 502)."""
        by_digest = ":" in reference
        here = self._records.manifest(name, reference)
        if here is not None and (by_digest or self._is_fresh(name, reference)):
            return
        try:
            await asyncio.to_thread(self._bring, name, reference)
        except NotFoundError as error:
            raise manifest_unknown(reference) from error
        except BoatyardError as error:
            if here is None:
                raise _unreachable(error) from error
            log.warning("%s:%s may be old: %s", name, reference, error.message)
        self._checked[name, reference] = self._clock()
        if len(self._checked) > _REMEMBERED:
            self._checked.popitem(last=False)

    def _is_fresh(self, name: str, tag: str) -> bool:
        return self._clock() - self._checked.get((name, tag), -FRESH) < FRESH

    def _bring(self, name: str, reference: str) -> None:
        repository = self._repository(name)
        if ":" in reference:
            self._keep(name, repository.manifest(reference), [])
            return
        named = repository.resolve(reference)
        if (known := self._records.manifest(name, named.digest)) is not None:
            self._records.set_tag(name, reference, known.digest)
            return
        self._keep(name, repository.manifest(named.digest), [reference])

    def _keep(self, name: str, document: Document, tags: list[str]) -> None:
        descriptor, data = document.descriptor, document.data
        found = facts.read(data, descriptor.media_type)
        row = ManifestRow(
            descriptor.digest, found.media_type, len(data), found.artifact_type, found.subject, found.annotations
        )
        with self._blobs.stage(data, row.digest) as staged:
            self._records.put_manifest(
                name,
                row,
                blobs=found.blobs,
                manifests=found.manifests,
                tags=tags,
                publish=staged.publisher(row.digest),
                complete=False,
            )

    async def tags(self, name: str) -> list[str]:
        """In order. What is here, where the other registry can't be reached. RefusedError (404, 502)."""
        try:
            return sorted(await asyncio.to_thread(self._repository(name).tags))
        except NotFoundError as error:
            raise name_unknown(name) from error
        except BoatyardError as error:
            repository = self._records.repository(name)
            if repository is None:
                raise _unreachable(error) from error
            log.warning("the tags of %s may be old: %s", name, error.message)
            return self._records.tags(repository, "", _MOST_TAGS)

    # Blobs

    async def fetch(self, name: str, digest: Digest) -> AsyncIterator[tuple[int | None, bytes]]:
        """A blob's size, if that is known, and its pieces as they come in. When they have ended, it is here, and its
        bytes were right; the last piece waits for that. Nothing, when somebody else was bringing it. RefusedError
        (404, 502) before the first piece."""
        key = (name, digest)
        lock = self._fetching.setdefault(key, asyncio.Lock())
        async with lock:
            if self._records.link(name, digest) is None:
                pieces = self._pieces(name, digest)
                try:
                    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                        yield piece
                except NotFoundError as error:
                    raise blob_unknown(digest) from error
                except BoatyardError as error:
                    raise _unreachable(error) from error
                finally:
                    await asyncio.to_thread(_end, pieces)
        self._fetching.pop(key, None)

    def _pieces(self, name: str, digest: Digest) -> Generator[tuple[int | None, bytes], None, None]:
        wanted = Descriptor(media_type="", digest=digest, size=0)
        with ExitStack() as stack:
            response, _ = stack.enter_context(self._repository(name).open_blob(wanted))
            upload = stack.enter_context(self._blobs.append(name, self._blobs.begin(name)))
            upload.expect(digest)
            held = b""
            try:
                for piece in response.stream(_PIECE):
                    upload.write(memoryview(piece))
                    if held:
                        yield response.length, held
                    held = piece
                upload.verify(digest)
            except (BoatyardError, GeneratorExit):
                upload.abort()
                raise
            self._records.link_blob(name, digest, upload.offset, upload.publisher(digest))
            yield upload.offset, held


def _end(pieces: Generator[tuple[int | None, bytes], None, None]) -> None:
    try:
        pieces.close()
    except ValueError:
        return  # it runs in another thread, and will end there


def _unreachable(error: BoatyardError) -> RefusedError:
    return RefusedError(502, "UNKNOWN", f"the mirrored registry: {error.message}")
