"""The content store, as protocols: immutable bytes known by their digest.

Life cycle of a blob: somebody opens a writer under a *reference* (any string that names this transfer, so that it can
be resumed). Until `commit`, the content is not visible to anybody else. `commit` verifies size and digest, and from
then on the blob is there for all, immutable, until it is deleted. Committing what exists already is not an error: the
bytes are dropped. All methods block; callers on an event loop use a thread for anything but `info`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol

from boatyard.image.digest import Digest


class BlobInfo(NamedTuple):
    digest: Digest
    size: int
    modified: float
    """Seconds since the epoch at which it was committed (or last touched)."""


class Writer(Protocol):
    """One transfer into the store. Owned by who opened it; closed (not aborted) on exit of its context."""

    offset: int
    """Bytes stored so far, more than 0 when a transfer is resumed."""

    def write(self, data: bytes | bytearray | memoryview) -> int: ...
    def truncate(self) -> None:
        """Drop all bytes written so far."""

    def commit(self, *, size: int | None = None, digest: Digest | None = None) -> Digest:
        """Make it visible. Raises IntegrityError (and drops the bytes) if size or digest is another than expected."""

    def abort(self) -> None:
        """Drop the transfer; it can't be resumed."""


class Provider(Protocol):
    def open(self, digest: Digest) -> BinaryIO:
        """A seekable reader that the caller closes. Raises NotFoundError. Doesn't verify: see `verified`."""


class Ingester(Protocol):
    def ingest(self, reference: str, *, resume: bool = False) -> AbstractContextManager[Writer]:
        """Open a transfer. ConflictError if another one under this reference is open. Without `resume`, starts
        empty."""


class Manager(Protocol):
    def info(self, digest: Digest) -> BlobInfo | None: ...
    def walk(self) -> Iterator[BlobInfo]: ...
    def delete(self, digest: Digest) -> None:
        """Raises NotFoundError."""


class ContentStore(Provider, Ingester, Manager, Protocol):
    """All of it. Implementations: `directory.DirectoryStore`, `memory.MemoryStore`."""
