"""The layer store: layers as rows, and the way from their files to their bytes and back.

A layer comes from a step (`add`: its snapshot is there, its bytes are made when somebody needs them) or from an image
(`add_blob`: its bytes are there, its files are unpacked when somebody needs them). Both ways are lazy, run once however
many ask at the same time, and verify: what doesn't have the digest it should have is an IntegrityError that names it.

A layer made here has no blob until one is asked for: its tar is made again from its files whenever it is read, and has
the same digest each time (docs/adr/0003).
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

from boatyard.errors import (
    BoatyardError,
    DeniedError,
    IntegrityError,
    LayerError,
    LostLayerError,
    NotFoundError,
    UnavailableError,
)
from boatyard.image import digest as digests
from boatyard.image.content.store import ContentStore, Ingester
from boatyard.image.content.verified import check_blob, verified
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.documents import chain_id
from boatyard.image.elsewhere import Elsewhere, Nowhere
from boatyard.image.layer.apply import DEFAULT_LIMITS, Limits, apply
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.compression import Compression, kind_of, open_decompressed
from boatyard.image.layer.diff import write_layer
from boatyard.image.layer.digesting import Digester, Sink, Tee
from boatyard.image.layer.holds import Holds
from boatyard.image.layer.once import Once
from boatyard.image.layer.packing import Packed, Packer
from boatyard.image.layer.produced import Produced, pump
from boatyard.image.layer.rows import MADE_HERE, ORIGIN, REWRITTEN, Layer, LayerRows
from boatyard.image.layer.tracing import TracingDigester
from boatyard.image.snapshot.snapshotter import SnapshotId, Snapshotter
from boatyard.image.spec import Descriptor

__all__ = ["Layer", "LayerStore"]

log = logging.getLogger(__name__)

_AT_ONCE = 2
"""Layers that are packed or unpacked at the same time; each uses two to four threads."""
_FETCHED_AT_ONCE = 4
_UNCOMPRESSED = "containerd.io/uncompressed"
"""The annotation under which others keep a blob's diff ID, too."""

_Made = TypeVar("_Made")


class LayerStore:
    """One per daemon. Methods block and are thread-safe."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        snapshotter: Snapshotter,
        *,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
        derived: Ingester | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`derived` is where blobs are put that can be made again from a snapshot: the content store, perhaps in a way
        that doesn't wait for the disk. `elsewhere`: who gets blobs that layers came with and that are not stored."""
        self._elsewhere = elsewhere or Nowhere()
        self.content = content
        self.snapshotter = snapshotter
        self._limits = limits
        self._clock = clock
        self._rows = LayerRows(database, clock)
        self._once = Once()
        self._damaged: set[LayerId] = set()
        """Made here, and then found changed: containers may still run on them, but no build finds them."""
        self._holds = Holds()
        self._packer = Packer(self._write, self._write_traced, self._check_diff_id, derived or content)

    # Rows

    def add(self, snapshot: SnapshotId, *, base: Chain = ()) -> LayerId:
        """Commit an active snapshot and make it a layer. It was made on `base`."""
        self.snapshotter.commit(snapshot)
        now = self._clock()
        layer = Layer(LayerId(f"{MADE_HERE}{secrets.token_hex(6)}"), snapshot, base, None, None, None, now, now)
        try:
            return self._rows.insert(layer).id
        except BaseException:
            self.snapshotter.remove(snapshot)
            raise

    def add_blob(self, base: Chain, diff_id: Digest, descriptor: Descriptor) -> LayerId:
        """A layer that is in the content store, or will be, to be unpacked on `base`. Asked for again, or for a layer
        with the same bytes that was made here on layers with the same bytes, it is the same layer."""
        kind_of(descriptor.media_type)
        row = self._same(base, diff_id)
        if row is None:
            key = json.dumps([*base, diff_id]).encode()
            now = self._clock()
            id = LayerId(f"b{hashlib.sha256(key).hexdigest()[:20]}")
            row = self._rows.insert(Layer(id, None, base, diff_id, None, None, now, now))
        if not any(blob.digest == descriptor.digest for blob in row.blobs) and (
            descriptor.digest != diff_id or self.content.info(diff_id) is not None or row.snapshot is None
        ):
            plain = Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size)
            self._rows.add_blob(row.id, ORIGIN + descriptor.digest, plain)
        return row.id

    def _same(self, base: Chain, diff_id: Digest) -> Layer | None:
        for row in self._whole(diff_id):
            if row.base == base or (len(row.base) == len(base) and self._equal(row.base, base)):
                return row
        return None

    def _equal(self, left: Chain, right: Chain) -> bool:
        for one, other in zip(left, right, strict=True):
            if one != other:
                known = self._rows.find(one), self._rows.find(other)
                if known[0] is None or known[1] is None or known[0].diff_id is None:
                    return False
                if known[0].diff_id != known[1].diff_id:
                    return False
        return True

    def get(self, layer: LayerId) -> Layer:
        """NotFoundError when there is none."""
        return self._rows.get(layer)

    def find_layer(self, diff_id: Digest) -> LayerId | None:
        """A layer with these uncompressed bytes; one that is unpacked, if there is."""
        found = sorted(self._whole(diff_id), key=lambda row: row.snapshot is None)
        return found[0].id if found else None

    def _whole(self, diff_id: Digest) -> list[Layer]:
        return [row for row in self._rows.with_diff_id(diff_id) if row.id not in self._damaged]

    def exists(self, chain: Chain) -> bool:
        """Whether every layer's files can be had: there is a snapshot on disk, or a blob in the content store; and are
        not known to be damaged."""
        return self._damaged.isdisjoint(chain) and all(
            not self._holds.is_leaving(layer) and self._is_there(self._rows.find(layer)) for layer in chain
        )

    def _is_there(self, row: Layer | None) -> bool:
        if row is None:
            return False
        if row.snapshot is not None and self.snapshotter.exists(row.snapshot):
            return True
        return self._stored_blob(row.blobs) is not None or any(self._elsewhere.has(blob.digest) for blob in row.blobs)

    def fetch(self, blob: Descriptor) -> bool:
        """Get a blob that isn't stored from where it is; whether it is stored now. UnavailableError, DeniedError."""
        return self._stored_blob((blob,)) is not None or self._elsewhere.fetch(blob)

    def _stored_blob(self, blobs: Iterable[Descriptor]) -> Descriptor | None:
        for blob in blobs:
            info = self.content.info(blob.digest)
            if info is not None and info.size == blob.size:
                return blob
        return None

    def touch(self, chain: Chain) -> None:
        """These layers were used now."""
        self._rows.touch(chain)

    def walk(self) -> Iterable[Layer]:
        """Every layer, the oldest first, with its usage measured."""
        return [self._measured(row) for row in self._rows.all()]

    def _measured(self, row: Layer) -> Layer:
        if row.usage is not None or row.snapshot is None:
            return row
        try:
            usage = self.snapshotter.usage(row.snapshot).bytes
            return self._rows.update(row.id, usage=usage)
        except NotFoundError:  # removed meanwhile
            return row

    def remove(self, layer: LayerId) -> None:
        """Row and snapshot; its blobs stay in the content store. ConflictError while it is held or mounted.
        Idempotent."""
        with self._holds.leaving(layer):
            row = self._rows.find(layer)
            if row is None:
                return
            self._packer.forget(layer)
            if row.snapshot is not None:
                self.snapshotter.remove(row.snapshot)
            self._rows.delete(layer)

    def hold(self, chain: Chain) -> None:
        """Keep `remove` from taking these layers until `let_go`. One may be on its way out already: see `exists`."""
        self._holds.hold(chain)

    def let_go(self, chain: Chain) -> None:
        """Undo one `hold`. Doesn't block: a finalizer may call it."""
        self._holds.let_go(chain)

    def cleanup(self) -> None:
        """At start: make rows and snapshots agree after a crash."""
        snapshots = set(self.snapshotter.walk())
        known: set[SnapshotId] = set()
        for row in self._rows.all():
            if row.snapshot is None or row.snapshot in snapshots:
                if row.snapshot is not None:
                    known.add(row.snapshot)
            elif row.origin is not None:
                self._rows.update(row.id, snapshot=None, usage=None)
            else:
                self._rows.delete(row.id)
        for snapshot in snapshots - known:
            self.snapshotter.remove(snapshot)
        for id, chain in self._rows.chains():
            if any(self._rows.find(layer) is None for layer in chain):
                self._rows.forget_chain(id)

    # Chains

    def record_chain(self, chain: Chain) -> Digest:
        """Remember what the diff IDs of these layers stand for."""
        id = chain_id(self.diff_ids(chain))
        self._rows.record_chain(id, chain)
        return id

    def find_chain(self, diff_ids: Sequence[Digest]) -> Chain | None:
        """The layers that were recorded for these diff IDs, if all of them are still known."""
        id = chain_id(diff_ids)
        chain = self._rows.chain(id)
        if chain is not None and any(self._rows.find(layer) is None for layer in chain):
            self._rows.forget_chain(id)
            return None
        return chain

    # Files

    def mount(self, chain: Chain, *, active: SnapshotId | None = None) -> AbstractContextManager[Path]:
        """The merged tree; see `Snapshotter.mount`. Unpacks first what isn't."""
        return self.snapshotter.mount(self.materialise(chain), active=active)

    def directories(self, chain: Chain) -> tuple[Path, ...]:
        """Each layer's own files, in overlay form, lowest first."""
        return tuple(self.snapshotter.directory(snapshot) for snapshot in self.materialise(chain))

    def materialise(self, chain: Chain) -> tuple[SnapshotId, ...]:
        """Unpack what has no snapshot yet. NotFoundError when a layer is gone, IntegrityError or LayerError when one is
        bad."""
        rows = [self._rows.get(layer) for layer in chain]
        missing = [row.id for row in rows if row.snapshot is None]
        if missing:
            with self._fetching(rows):
                self._in_parallel(self._unpacked, missing)
            rows = [self._rows.get(layer) for layer in chain]
        return tuple(cast(SnapshotId, row.snapshot) for row in rows)

    @contextmanager
    def _fetching(self, rows: Iterable[Layer]) -> Iterator[None]:
        """Blobs that aren't here are fetched ahead of their unpacking, a few at a time. What fails is left to whoever
        unpacks: it asks once more, and tells."""

        def fetch(blob: Descriptor) -> None:
            try:
                self._elsewhere.fetch(blob)
            except BoatyardError as error:
                log.info("%s can't be fetched ahead: %s", blob.digest, error.message)

        wanted = [
            blob
            for row in rows
            if row.snapshot is None and self._stored_blob(row.blobs) is None
            for blob in row.blobs
            if self._elsewhere.has(blob.digest)
        ]
        if len(wanted) < 2:
            yield
            return
        with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetch") as pool:
            for blob in wanted:
                pool.submit(fetch, blob)
            try:
                yield
            finally:
                pool.shutdown(cancel_futures=True)

    def _in_parallel(self, work: Callable[[LayerId], _Made], layers: Sequence[LayerId]) -> list[_Made]:
        """In order, so that a layer never waits for one that hasn't been started: those below it come first."""
        if len(layers) < 2:
            return [work(layer) for layer in layers]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="layers") as pool:
            futures = [pool.submit(work, layer) for layer in layers]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _unpacked(self, layer: LayerId) -> None:
        self._once.do(("unpack", layer), lambda: self._unpack(layer))

    def _unpack(self, layer: LayerId) -> None:
        row = self._rows.get(layer)
        if row.snapshot is not None:
            return
        snapshot = self.snapshotter.prepare()
        try:
            with self._open_blob(row) as (stream, digester):
                apply(
                    stream,
                    self.snapshotter.directory(snapshot),
                    lowers=lambda: self.directories(row.base),
                    limits=self._limits,
                )
                diff_id = digester.close()
            self._check_diff_id(row, diff_id)
            self.snapshotter.commit(snapshot)
        except BaseException:
            self.snapshotter.remove(snapshot)
            raise
        self._rows.update(layer, snapshot=snapshot, size=digester.size, diff_id=diff_id)

    @contextmanager
    def _open_blob(self, row: Layer, *, digested: bool = True) -> Iterator[tuple[Produced, Digester]]:
        """The layer's stored bytes, uncompressed; they pass the digester, which is to be closed after the end of the
        stream."""
        blob = self._stored_blob(row.blobs) or self._fetched(row)
        if blob is None:
            named = f" ({row.blobs[0].digest})" if row.blobs else ""
            raise NotFoundError(
                f"layer {row.diff_id or row.id}{named} isn't in the content store any more",
                hint="load or build the image again",
            )
        digester = Digester(digests.algorithm(row.diff_id) if row.diff_id else "sha256")
        try:
            with (
                verified(self.content, blob) as stored,
                open_decompressed(stored) as plain,
                Produced(lambda sink: pump(plain, Tee(digester, sink) if digested else sink)) as stream,
            ):
                yield stream, digester
        except (IntegrityError, LayerError):
            # Decompression may stumble over damaged bytes before their digest is known to be wrong.
            if (reason := self.drop_damaged(blob)) is not None:
                raise reason from None
            raise
        finally:
            digester.abort()

    def _fetched(self, row: Layer) -> Descriptor | None:
        known = any(self._elsewhere.has(blob.digest) for blob in row.blobs)
        try:
            found = next((blob for blob in row.blobs if self._elsewhere.fetch(blob)), None)
            if known and found is None:
                raise UnavailableError("it is gone from where it was", hint="build or pull the image again")
            return found
        except (UnavailableError, DeniedError, IntegrityError) as error:
            raise LostLayerError(
                f"layer {row.diff_id or row.id} can't be fetched: {error.message}", hint=error.hint
            ) from error

    def drop_damaged(self, blob: Descriptor) -> IntegrityError | None:
        """Something is wrong with what was read from a blob. If it is the blob, it is removed, so that good bytes can
        take its place (a store keeps what it has), and the reason returned."""
        try:
            check_blob(self.content, blob)
        except IntegrityError as error:
            log.error("%s; it was removed from the content store", error.message)
            try:
                self.content.delete(blob.digest)
            except NotFoundError:
                pass
            return error
        except NotFoundError:
            pass
        return None

    def _check_diff_id(self, row: Layer, found: Digest) -> None:
        if row.diff_id is None or found == row.diff_id:
            return
        if row.made_here and row.snapshot is not None:
            self._damaged.add(row.id)
            raise IntegrityError(
                f"the files of layer {row.diff_id} in {self.snapshotter.directory(row.snapshot)} were changed: "
                f"they make {found} now",
                hint="build the image again: the step that made the layer will run anew",
            )
        raise IntegrityError(
            f"layer {row.diff_id} has the bytes of {found}", hint="the image is damaged or forged: get it again"
        )

    # Bytes

    def diff_ids(self, chain: Chain) -> tuple[Digest, ...]:
        """Hashes what isn't known yet, and remembers it. Of layers that came with a blob it is known."""
        rows = [self._rows.get(layer) for layer in chain]
        made = iter(self.describe(tuple(row.id for row in rows if row.diff_id is None)))
        return tuple(row.diff_id or next(made)[0] for row in rows)

    def describe(self, chain: Chain) -> tuple[tuple[Digest, int], ...]:
        """(diff ID, bytes of the uncompressed tar) of each layer. Reads what isn't known yet, and remembers it."""
        rows = [self._rows.get(layer) for layer in chain]
        unknown = [row.id for row in rows if row.diff_id is None or row.size is None]
        if unknown:
            self._in_parallel(self._described, list(dict.fromkeys(unknown)))
            rows = [self._rows.get(layer) for layer in chain]
        return tuple((cast(Digest, row.diff_id), cast(int, row.size)) for row in rows)

    def _described(self, layer: LayerId) -> None:
        self._once.do(("describe", layer), lambda: self._describe(layer))

    def _describe(self, layer: LayerId) -> None:
        row = self._rows.get(layer)
        if row.diff_id is not None and row.size is not None:
            return
        diff_id, size = self._packer.digest(row)
        self._rows.update(layer, diff_id=diff_id, size=size)

    def _write(self, row: Layer, sink: Sink, max_mtime: int | None = None) -> None:
        """The uncompressed bytes: of the blob it came with, or made from the files. The caller checks the diff ID."""
        if not row.made_here and max_mtime is None and (row.snapshot is None or self._stored_blob(row.blobs)):
            with self._open_blob(row, digested=False) as (stream, _):
                pump(stream, sink)
            return
        (directory,) = self.directories((row.id,))
        write_layer(directory, sink, max_mtime=max_mtime)

    def _write_traced(self, row: Layer, tracer: TracingDigester) -> None:
        (directory,) = self.directories((row.id,))
        write_layer(directory, tracer, tracer=tracer)

    @contextmanager
    def open_tar(self, layer: LayerId) -> Iterator[BinaryIO]:
        """The uncompressed tar. The read that would return its end raises IntegrityError instead when the digest is
        wrong."""
        row = self._rows.get(layer)

        def produce(sink: Sink) -> None:
            digester = Digester(digests.algorithm(row.diff_id) if row.diff_id else "sha256")
            try:
                self._write(row, Tee(digester, sink))
                diff_id = digester.close()
            finally:
                digester.abort()
            self._check_diff_id(row, diff_id)
            if row.diff_id is None or row.size is None:
                self._rows.update(layer, diff_id=diff_id, size=digester.size)

        with Produced(produce) as stream:
            yield cast(BinaryIO, stream)

    def blob(self, layer: LayerId, compression: Compression, *, force: bool = False) -> Descriptor:
        """The layer as a blob in the content store. Without `force`, a layer that came with a blob keeps it, however it
        is compressed; with it, too, if the kind is right and no level was asked for."""
        stored = self.stored_blob(layer, compression, force=force)
        if stored is not None:
            return stored
        return self._once.do(("blob", layer, compression.key), lambda: self._make_blob(layer, compression))

    def stored_blob(self, layer: LayerId, compression: Compression, *, force: bool = False) -> Descriptor | None:
        """What `blob` returns, if that is in the content store."""
        row = self._rows.get(layer)
        for key, descriptor in zip(row.keys, row.blobs, strict=True):
            wanted = key == compression.key
            if key.startswith(ORIGIN) and not row.made_here:
                same_kind = kind_of(descriptor.media_type) == compression.kind
                wanted = not force or (same_kind and (compression.level is None or compression.kind == "tar"))
            if wanted and (self._stored_blob((descriptor,)) or (key.startswith(ORIGIN) and self.fetch(descriptor))):
                return descriptor
        return None

    def published(self, chain: Chain, compression: Compression, *, force: bool = False) -> tuple[Descriptor, ...]:
        """`blobs` for an image that leaves for a registry: those that layers came with need not be here."""
        rows = [self._rows.get(layer) for layer in chain]
        made = [row.id for row in rows if row.origin is None or force]
        packed = iter(self.blobs(tuple(made), compression, force=force))
        return tuple(next(packed) if row.origin is None or force else row.origin for row in rows)

    def was_packed(self, layer: LayerId, compression: Compression) -> bool:
        """Whether it was compressed so before, wherever the bytes are now."""
        return compression.key in self._rows.get(layer).keys

    def pack(self, layer: LayerId, compression: Compression, sink: Sink) -> Descriptor:
        """Write the blob to `sink` instead of the content store. What it is, is remembered."""
        row = self._rows.get(layer)
        return self._remember(row, compression, self._packer.write(row, compression, sink))

    def blobs(self, chain: Chain, compression: Compression, *, force: bool = False) -> tuple[Descriptor, ...]:
        """`blob` of each layer, several at a time."""
        return tuple(self._in_parallel(lambda layer: self.blob(layer, compression, force=force), chain))

    def _make_blob(self, layer: LayerId, compression: Compression) -> Descriptor:
        row = self._rows.get(layer)
        return self._remember(row, compression, self._packer.store(row, compression))

    def _remember(self, row: Layer, compression: Compression, packed: Packed) -> Descriptor:
        self._rows.add_blob(row.id, compression.key, packed.blob)
        if row.diff_id is None or row.size is None:
            self._rows.update(row.id, diff_id=packed.diff_id, size=packed.size)
        return packed.blob

    def rewritten(self, layer: LayerId, compression: Compression, *, max_mtime: int) -> tuple[Descriptor, Digest]:
        """A blob of the same files with no time after `max_mtime` (seconds since the epoch), and its diff ID."""
        return self._once.do(
            ("rewrite", layer, compression.key, max_mtime), lambda: self._rewrite(layer, compression, max_mtime)
        )

    def _rewrite(self, layer: LayerId, compression: Compression, max_mtime: int) -> tuple[Descriptor, Digest]:
        key = f"{compression.key}{REWRITTEN}{max_mtime}"
        known = self._rows.rewritten(layer, key)
        if known is None or self._stored_blob((known,)) is None:
            packed = self._packer.store(self._rows.get(layer), compression, max_mtime)
            known = msgspec.structs.replace(packed.blob, annotations={_UNCOMPRESSED: packed.diff_id})
            self._rows.add_blob(layer, key, known)
        return msgspec.structs.replace(known, annotations={}), digests.parse(known.annotations[_UNCOMPRESSED])

    def remake(self, digest: Digest) -> Descriptor | None:
        """A blob was found damaged: drop it and make it again from the layer's files. None when it can't be, because it
        came from elsewhere."""
        for row in self._rows.all():
            for key, descriptor in zip(row.keys, row.blobs, strict=True):
                if descriptor.digest == digest and row.made_here and not key.startswith(ORIGIN):
                    self.drop_damaged(descriptor)
                    return self._make_blob(row.id, Compression.of_key(key))
        return None
