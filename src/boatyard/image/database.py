"""The metadata database: one SQLite file, opened once per process, shared by the stores that keep rows in it.

Rows are written after what they name exists on disk; a row may outlive its files, never the other way round without
being found as debris at the next start. The schema grows by appending to `MIGRATIONS`; `user_version` counts those
done.

On a full disk, rows can still be written: deleting something begins with one. RESERVE bytes are allocated for the
write-ahead log as long as the file is open, and kept in PATH-reserve while it isn't.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boatyard.errors import IntegrityError, StorageError, UnsupportedError

log = logging.getLogger(__name__)

RESERVE = 9 << 19
"""Bytes: what the write-ahead log grows to before SQLite starts it anew (1,000 pages), and some more."""

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
    """
    CREATE TABLE blob_sources (
        digest TEXT NOT NULL,
        repository TEXT NOT NULL,        -- domain and path, where the blob was seen
        PRIMARY KEY (digest, repository)
    ) STRICT, WITHOUT ROWID;
    """,
)


class Database:
    """Owned by the daemon's wiring; closed at its end. Safe to use from any thread: statements are serialised by a
    lock, and kept short. `path` ":memory:" keeps it in memory.

    A `disposable` database that is found damaged is moved aside, told to the log, and begun anew: what was to be read
    isn't there, what was to be written is lost."""

    def __init__(self, path: Path | str, migrations: Sequence[str] = MIGRATIONS, *, disposable: bool = False) -> None:
        self.path = path
        self._migrations = migrations
        self._disposable = disposable
        self._lock = threading.RLock()
        try:
            self._open()
        except IntegrityError as error:
            self._begin_anew(error)

    def _open(self) -> None:
        self._check_emptied()
        try:
            self._connection = sqlite3.connect(str(self.path), check_same_thread=False, isolation_level=None)
        except sqlite3.DatabaseError as error:
            raise _translated(error, self.path) from error
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._reserve()
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(self._migrations)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise _translated(error, self.path) from error
            raise

    def _begin_anew(self, error: IntegrityError) -> None:
        """Raises the error, unless the database is disposable."""
        if not self._disposable:
            raise error
        log.error("%s; it is moved to %s.damaged, and begun anew", error.message, self.path)
        for suffix in ("-wal", "-shm", "-reserve"):
            if os.path.exists(f"{self.path}{suffix}"):
                os.unlink(f"{self.path}{suffix}")
        os.replace(self.path, f"{self.path}.damaged")
        self._open()

    def _check_emptied(self) -> None:
        """SQLite takes an empty file for a new one."""
        others = (f"{self.path}-reserve", f"{self.path}-wal")
        if not self._in_memory and any(map(os.path.exists, others)) and os.path.getsize(self.path) == 0:
            raise damaged(self.path, "it is empty")

    def _migrate(self, migrations: Sequence[str]) -> None:
        (done,) = self._connection.execute("PRAGMA user_version").fetchone()
        if done > len(migrations):
            raise UnsupportedError(
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
            self._begin()
            try:
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    # SQLite may have ended it itself: when the disk is full, say.
                    self._connection.rollback()
                    raise
            except sqlite3.DatabaseError as error:
                self._resolve(error)

    def _begin(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            self._resolve(error)
            self._connection.execute("BEGIN IMMEDIATE")

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                self._resolve(error)
                return []

    def _resolve(self, error: sqlite3.DatabaseError) -> None:
        """Begin a damaged disposable database anew; raise any other error as what it means."""
        translated = _translated(error, self.path)
        if not isinstance(translated, IntegrityError) or not self._disposable:
            raise translated from error
        self._connection.close()
        self._begin_anew(translated)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            if not self._in_memory and not os.path.exists(f"{self.path}-wal"):
                _allocate(f"{self.path}-reserve")

    @property
    def _in_memory(self) -> bool:
        return str(self.path) == ":memory:"

    def _reserve(self) -> None:
        """What was allocated in the reserve's file goes to the log."""
        if self._in_memory:
            return
        self._connection.execute("SELECT * FROM sqlite_schema LIMIT 1").fetchall()  # opens the log
        try:
            os.unlink(f"{self.path}-reserve")
        except FileNotFoundError:
            pass
        if os.path.exists(f"{self.path}-wal"):
            _allocate(f"{self.path}-wal")


def _allocate(path: str) -> None:
    """Blocks for RESERVE bytes. SQLite takes the zeros at the end of a log for what they are: no frames. On a disk that
    is full already there will be no reserve."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, RESERVE)
    except OSError as error:
        log.debug("no space is reserved in %s: %s", path, error)
    finally:
        os.close(descriptor)


def _translated(error: sqlite3.DatabaseError, path: Path | str) -> Exception:
    # The low byte is the kind, what is above it tells kinds of I/O errors apart.
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if kind == sqlite3.SQLITE_FULL:
        return StorageError(f"can't write {path}: {error}", hint="free disk space: `boat builder prune`")
    if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return StorageError(f"can't use {path}: {error}", hint="check the disk: is it full, read-only or failing?")
    # Text that isn't UTF-8 is Python's own finding, and has no code.
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return damaged(path, str(error))
    if isinstance(error, sqlite3.DataError):
        return damaged(path, str(error))  # a length in the file that can't be
    return error


def damaged(path: Path | str, why: str) -> IntegrityError:
    """For whoever finds that a database doesn't hold what was put there."""
    return IntegrityError(
        f"{path} is damaged: {why}", hint="move it away and restart; images will have to be loaded again"
    )
