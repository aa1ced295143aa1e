"""The metadata database: one SQLite file, opened once per process, shared by the stores that keep rows in it.

Rows are written after what they name exists on disk; a row may outlive its files, never the other way round without
being found as debris at the next start. The schema grows by appending to `MIGRATIONS`; `user_version` counts those
done.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boatyard.errors import IntegrityError, StorageError

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE images (
        name TEXT PRIMARY KEY,           -- normalised reference, with tag or digest
        descriptor BLOB NOT NULL,        -- JSON of the target's descriptor
        digest TEXT NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL
    ) STRICT;
    CREATE INDEX images_by_digest ON images (digest);
    CREATE TABLE leases (
        id TEXT PRIMARY KEY,
        created REAL NOT NULL,
        expires REAL,                    -- NULL: until released
        process INTEGER NOT NULL         -- 1: dropped when the daemon starts
    ) STRICT;
    CREATE TABLE lease_resources (
        lease TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,              -- 'blob' or 'layer'
        resource TEXT NOT NULL,
        PRIMARY KEY (lease, kind, resource)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE layers (
        id TEXT PRIMARY KEY,
        snapshot TEXT,                   -- NULL: not unpacked
        base TEXT NOT NULL,              -- JSON list of the layer ids it was made on, for unpacking
        diff_id TEXT,                    -- NULL: not computed yet
        size INTEGER,                    -- bytes of the uncompressed tar, known with diff_id
        usage INTEGER,                   -- bytes of the snapshot on disk
        created REAL NOT NULL,
        used REAL NOT NULL
    ) STRICT;
    CREATE INDEX layers_by_diff_id ON layers (diff_id);
    CREATE TABLE layer_blobs (
        layer TEXT NOT NULL REFERENCES layers (id) ON DELETE CASCADE,
        compression TEXT NOT NULL,       -- name and level, such as 'gzip:1' or 'tar'
        descriptor BLOB NOT NULL,
        PRIMARY KEY (layer, compression)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE chains (
        id TEXT PRIMARY KEY,             -- chain ID, as the image specification computes it from diff IDs
        layers TEXT NOT NULL             -- JSON list of layer ids, lowest first
    ) STRICT;
    """,
)


class Database:
    """Owned by the daemon's wiring; closed at its end. Safe to use from any thread: statements are serialised by a
    lock, and kept short. `path` ":memory:" keeps it in memory."""

    def __init__(self, path: Path | str, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(str(path), check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(migrations)
        except sqlite3.DatabaseError as error:
            raise _translated(error, path) from error

    def _migrate(self, migrations: Sequence[str]) -> None:
        (done,) = self._connection.execute("PRAGMA user_version").fetchone()
        if done > len(migrations):
            raise IntegrityError(
                f"{self.path} was written by a newer Boatyard (schema {done}, this one knows {len(migrations)})",
                hint="upgrade Boatyard, or use another --root",
            )
        for number, script in enumerate(migrations[done:], start=done + 1):
            self._connection.executescript(f"BEGIN;{script};PRAGMA user_version = {number};COMMIT;")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements inside happen, or none. May be nested: the outermost one commits."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                raise _translated(error, self.path) from error

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                raise _translated(error, self.path) from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _translated(error: sqlite3.DatabaseError, path: Path | str) -> Exception:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageError(f"can't write {path}: {error}", hint="free disk space: `boat builder prune`")
    if isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError):
        return error
    return IntegrityError(
        f"{path} is damaged: {error}", hint="move it away and restart; images will have to be loaded again"
    )
