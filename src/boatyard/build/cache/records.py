"""The solver's records in SQLite, so that they outlive the daemon.

Implements `solver.cache.Records`. One file, `cache.db`, apart from the metadata of images: losing it costs a rebuild,
nothing else, so one that is damaged is begun anew. Records that were stored or looked up lately are kept in memory: a
build that is all cached asks for each of them.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from boatyard.build.solver.cache import Record
from boatyard.image.database import Database

log = logging.getLogger(__name__)

MIGRATIONS = (
    """
    CREATE TABLE records (
        id TEXT PRIMARY KEY,
        key TEXT NOT NULL,               -- canonical
        results TEXT NOT NULL,           -- JSON list of result ids
        name TEXT NOT NULL,
        slot TEXT NOT NULL,
        kind TEXT NOT NULL,
        created REAL NOT NULL,
        used REAL NOT NULL,
        uses INTEGER NOT NULL,
        seconds REAL NOT NULL,
        components BLOB NOT NULL,        -- JSON object, deflated
        inputs TEXT NOT NULL             -- JSON list of output keys
    ) STRICT;
    CREATE INDEX records_by_slot ON records (slot, created);
    CREATE TABLE keys (
        key TEXT PRIMARY KEY,
        record TEXT NOT NULL REFERENCES records (id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX keys_by_record ON keys (record);
    CREATE TABLE listings (
        record TEXT NOT NULL REFERENCES records (id) ON DELETE CASCADE,
        input INTEGER NOT NULL,
        files BLOB NOT NULL,
        PRIMARY KEY (record, input)
    ) STRICT;
    """,
)

_COLUMNS = "id, key, results, name, slot, kind, created, used, uses, seconds, components, inputs"
_strings = msgspec.json.Decoder(tuple[str, ...])
_mapping = msgspec.json.Decoder(dict[str, str])

MOST_REMEMBERED = 5_000
"""Keys kept in memory: a record takes one to three KB."""


class SqliteRecords:
    """Owned by the daemon's wiring. Thread-safe: builds look records up on the event loop, pruning drops them in a
    thread."""

    def __init__(self, path: Path | str) -> None:
        self._database = Database(path, MIGRATIONS, disposable=True)
        self._remembered = _Remembered()

    def lookup(self, key: str) -> Record | None:
        if record := self._remembered.get(key):
            return record
        changes = self._remembered.changes
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM records WHERE id = (SELECT record FROM keys WHERE key = ?)", (key,)
        )
        for record in self._whole(rows):
            self._remembered.add((key,), record, changes)
            return record
        return None

    def _whole(self, rows: Iterable[Sequence[object]]) -> list[Record]:
        """The records of these rows. Damaged ones are dropped: their steps run again."""
        found = []
        for row in rows:
            try:
                found.append(_record(row))
            except (zlib.error, ValueError) as error:  # msgspec's errors, too, are ValueErrors
                log.error("the cache record %s is damaged, and dropped: %s", row[0], error)
                self.drop(str(row[0]))
        return found

    def store(self, record: Record, keys: Sequence[str]) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.key,
                    _json(record.results),
                    record.name,
                    record.slot,
                    record.kind,
                    record.created,
                    record.used,
                    record.uses,
                    record.seconds,
                    zlib.compress(msgspec.json.encode(record.components), 1),
                    _json(record.inputs),
                ),
            )
            connection.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?)", [(key, record.id) for key in keys])
            self._remembered.add(keys, record)

    def keep_listings(self, record_id: str, listings: Mapping[int, bytes]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO listings SELECT id, ?, ? FROM records WHERE id = ?",
                [(input, files, record_id) for input, files in listings.items()],
            )

    def alias(self, key: str, record_id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO keys SELECT ?, id FROM records WHERE id = ?", (key, record_id))
            self._remembered.forget_key(key)

    def keys_of(self, record_id: str) -> Sequence[str]:
        rows = self._database.rows("SELECT key FROM keys WHERE record = ? ORDER BY key", (record_id,))
        return [str(key) for (key,) in rows]

    def get(self, record_id: str) -> Record | None:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM records WHERE id = ?", (record_id,))
        return next(iter(self._whole(rows)), None)

    def drop(self, record_id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM records WHERE id = ?", (record_id,))
            self._remembered.forget(record_id)

    def touch(self, record_ids: Iterable[str], now: float) -> None:
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE records SET used = ?, uses = uses + 1 WHERE id = ?", [(now, id) for id in record_ids]
            )

    def in_slot(self, slot: str, limit: int) -> Sequence[Record]:
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM records WHERE slot = ? ORDER BY created DESC LIMIT ?", (slot, limit)
        )
        return self._whole(rows)

    def listings(self, record_id: str) -> Mapping[int, bytes]:
        rows = self._database.rows("SELECT input, files FROM listings WHERE record = ?", (record_id,))
        return dict(rows)  # type: ignore[arg-type]  # the columns' types are STRICT

    def walk(self) -> Iterable[Record]:
        return self._whole(self._database.rows(f"SELECT {_COLUMNS} FROM records"))

    def close(self) -> None:
        self._database.close()


class _Remembered:
    """Records in memory, by key. `changes` counts what made one of them wrong, so that what was read from the database
    before isn't remembered after. Changes are made within the database's transactions, so that both agree."""

    def __init__(self) -> None:
        self.changes = 0
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._keys: dict[str, set[str]] = {}
        """By the record's id."""

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def add(self, keys: Iterable[str], record: Record, changes: int | None = None) -> None:
        with self._lock:
            if changes not in (None, self.changes):
                return
            for key in keys:
                self._drop(key)
                self._records[key] = record
                self._keys.setdefault(record.id, set()).add(key)
            while len(self._records) > MOST_REMEMBERED:
                self._drop(next(iter(self._records)))

    def forget_key(self, key: str) -> None:
        with self._lock:
            self.changes += 1
            self._drop(key)

    def forget(self, record_id: str) -> None:
        with self._lock:
            self.changes += 1
            for key in self._keys.pop(record_id, ()):
                del self._records[key]

    def _drop(self, key: str) -> None:
        record = self._records.pop(key, None)
        if record is not None:
            keys = self._keys[record.id]
            keys.discard(key)
            if not keys:
                del self._keys[record.id]


def _json(strings: Sequence[str]) -> str:
    return msgspec.json.encode(strings).decode()


def _record(row: Sequence[object]) -> Record:
    id, key, results, name, slot, kind, created, used, uses, seconds, components, inputs = row
    assert isinstance(results, str) and isinstance(inputs, str) and isinstance(components, bytes)
    return Record(
        id=str(id),
        key=str(key),
        results=_strings.decode(results),
        name=str(name),
        slot=str(slot),
        kind=str(kind),
        created=float(created),  # type: ignore[arg-type]
        used=float(used),  # type: ignore[arg-type]
        uses=int(uses),  # type: ignore[call-overload]
        seconds=float(seconds),  # type: ignore[arg-type]
        components=_mapping.decode(zlib.decompress(components)),
        inputs=_strings.decode(inputs),
    )
