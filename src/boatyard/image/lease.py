"""Leases: what is in use, so that garbage collection leaves it alone.

Whoever makes or reads content that no image names yet holds a lease on it. A lease holds exactly the blobs and layers
that were added to it, not what they refer to. A *process* lease ends with the daemon's process: those of an earlier one
are dropped at start. A lease may also expire.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from boatyard.errors import ConflictError, NotFoundError
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import LayerId

Kind = Literal["blob", "layer"]


class Held(NamedTuple):
    """Everything that some lease holds."""

    blobs: frozenset[Digest]
    layers: frozenset[LayerId]


@dataclass(frozen=True, slots=True)
class Lease:
    """A handle on an open lease."""

    id: str
    leases: Leases

    def add_blob(self, digest: Digest) -> None:
        """Before the blob is committed, or as soon as its digest is known."""
        self.leases.add(self.id, "blob", digest)

    def add_layer(self, layer: LayerId) -> None:
        self.leases.add(self.id, "layer", layer)


class Leases:
    """One per daemon, made by its wiring. Safe to use from any thread."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self.generation = 0
        """Grows whenever something is held that wasn't: a garbage collection sees by it that it has to look again."""

    def create(self, id: str | None = None, *, expires: float | None = None, process: bool = True) -> Lease:
        """Open a lease until `release`, or until `expires` (seconds since the epoch). ConflictError if there is one."""
        id = id or uuid.uuid4().hex
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM leases WHERE id = ?", (id,)).fetchone():
                raise ConflictError(f"lease {id!r} exists already")
            connection.execute(
                "INSERT INTO leases (id, created, expires, process) VALUES (?, ?, ?, ?)",
                (id, self._clock(), expires, int(process)),
            )
        return Lease(id, self)

    def add(self, lease: str, kind: Kind, resource: str) -> None:
        """Hold something more. Adding it twice is no error. NotFoundError when the lease has ended."""
        try:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO lease_resources (lease, kind, resource) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (lease, kind, resource),
                )
                self.generation += 1
        except sqlite3.IntegrityError as error:
            raise NotFoundError(f"lease {lease!r} has ended, so it can't hold {resource}") from error

    def release(self, lease: str) -> None:
        """End it. Idempotent."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE id = ?", (lease,))

    def expire(self, now: float) -> int:
        """End the leases whose time has come; how many there were."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM leases WHERE expires <= ?", (now,)).rowcount

    def drop_process_leases(self) -> int:
        """At start: end what an earlier process held; how many leases there were."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM leases WHERE process = 1").rowcount

    def held(self) -> Held:
        blobs, layers = set(), set()
        for kind, resource in self._database.rows("SELECT DISTINCT kind, resource FROM lease_resources"):
            if kind == "blob":
                blobs.add(Digest(str(resource)))
            else:
                layers.add(LayerId(str(resource)))
        return Held(frozenset(blobs), frozenset(layers))

    @contextmanager
    def hold(self, id: str | None = None, *, expires: float | None = None) -> Iterator[Lease]:
        """A lease for the length of a `with` block."""
        lease = self.create(id, expires=expires)
        try:
            yield lease
        finally:
            self.release(lease.id)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While this lasts, no lease and no image (they share a database) changes. For moments only."""
        with self._database.transaction():
            yield
