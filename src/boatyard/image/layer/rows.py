"""The rows of the layer store: what is known of layers, kept in the metadata database and, once read, in memory.

Knows SQL and values; touches no file. Every change goes through the one object of a process, so what is in memory is
true.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import msgspec

from boatyard.errors import NotFoundError
from boatyard.image.database import Database, damaged
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.image.spec import Descriptor

MADE_HERE = "l"
"""Ids of layers that were made by a step start so."""
ORIGIN = "origin:"
"""Blobs that a layer came with are kept under this and their digest; those made here under `Compression.key`."""
REWRITTEN = "@"
"""Stands in the key of a blob with other bytes than the layer's own (clamped times)."""

_COLUMNS = "id, snapshot, base, diff_id, size, usage, created, used"


@dataclass(frozen=True, slots=True)
class Layer:
    """A row. `snapshot` is None until the layer is unpacked, `diff_id` and `size` (of the uncompressed tar) until
    somebody asked for them, `usage` (bytes on disk) until it was measured. `base`: the layers it was made on."""

    id: LayerId
    snapshot: SnapshotId | None
    base: Chain
    diff_id: Digest | None
    size: int | None
    usage: int | None
    created: float
    used: float
    blobs: tuple[Descriptor, ...] = ()
    """Those with the layer's own bytes, in any compression; first what it came with. They may be gone from the content
    store."""
    keys: tuple[str, ...] = ()
    """For each blob, how it was made."""

    @property
    def made_here(self) -> bool:
        """Its snapshot is where it started; its bytes can be made from that."""
        return self.id.startswith(MADE_HERE)

    @property
    def origin(self) -> Descriptor | None:
        """The blob it came with, if it wasn't made here. (What was made here may come back from an archive; how it was
        packed there must not change how it is packed from now on.)"""
        return self.blobs[0] if not self.made_here and self.keys and self.keys[0].startswith(ORIGIN) else None


class LayerRows:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[LayerId, Layer] = {}
        self._changes = 0
        """Counts what changes rows, so that a row that was read before isn't remembered after. The database's lock may
        be held when this object's is taken, never the reverse."""

    def get(self, id: LayerId) -> Layer:
        known = self._known.get(id)
        return known if known is not None else self._load(id)

    def _load(self, id: LayerId) -> Layer:
        changes = self._changes
        found = self._read("WHERE id = ?", (id,))
        if not found:
            raise NotFoundError(f"there is no layer {id}", hint="it was removed meanwhile; build or load it again")
        with self._lock:
            if changes == self._changes:
                self._known[id] = found[0]
        return found[0]

    def find(self, id: LayerId) -> Layer | None:
        try:
            return self.get(id)
        except NotFoundError:
            return None

    def with_diff_id(self, diff_id: Digest) -> list[Layer]:
        return [self.get(cast(LayerId, id)) for (id,) in self._rows("SELECT id FROM layers WHERE diff_id = ?", diff_id)]

    def all(self) -> list[Layer]:
        changes = self._changes
        found = self._read("ORDER BY created, id", ())
        with self._lock:
            if changes == self._changes:
                self._known = {layer.id: layer for layer in found}
        return found

    def insert(self, layer: Layer) -> Layer:
        """The row of that id: this one, or the one that was there before."""
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO layers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    layer.id,
                    layer.snapshot,
                    json.dumps(layer.base, separators=(",", ":")),
                    layer.diff_id,
                    layer.size,
                    layer.usage,
                    layer.created,
                    layer.used,
                ),
            )
            if connection.execute("SELECT changes()").fetchone() == (1,):
                with self._lock:
                    self._changes += 1
                    self._known[layer.id] = layer
                return layer
        return self.get(layer.id)

    def update(self, id: LayerId, **values: object) -> Layer:
        assignments = ", ".join(f"{name} = ?" for name in values)
        with self._database.transaction() as connection:
            connection.execute(f"UPDATE layers SET {assignments} WHERE id = ?", (*values.values(), id))
            self._forget(id)
        return self.get(id)

    def touch(self, ids: Iterable[LayerId]) -> None:
        now = self._clock()
        ids = tuple(ids)
        with self._database.transaction() as connection:
            connection.executemany("UPDATE layers SET used = ? WHERE id = ?", [(now, id) for id in ids])
            with self._lock:
                self._changes += 1
                for id in ids:
                    if known := self._known.get(id):
                        self._known[id] = replace(known, used=now)

    def delete(self, id: LayerId) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM layers WHERE id = ?", (id,))
            self._forget(id)

    def _forget(self, id: LayerId) -> None:
        with self._lock:
            self._changes += 1
            self._known.pop(id, None)

    # Blobs

    def add_blob(self, id: LayerId, key: str, descriptor: Descriptor) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO layer_blobs (layer, compression, descriptor) VALUES (?, ?, ?)",
                (id, key, msgspec.json.encode(descriptor)),
            )
            self._forget(id)

    def rewritten(self, id: LayerId, key: str) -> Descriptor | None:
        found = self._rows("SELECT descriptor FROM layer_blobs WHERE layer = ? AND compression = ?", id, key)
        return _descriptor(found[0][0]) if found else None

    # Chains

    def record_chain(self, id: Digest, chain: Chain) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO chains (id, layers) VALUES (?, ?)",
                (id, json.dumps(chain, separators=(",", ":"))),
            )

    def chain(self, id: Digest) -> Chain | None:
        found = self._rows("SELECT layers FROM chains WHERE id = ?", id)
        return _chain(found[0][0]) if found else None

    def chains(self) -> list[tuple[Digest, Chain]]:
        return [(cast(Digest, id), _chain(layers)) for id, layers in self._rows("SELECT id, layers FROM chains")]

    def forget_chain(self, id: Digest) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM chains WHERE id = ?", (id,))

    def _rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        return self._database.rows(statement, parameters)

    def _read(self, condition: str, parameters: Sequence[object]) -> list[Layer]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM layers {condition}", parameters)
        by_layer: dict[LayerId, list[tuple[str, Descriptor]]] = {}
        if rows:
            only = "WHERE layer = ?" if condition.startswith("WHERE") else ""
            for layer, key, data in self._database.rows(
                f"SELECT layer, compression, descriptor FROM layer_blobs {only}", parameters if only else ()
            ):
                if REWRITTEN not in cast(str, key):
                    by_layer.setdefault(cast(LayerId, layer), []).append((cast(str, key), _descriptor(data)))
        found = []
        for id, snapshot, base, diff_id, size, usage, created, used in cast(
            "list[tuple[LayerId, SnapshotId | None, str, Digest | None, int | None, int | None, float, float]]", rows
        ):
            blobs = sorted(by_layer.get(id, ()), key=lambda pair: (not pair[0].startswith(ORIGIN), pair[0]))
            found.append(
                Layer(
                    id,
                    snapshot,
                    _chain(base),
                    diff_id,
                    size,
                    usage,
                    created,
                    used,
                    tuple(descriptor for _, descriptor in blobs),
                    tuple(key for key, _ in blobs),
                )
            )
        return found


def _descriptor(data: object) -> Descriptor:
    try:
        return msgspec.json.decode(cast(bytes, data), type=Descriptor)
    except ValueError as error:
        raise damaged("meta.db", f"a layer's blob: {error}") from error


def _chain(text: object) -> Chain:
    """The same few ids stand in many chains."""
    try:
        return tuple(LayerId(sys.intern(id)) for id in json.loads(cast(str, text)))
    except (ValueError, TypeError) as error:
        raise damaged("meta.db", f"a layer's base: {error}") from error
