"""Garbage collection: what nothing refers to is removed.

Mark: images keep their documents, the blobs those name, and the layers their diff IDs stand for; leases keep what they
hold; the build cache keeps the layers it says (`roots`); a layer that is kept keeps its blobs and, while it has no
snapshot, the layers below it, which it needs to be unpacked. What is younger than the grace period is kept too:
somebody may be about to name it. Sweep: everything else goes, layers first, so that their blobs go in the same run.

Candidates are listed before marking, so that what is made meanwhile is never one. What is named or leased meanwhile is
seen by the generation counters of the stores, under their lock, right before removal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from boatyard.errors import BoatyardError, ConflictError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image.content.store import ContentStore
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.lease import Leases
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.image.spec import Descriptor
from boatyard.image.store import ImageStore

log = logging.getLogger(__name__)

GRACE = 600.0
_BATCH = 32


class LayerRow(Protocol):
    """What is asked of a layer store's row."""

    @property
    def id(self) -> LayerId: ...
    @property
    def snapshot(self) -> SnapshotId | None: ...
    @property
    def base(self) -> Chain: ...
    @property
    def diff_id(self) -> Digest | None: ...
    @property
    def usage(self) -> int | None: ...
    @property
    def used(self) -> float: ...
    @property
    def blobs(self) -> Sequence[Descriptor]: ...


class Layers(Protocol):
    """What is asked of a layer store."""

    def walk(self) -> Iterable[LayerRow]: ...
    def find_chain(self, diff_ids: Sequence[Digest]) -> Chain | None: ...
    def remove(self, layer: LayerId) -> None:
        """Row and snapshot. ConflictError while it is mounted."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed. `bytes` counts blobs and snapshots."""

    blobs: tuple[Digest, ...] = ()
    layers: tuple[LayerId, ...] = ()
    bytes: int = 0


@dataclass(slots=True)
class _Marked:
    """What has to stay, as of two generations."""

    generations: tuple[int, int]
    blobs: set[Digest] = field(default_factory=set)
    layers: set[LayerId] = field(default_factory=set)


def collect(
    content: ContentStore,
    layers: Layers,
    images: ImageStore,
    leases: Leases,
    *,
    roots: Callable[[], Iterable[LayerId]] = tuple,
    grace: float = GRACE,
    now: float | None = None,
) -> Collected:
    """Remove what nothing refers to and nobody touched for `grace` seconds. Blocks; one at a time. A blob that can't be
    removed is logged and left."""
    collection = _Collection(content, layers, images, leases, roots, (time.time() if now is None else now) - grace)
    removed, freed = collection.sweep_layers()
    deleted, more = collection.sweep_blobs()
    return Collected(tuple(deleted), tuple(removed), freed + more)


@dataclass(slots=True)
class _Collection:
    """One run of `collect`."""

    content: ContentStore
    layers: Layers
    images: ImageStore
    leases: Leases
    roots: Callable[[], Iterable[LayerId]]
    oldest: float
    known: dict[Digest, tuple[Sequence[Descriptor], tuple[Digest, ...] | None]] = field(default_factory=dict)

    def sweep_layers(self) -> tuple[list[LayerId], int]:
        rows = {row.id: row for row in self.layers.walk()}
        marked = self._mark(rows)
        removed: list[LayerId] = []
        freed = 0
        for row in rows.values():
            if row.id in marked.layers:
                continue
            if marked.generations != self._generations():
                marked = self._mark(rows)
                if row.id in marked.layers:
                    continue
            try:
                self.layers.remove(row.id)
            except (ConflictError, NotFoundError):
                continue
            removed.append(row.id)
            freed += row.usage or 0
        return removed, freed

    def sweep_blobs(self) -> tuple[list[Digest], int]:
        candidates = [info for info in self.content.walk() if info.modified <= self.oldest]
        marked = self._mark_for_blobs()
        candidates = [info for info in candidates if info.digest not in marked.blobs]
        deleted: list[Digest] = []
        freed = 0
        for start in range(0, len(candidates), _BATCH):
            with self.leases.frozen():
                if marked.generations != self._generations():
                    marked = self._mark_for_blobs()
                for candidate in candidates[start : start + _BATCH]:
                    current = self.content.info(candidate.digest)
                    if current is None or current.modified > self.oldest or candidate.digest in marked.blobs:
                        continue
                    try:
                        self.content.delete(candidate.digest)
                    except BoatyardError as error:
                        log.warning("blob %s can't be removed: %s", candidate.digest, error)
                        continue
                    deleted.append(candidate.digest)
                    freed += current.size
        return deleted, freed

    def _generations(self) -> tuple[int, int]:
        return self.images.generation, self.leases.generation

    def _mark_for_blobs(self) -> _Marked:
        """Every layer that is still there keeps its blobs, whatever the reason why it was not removed."""
        rows = {row.id: row for row in self.layers.walk()}
        return self._mark(rows, kept=rows)

    def _mark(self, rows: Mapping[LayerId, LayerRow], *, kept: Iterable[LayerId] = ()) -> _Marked:
        marked = _Marked(self._generations())
        held = self.leases.held()
        marked.blobs |= held.blobs
        by_diff_id: dict[Digest, list[LayerId]] = {}
        by_blob: dict[Digest, list[LayerId]] = {}
        for row in rows.values():
            if row.diff_id is not None:
                by_diff_id.setdefault(row.diff_id, []).append(row.id)
            for blob in row.blobs:
                by_blob.setdefault(blob.digest, []).append(row.id)
        wanted = [*kept, *held.layers, *self.roots()]
        wanted += (row.id for row in rows.values() if row.used > self.oldest)
        diff_ids = self._mark_images(marked)
        for digest in marked.blobs:
            wanted += by_blob.get(digest, ())
        for chain in diff_ids:
            known = self.layers.find_chain(chain)
            wanted += known if known is not None else (row for diff in chain for row in by_diff_id.get(diff, ()))
        while wanted:
            layer = wanted.pop()
            if layer in marked.layers or layer not in rows:
                continue
            marked.layers.add(layer)
            row = rows[layer]
            marked.blobs.update(blob.digest for blob in row.blobs)
            if row.snapshot is None:
                wanted += row.base
        return marked

    def _mark_images(self, marked: _Marked) -> list[tuple[Digest, ...]]:
        """Mark all that images name; the diff IDs of each of their platforms."""
        stacks = []
        todo = [image.target for image in self.images.list()]
        seen: set[Digest] = set()
        while todo:
            descriptor = todo.pop()
            if descriptor.digest in seen:
                continue
            seen.add(descriptor.digest)
            marked.blobs.add(descriptor.digest)
            children, diff_ids = self._references(descriptor)
            todo += children
            if diff_ids is not None:
                stacks.append(diff_ids)
        return stacks

    def _references(self, descriptor: Descriptor) -> tuple[Sequence[Descriptor], tuple[Digest, ...] | None]:
        """What a document names, and the diff IDs if it is a config. Read once a run: marking again is cheap then."""
        known = self.known.get(descriptor.digest)
        if known is not None:
            return known
        children: Sequence[Descriptor] = ()
        diff_ids: tuple[Digest, ...] | None = None
        try:
            children = documents.children(self.content, descriptor)
            if descriptor.media_type in spec.CONFIGS:
                diff_ids = documents.parse_config(documents.read_bytes(self.content, descriptor)).rootfs.diff_ids
        except NotFoundError:
            # A platform that was never fetched, or not yet.
            return (), None
        except BoatyardError as error:
            log.warning("image document %s can't be read; it is kept: %s", descriptor.digest, error)
        self.known[descriptor.digest] = children, diff_ids
        return children, diff_ids
