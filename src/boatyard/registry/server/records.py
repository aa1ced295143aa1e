"""Which repository has which blobs, manifests and tags: rows in SQLite, shared by the processes of one server.

A row is written after the bytes that it names are on disk, and both under the same lock of the database: whoever
removes bytes that no row names does that under it, too. What was acknowledged is flushed.

The event loop reads through a connection of its own, which never waits for a writer; threads write through another one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from boatyard.image.database import Database
from boatyard.image.digest import Digest

MIGRATIONS = (
    """
    CREATE TABLE repositories (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created REAL NOT NULL
    ) STRICT;
    CREATE TABLE links (                 -- a repository has a blob
        repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        seen REAL NOT NULL,              -- when a client was last told that it is there
        PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX links_by_digest ON links (digest);
    CREATE TABLE manifests (
        repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        artifact_type TEXT NOT NULL,
        subject TEXT,                    -- digest of the manifest that it refers to
        annotations TEXT NOT NULL,       -- JSON object
        pushed REAL NOT NULL,
        PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX manifests_by_digest ON manifests (digest);
    CREATE INDEX manifests_by_subject ON manifests (repository, subject) WHERE subject IS NOT NULL;
    CREATE TABLE parts (                 -- what a manifest is made of
        repository INTEGER NOT NULL,
        manifest TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (repository, manifest, digest),
        FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX parts_by_digest ON parts (repository, digest);
    CREATE TABLE tags (
        repository INTEGER NOT NULL,
        name TEXT NOT NULL,
        digest TEXT NOT NULL,
        updated REAL NOT NULL,
        PRIMARY KEY (repository, name),
        FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_by_digest ON tags (repository, digest);
    """,
    """
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        password TEXT NOT NULL,
        grants TEXT NOT NULL,            -- JSON list of PATTERN=ACTIONS
        secret TEXT,                     -- of one-time passwords; NULL: no second factor
        last_step INTEGER NOT NULL DEFAULT -1,  -- time step of the last one-time password used
        disabled INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL
    ) STRICT;
    CREATE TABLE recovery_codes (
        user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
        code TEXT NOT NULL,              -- SHA-256
        PRIMARY KEY (user, code)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tokens (                -- personal access tokens
        id TEXT PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,       -- SHA-256 of the token
        grants TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        used REAL,
        UNIQUE (user, name)
    ) STRICT;
    CREATE TABLE signing_keys (          -- of bearer tokens
        id TEXT PRIMARY KEY,
        key BLOB NOT NULL,               -- Ed25519, raw
        created REAL NOT NULL
    ) STRICT;
    """,
)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    digest: Digest
    media_type: str
    size: int
    artifact_type: str = ""
    subject: Digest | None = None
    annotations: dict[str, str] | None = None


def _row(values: Sequence[Any]) -> ManifestRow:
    digest, media_type, size, artifact_type, subject, annotations = values
    known = msgspec.json.decode(annotations, type=dict[str, str])
    return ManifestRow(digest, media_type, size, artifact_type, subject, known)


class Records:
    """One per process. Methods that begin with a noun read, on the event loop; those that begin with a verb write,
    block and belong into threads."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, MIGRATIONS)
        # What is acknowledged must be there after a power cut, too.
        self._database.rows("PRAGMA synchronous = FULL")
        self._database.rows("PRAGMA busy_timeout = 30000")
        self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._reader.execute("PRAGMA query_only = ON")
        self._clock = clock

    def close(self) -> None:
        self._reader.close()
        self._database.close()

    def generation(self) -> int:
        """Another number after anybody, in any process, has written."""
        return cast(int, self._reader.execute("PRAGMA data_version").fetchone()[0])

    # Reading

    def row(self, statement: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._reader.execute(statement, parameters).fetchone()
        return found

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._reader.execute(statement, parameters).fetchall()

    def repository(self, name: str) -> int | None:
        row = self._reader.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def repositories(self, last: str, most: int) -> list[str]:
        """In order, those with manifests; after `last`."""
        rows = self._reader.execute(
            "SELECT name FROM repositories r WHERE name > ?"
            " AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository = r.id) ORDER BY name LIMIT ?",
            (last, most),
        )
        return [name for (name,) in rows]

    def link(self, name: str, digest: str) -> tuple[int, float] | None:
        """A blob's size, and when a client was last told of it."""
        row = self._reader.execute(
            "SELECT size, seen FROM links JOIN repositories ON id = repository WHERE name = ? AND digest = ?",
            (name, digest),
        ).fetchone()
        return (row[0], row[1]) if row else None

    def linked_anywhere(self, digest: str) -> list[str]:
        """Names of repositories that have a blob."""
        rows = self._reader.execute(
            "SELECT name FROM links JOIN repositories ON id = repository WHERE digest = ?", (digest,)
        )
        return [name for (name,) in rows]

    def manifest(self, name: str, reference: str) -> ManifestRow | None:
        """By tag or digest."""
        by_digest = ":" in reference
        row = self._reader.execute(
            "SELECT m.digest, media_type, size FROM repositories r "
            + (
                "JOIN manifests m ON m.repository = r.id WHERE r.name = ? AND m.digest = ?"
                if by_digest
                else "JOIN tags t ON t.repository = r.id"
                " JOIN manifests m ON m.repository = r.id AND m.digest = t.digest WHERE r.name = ? AND t.name = ?"
            ),
            (name, reference),
        ).fetchone()
        return ManifestRow(*row) if row else None

    def tags(self, repository: int, last: str, most: int) -> list[str]:
        rows = self._reader.execute(
            "SELECT name FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?", (repository, last, most)
        )
        return [name for (name,) in rows]

    def summary(self, name: str) -> dict[str, Any] | None:
        """Of a repository: how many tags it has, bytes of its blobs, when a tag was last set."""
        row = self.row(
            "SELECT (SELECT count(*) FROM tags WHERE repository = id),"
            " (SELECT coalesce(sum(size), 0) FROM links WHERE repository = id),"
            " (SELECT max(updated) FROM tags WHERE repository = id) FROM repositories WHERE name = ?",
            (name,),
        )
        return {"name": name, "tagCount": row[0], "size": row[1], "updated": row[2]} if row else None

    def tag_rows(self, name: str, last: str, most: int) -> list[tuple[str, float, ManifestRow]]:
        rows = self.rows(
            "SELECT t.name, t.updated, m.digest, m.media_type, m.size FROM repositories r"
            " JOIN tags t ON t.repository = r.id JOIN manifests m ON m.repository = r.id AND m.digest = t.digest"
            " WHERE r.name = ? AND t.name > ? ORDER BY t.name LIMIT ?",
            (name, last, most),
        )
        return [(row[0], row[1], ManifestRow(*row[2:])) for row in rows]

    def referrers(self, repository: int, subject: str, artifact_type: str, last: str, most: int) -> list[ManifestRow]:
        """`artifact_type` "": of any."""
        rows = self._reader.execute(
            "SELECT digest, media_type, size, artifact_type, subject, annotations FROM manifests"
            " WHERE repository = ? AND subject = ? AND ? IN ('', artifact_type) AND digest > ? ORDER BY digest LIMIT ?",
            (repository, subject, artifact_type, last, most),
        )
        return [_row(row) for row in rows]

    # Writing

    def signing_keys(self) -> list[tuple[str, bytes]]:
        """Newest first; there is one after the first call."""
        read = "SELECT id, key FROM signing_keys ORDER BY created DESC"
        if not (found := self.rows(read)):
            with self.writing() as connection:
                if not (found := connection.execute(read).fetchall()):
                    found = [(os.urandom(8).hex(), os.urandom(32))]
                    connection.execute("INSERT INTO signing_keys VALUES (?, ?, ?)", (*found[0], self._clock()))
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Everybody else who would write or remove bytes waits."""
        with self._database.transaction() as connection:
            yield connection

    def link_blob(self, name: str, digest: Digest, size: int, publish: Callable[[], None]) -> None:
        """`publish` brings the bytes to their place."""
        with self.writing() as connection:
            publish()
            connection.execute(
                "INSERT INTO links (repository, digest, size, seen) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET seen = excluded.seen",
                (self._made(connection, name), digest, size, self._clock()),
            )

    def mount_blob(self, name: str, digest: Digest, source: str) -> bool:
        """Whether `source` has it, and now `name`, too."""
        with self.writing() as connection:
            row = connection.execute(
                "SELECT size FROM links JOIN repositories ON id = repository WHERE name = ? AND digest = ?",
                (source, digest),
            ).fetchone()
            if row is None:
                return False
            connection.execute(
                "INSERT INTO links (repository, digest, size, seen) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET seen = excluded.seen",
                (self._made(connection, name), digest, row[0], self._clock()),
            )
        return True

    def touch_blob(self, name: str, digest: str) -> None:
        """A client was told that a blob is there: it counts on it."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE links SET seen = ? WHERE digest = ?"
                " AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (self._clock(), digest, name),
            )

    def unlink_blob(self, name: str, digest: str) -> bool:
        with self.writing() as connection:
            done = connection.execute(
                "DELETE FROM links WHERE digest = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (digest, name),
            )
            return done.rowcount > 0

    def put_manifest(
        self,
        name: str,
        row: ManifestRow,
        *,
        blobs: Iterable[Digest],
        manifests: Iterable[Digest],
        tags: Sequence[str],
        publish: Callable[[], None],
        complete: bool = True,
    ) -> list[Digest]:
        """What it is made of and isn't in the repository: then nothing is done. Unless it needn't be `complete`."""
        blobs, manifests = list(dict.fromkeys(blobs)), list(dict.fromkeys(manifests))
        with self.writing() as connection:
            repository = self._made(connection, name)
            missing = [digest for digest in blobs if not _has(connection, "links", repository, digest)]
            missing += [digest for digest in manifests if not _has(connection, "manifests", repository, digest)]
            if missing and complete:
                return missing
            publish()
            now = self._clock()
            connection.execute(
                "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " media_type = excluded.media_type, pushed = excluded.pushed",
                (
                    repository,
                    row.digest,
                    row.media_type,
                    row.size,
                    row.artifact_type,
                    row.subject,
                    msgspec.json.encode(row.annotations or {}).decode(),
                    now,
                ),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO parts VALUES (?, ?, ?)",
                [(repository, row.digest, digest) for digest in (*blobs, *manifests)],
            )
            connection.executemany(
                "INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " digest = excluded.digest, updated = excluded.updated",
                [(repository, tag, row.digest, now) for tag in tags],
            )
        return []

    def set_tag(self, name: str, tag: str, digest: Digest) -> None:
        """Of a manifest that is there; nothing is written when it is so already."""
        known = self.manifest(name, tag)
        if known is not None and known.digest == digest:
            return
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " digest = excluded.digest, updated = excluded.updated",
                (self._made(connection, name), tag, digest, self._clock()),
            )

    def delete_manifest(self, name: str, reference: str) -> bool:
        """A tag alone, or a manifest with its tags."""
        by_digest = ":" in reference
        with self.writing() as connection:
            done = connection.execute(
                f"DELETE FROM {'manifests' if by_digest else 'tags'} WHERE {'digest' if by_digest else 'name'} = ?"
                " AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (reference, name),
            )
            return done.rowcount > 0

    def _made(self, connection: sqlite3.Connection, name: str) -> int:
        row = connection.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO repositories (name, created) VALUES (?, ?) RETURNING id", (name, self._clock())
            ).fetchone()
        return cast(int, row[0])


def _has(connection: sqlite3.Connection, table: str, repository: int, digest: Digest) -> bool:
    found = connection.execute(f"SELECT 1 FROM {table} WHERE repository = ? AND digest = ?", (repository, digest))
    return found.fetchone() is not None
