"""Caches that travel with a build: records of others' builds that are found as one's own, and one's own for others.

What is wrong with a cache that is read is a warning, and its records are not found; a build never fails or waits long
for one. What is found becomes a record of this builder's, with layers that are fetched when somebody needs them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from boatyard.build.cache import document
from boatyard.build.cache.document import Entry
from boatyard.build.results import chain_of
from boatyard.build.solver.cache import Record, Records
from boatyard.build.solver.types import StepContext
from boatyard.build.source.image import Keys, told_by
from boatyard.build.source.registry import Asked
from boatyard.errors import BoatyardError, InvalidError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.digest import Digest
from boatyard.image.elsewhere import BlobSources
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.compression import Compression
from boatyard.image.layer.store import LayerStore
from boatyard.image.lease import Leases
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor, Index, Manifest
from boatyard.registry.hub import Hub
from boatyard.registry.repository import Repository

PATIENCE = 20.0
"""Seconds that a build waits for the records of a cache."""
_ASKED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class CachePlace:
    """Where a cache is, by BuildKit's attributes: `ref`; for exports `mode` (min, max), `compression`,
    `compression-level`, `force-compression`, `image-manifest`, `oci-mediatypes`, `ignore-error`."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.attrs.get("ref", self.type)

    def reference(self) -> Reference:
        """InvalidError when it names none."""
        if not self.attrs.get("ref"):
            raise InvalidError(f"a cache of type {self.type} needs ref=", hint="write it as type=registry,ref=NAME:TAG")
        return references.parse(self.attrs["ref"]).with_default_tag()


class Caches:
    """Reads and writes caches. One per daemon."""

    def __init__(self, layers: LayerStore, records: Records, hub: Hub, sources: BlobSources, leases: Leases) -> None:
        self._layers = layers
        self._records = records
        self._hub = hub
        self._sources = sources
        self._leases = leases

    async def opened(self, place: CachePlace, keys: Keys) -> Imported:
        """The records of a cache. Raises what keeps them from being read."""
        reference = place.reference()
        registries = self._hub.registries(Asked(keys))

        def work(stop: Stop) -> Mapping[str, Entry]:
            repository = self._hub.repository(registries, reference, stop)
            wanted = reference.digest or reference.tag or "latest"
            top = repository.manifest(wanted)
            config, layers = _parts(top.data, top.descriptor.media_type)
            if config is None:
                return {}  # an image without a cache in it
            with repository.open_blob(config) as (response, _):
                data = response.read(max(config.size, 1))
            if digests.of_bytes(data) != config.digest:
                raise InvalidError(f"the records of the cache {reference.familiar()} are damaged")
            entries = document.parse(data, layers)
            gone = self._gone(repository, entries.values())
            return {key: entry for key, entry in entries.items() if gone.isdisjoint(_blobs(entry))}

        async with asyncio.timeout(PATIENCE):
            entries = await run_interruptible(work)
        return Imported(entries, reference, self._layers, self._records, self._sources)

    def _gone(self, repository: Repository, entries: Iterable[Entry]) -> set[Digest]:
        """Layers that neither this builder nor the registry has any more. A record that leads to one is none: an image
        would be made of what can't be had."""
        wanted = {digest for entry in entries for digest in _blobs(entry)}
        wanted = {digest for digest in wanted if self._layers.content.info(digest) is None}
        with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="cache") as pool:
            there = pool.map(repository.has_blob, wanted)
            return {digest for digest, found in zip(wanted, there, strict=True) if not found}

    async def export(
        self, place: CachePlace, found: Iterable[Record], keys: Keys, step: StepContext
    ) -> Mapping[str, str]:
        """Write the cache of these records to its place: only what isn't there."""
        reference = place.reference()
        compression = _compression(place)
        force = place.attrs.get("force-compression") in ("true", "1", "")
        registries = self._hub.registries(Asked(keys))
        found = list(found)
        told = told_by(step, "writing layer ")

        def work(stop: Stop) -> Descriptor | None:
            builder = document.Builder()
            for record in found:
                stop.check()
                entry = self._entry(record, compression, force=force)
                if entry is not None:
                    builder.add(entry)
            if not builder.layers:
                return None
            content = self._layers.content
            with self._leases.hold() as lease:
                config = documents.write(content, builder.config(), document.CONFIG)
                lease.add_blob(config.digest)
                manifest = documents.write(content, *_manifest(place, config, tuple(builder.layers.values())))
                lease.add_blob(manifest.digest)
                repository = self._hub.repository(registries, reference, stop)
                names = (reference.tag,) if reference.tag else ()
                self._hub.push_cache(repository, names, manifest, config, builder.layers, self._layers, told)
            return manifest

        manifest = await run_interruptible(work)
        if manifest is None:
            return {}
        return {"cache.manifest": spec.encode(manifest).decode()}

    def _entry(self, record: Record, compression: Compression, *, force: bool) -> Entry | None:
        """None for a record whose layers are gone."""
        outputs = []
        try:
            for result in record.results:
                chain = chain_of(result)
                blobs = self._layers.published(chain, compression, force=force)
                diff_ids = self._layers.diff_ids(chain)
                rows = [self._layers.get(layer) for layer in chain]
                outputs.append(
                    tuple(
                        document.with_diff_id(blob, diff_id, row.created)
                        for blob, diff_id, row in zip(blobs, diff_ids, rows, strict=True)
                    )
                )
        except NotFoundError:
            return None
        keys = {*self._records.keys_of(record.id), record.key}
        return Entry(tuple(sorted(keys)), record.key, tuple(outputs), record.created, record.name)


class Imported:
    """The records of one cache that a build reads."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        reference: Reference,
        layers: LayerStore,
        records: Records,
        sources: BlobSources,
    ) -> None:
        self._entries = entries
        self._reference = reference
        self._layers = layers
        self._records = records
        self._sources = sources

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: str) -> Record | None:
        """A record under that key, this builder's own from now on."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        outputs = []
        for described in entry.outputs:
            chain: Chain = ()
            for layer in described:
                diff_id = digests.parse(layer.annotations[document.UNCOMPRESSED])
                chain = (*chain, self._layers.add_blob(chain, diff_id, layer))
            self._sources.add(self._reference, [layer.digest for layer in described])
            outputs.append(",".join(chain))
        record = Record(
            id=os.urandom(12).hex(),
            key=entry.canonical,
            results=tuple(outputs),
            name=entry.name,
            created=entry.created,
            used=entry.created,
        )
        self._records.store(record, sorted({key, entry.canonical}))
        return record


def _blobs(entry: Entry) -> Iterator[Digest]:
    for chain in entry.outputs:
        for layer in chain:
            yield layer.digest


def _parts(data: bytes, media_type: str) -> tuple[Descriptor | None, Sequence[Descriptor]]:
    """Of a manifest (or an index, as older builders write) of a cache: its records, and its layers."""
    if media_type in spec.INDEXES:
        entries = documents.parse_index(data).manifests
        config = next((each for each in entries if each.media_type == document.CONFIG), None)
        return config, [each for each in entries if each.media_type != document.CONFIG]
    manifest = documents.parse_manifest(data)
    return (manifest.config if manifest.config.media_type == document.CONFIG else None), manifest.layers


def _manifest(place: CachePlace, config: Descriptor, layers: tuple[Descriptor, ...]) -> tuple[bytes, str]:
    if place.attrs.get("image-manifest", "true") in ("false", "0"):
        index = Index(schema_version=2, media_type=spec.OCI_INDEX, manifests=(*layers, config))
        return spec.encode(index), spec.OCI_INDEX
    manifest = Manifest(schema_version=2, media_type=spec.OCI_MANIFEST, config=config, layers=layers)
    return spec.encode(manifest), spec.OCI_MANIFEST


def _compression(place: CachePlace) -> Compression:
    kind = place.attrs.get("compression", "gzip")
    level = place.attrs.get("compression-level", "")
    if level and not level.isdigit():
        raise InvalidError(f"compression-level {level!r} is not a number")
    return Compression({"uncompressed": "tar"}.get(kind, kind), int(level) if level else None)


Warn = Callable[[str, str], None]


async def open_all(caches: Caches, places: Sequence[CachePlace], keys: Keys, warn: Warn) -> list[Imported]:
    """Those that can be read, at once; of the others a warning."""

    async def one(place: CachePlace) -> Imported | None:
        try:
            return await caches.opened(place, keys)
        except TimeoutError:
            warn(f"the cache {place.name} is not used: it doesn't answer within {PATIENCE:g} seconds", "")
        except NotFoundError as error:
            warn(f"the cache {place.name} is not there (yet)", error.message)
        except BoatyardError as error:
            warn(f"the cache {place.name} is not used: {error.message}", error.hint or "")
        return None

    found = await asyncio.gather(*map(one, places))
    return [each for each in found if each is not None]
