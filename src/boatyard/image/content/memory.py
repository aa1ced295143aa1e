"""A content store in memory: for tests, and for documents that are made, shipped and forgotten."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from boatyard.errors import ConflictError, IntegrityError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image.content.store import BlobInfo
from boatyard.image.digest import Digest


class MemoryStore:
    """A `ContentStore`. Safe to use from any thread. `clock` gives the time of commits."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._blobs: dict[Digest, tuple[bytes, float]] = {}
        self._partial: dict[str, bytes] = {}
        self._open_transfers: set[str] = set()

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return io.BytesIO(self._blobs[digest][0])
        except KeyError as error:
            raise _missing(digest) from error

    def info(self, digest: Digest) -> BlobInfo | None:
        found = self._blobs.get(digest)
        return BlobInfo(digest, len(found[0]), found[1]) if found else None

    def walk(self) -> Iterator[BlobInfo]:
        for digest, (data, modified) in list(self._blobs.items()):
            yield BlobInfo(digest, len(data), modified)

    def delete(self, digest: Digest) -> None:
        with self._lock:
            if self._blobs.pop(digest, None) is None:
                raise _missing(digest)

    @contextmanager
    def ingest(self, reference: str, *, resume: bool = False) -> Iterator[MemoryWriter]:
        with self._lock:
            if reference in self._open_transfers:
                raise ConflictError(f"content is being transferred as {reference!r} already")
            self._open_transfers.add(reference)
            earlier = self._partial.pop(reference, b"")
        writer = MemoryWriter(self, earlier if resume else b"")
        try:
            yield writer
        finally:
            with self._lock:
                self._open_transfers.discard(reference)
                if not writer.done:
                    self._partial[reference] = bytes(writer.data)

    def _put(self, digest: Digest, data: bytes) -> None:
        with self._lock:
            self._blobs[digest] = (data, self._clock())


class MemoryWriter:
    """One transfer: see `Writer`."""

    def __init__(self, store: MemoryStore, data: bytes) -> None:
        self._store = store
        self.data = bytearray(data)
        self.done = False
        self.offset = len(data)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._check_open()
        before = self.offset
        self.data += data
        self.offset = len(self.data)
        return self.offset - before

    def truncate(self) -> None:
        self._check_open()
        self.data.clear()
        self.offset = 0

    def commit(self, *, size: int | None = None, digest: Digest | None = None) -> Digest:
        self._check_open()
        data = bytes(self.data)
        self.abort()
        if size is not None and size != len(data):
            raise IntegrityError(f"content {digest or ''} has {len(data)} bytes instead of {size}".replace("  ", " "))
        hasher = digests.hasher(digests.parse(digest)) if digest else hashlib.sha256()
        hasher.update(data)
        found = digests.of_hash(hasher)
        if digest is not None and found != digest:
            raise IntegrityError(f"content has the digest {found} instead of {digest}")
        self._store._put(found, data)
        return found

    def abort(self) -> None:
        self.done = True
        self.data.clear()

    def _check_open(self) -> None:
        if self.done:
            raise ConflictError("this transfer was committed or aborted already")


def _missing(digest: Digest) -> NotFoundError:
    return NotFoundError(f"there is no blob {digest} in the content store")
