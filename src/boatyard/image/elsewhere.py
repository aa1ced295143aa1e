"""Blobs that are not in the content store but can be had: who knows where they are, as rows, and who gets them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from boatyard.image import reference as references
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor


class Elsewhere(Protocol):
    """Gets blobs from where they are. Methods block and are thread-safe."""

    def has(self, digest: Digest) -> bool:
        """Whether somebody is known to have it. Nobody is asked."""

    def fetch(self, blob: Descriptor) -> bool:
        """Whether it is in the content store after this. UnavailableError, DeniedError and others when who is known to
        have it doesn't give it."""


class Nowhere:
    """What isn't here isn't."""

    def has(self, digest: Digest) -> bool:
        return False

    def fetch(self, blob: Descriptor) -> bool:
        return False


class BlobSources:
    """Repositories in which blobs were seen. One per daemon; thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, repository: Reference, blobs: Iterable[Digest]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO blob_sources (digest, repository) VALUES (?, ?)",
                [(digest, repository.name) for digest in blobs],
            )

    def of(self, digest: Digest) -> tuple[Reference, ...]:
        rows = self._database.rows("SELECT repository FROM blob_sources WHERE digest = ?", (digest,))
        return tuple(references.parse(str(name)) for (name,) in rows)

    def forget(self, repository: Reference, digest: Digest) -> None:
        """It isn't there any more."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM blob_sources WHERE digest = ? AND repository = ?", (digest, repository.name)
            )
