"""The content store on disk.

    blobs/ALGORITHM/HEX      committed content, read-only, laid out as in an OCI image layout
    ingest/KEY.tmp           a transfer that starts from nothing; debris once its process is gone
    ingest/KEY.part          a transfer that somebody may resume; debris after a day

Bytes become a blob in this order: written to `ingest/`, flushed to the disk, verified, renamed, the directory flushed.
A crash at any moment leaves a whole blob, or none and some debris. Small content (documents) stays in memory until it
is committed, so that nothing at all is written when it is there already.

One process at a time writes below a root; the daemon's lock sees to that. Threads exclude each other here.

Specification: OCI image-spec, image-layout.md, "Blobs".
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from boatyard.errors import BoatyardError, ConflictError, IntegrityError, NotFoundError, StorageError
from boatyard.image import digest as digests
from boatyard.image.content.store import BlobInfo
from boatyard.image.digest import Digest

SMALL = 64 * 1024
"""Content up to this many bytes is kept in memory until it is committed."""
_PARTIAL_LIFETIME = 24 * 3600.0
_CHUNK = 1 << 20


class DirectoryStore:
    """A `ContentStore` below `root`, owned by the daemon's wiring. Safe to use from any thread. With `durable=False`
    nothing is flushed to the disk: for stores that don't outlive a crash anyway."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root
        self._durable = durable
        self._ingest = root / "ingest"
        self._lock = threading.Lock()
        self._open_transfers: set[str] = set()
        with storage_errors(root):
            for directory in (self._ingest, root / "blobs/sha256"):
                directory.mkdir(parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where a blob lies, there or not. Nobody writes to that file."""
        parsed = digests.parse(digest)
        return self.root / "blobs" / digests.algorithm(parsed) / digests.encoded(parsed)

    def open(self, digest: Digest) -> BinaryIO:
        path = self.path(digest)
        try:
            return open(path, "rb")
        except FileNotFoundError as error:
            raise _missing(digest) from error
        except OSError as error:
            raise storage_error(error, path) from error

    def info(self, digest: Digest) -> BlobInfo | None:
        path = self.path(digest)
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, path) from error
        return BlobInfo(digest, found.st_size, found.st_mtime)

    def walk(self) -> Iterator[BlobInfo]:
        for algorithm in ("sha256", "sha512"):
            try:
                with os.scandir(self.root / "blobs" / algorithm) as entries:
                    for entry in entries:
                        name = f"{algorithm}:{entry.name}"
                        if not digests.is_digest(name):
                            continue
                        try:
                            found = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue
                        yield BlobInfo(Digest(name), found.st_size, found.st_mtime)
            except FileNotFoundError:
                continue

    def delete(self, digest: Digest) -> None:
        path = self.path(digest)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise _missing(digest) from error
        except OSError as error:
            raise storage_error(error, path) from error

    @contextmanager
    def ingest(self, reference: str, *, resume: bool = False) -> Iterator[DirectoryWriter]:
        key = hashlib.sha256(reference.encode(errors="surrogatepass")).hexdigest()
        with self._lock:
            if key in self._open_transfers:
                raise ConflictError(f"content is being transferred as {reference!r} already")
            self._open_transfers.add(key)
        try:
            writer = DirectoryWriter(self, key, resume=resume)
            try:
                yield writer
            finally:
                writer.close()
        finally:
            with self._lock:
                self._open_transfers.discard(key)

    def cleanup(self, *, now: float | None = None) -> int:
        """At start, before anything is written: remove what a killed process left. Returns the bytes freed. Resumable
        transfers stay for a day."""
        oldest = (time.time() if now is None else now) - _PARTIAL_LIFETIME
        freed = 0
        with storage_errors(self._ingest), os.scandir(self._ingest) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if entry.name.endswith(".part") and found.st_mtime > oldest:
                    continue
                os.unlink(entry.path)
                freed += found.st_size
        return freed

    def publish(self, source: Path, digest: Digest) -> None:
        """Rename bytes that the caller flushed and verified, on the same file system, to their place."""
        path = self.path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
        source.rename(path)
        if self._durable:
            _flush_directory(path.parent)

    def _touch(self, digest: Digest, size: int, data: bytearray | None) -> bool:
        """Make a blob young again, so that a garbage collection under way spares it. False if it isn't there, or is
        damaged so that its size shows it, or its bytes where they are at hand: then it is worth replacing."""
        path = self.path(digest)
        try:
            if path.stat().st_size != size or (data is not None and path.read_bytes() != data):
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True


class DirectoryWriter:
    """One transfer: see `Writer`. Belongs to one thread at a time."""

    def __init__(self, store: DirectoryStore, key: str, *, resume: bool) -> None:
        self._store = store
        self._fresh = store._ingest / f"{key}.tmp"
        self._partial = store._ingest / f"{key}.part"
        self._resume = resume
        self._path = self._partial if resume else self._fresh
        self._buffer = bytearray()
        self._hasher = hashlib.sha256()
        self._fd = -1
        self._done = False
        self.offset = 0
        with storage_errors(self._path):
            if resume:
                self._reopen()
            else:
                self._fresh.unlink(missing_ok=True)
                self._partial.unlink(missing_ok=True)

    def _reopen(self) -> None:
        """Take up the bytes of an earlier transfer, whichever way it was opened, and hash them."""
        if self._fresh.exists():
            self._fresh.rename(self._partial)
        try:
            self._fd = os.open(self._partial, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        while data := os.read(self._fd, _CHUNK):
            self._hasher.update(data)
            self.offset += len(data)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._check_open()
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        self._hasher.update(data)
        self.offset += size
        if self._fd < 0 and self.offset <= SMALL:
            self._buffer += data
        else:
            with self._storage_errors():
                self._spill()
                _write_all(self._fd, data)
        return size

    def truncate(self) -> None:
        self._check_open()
        self._buffer.clear()
        self._hasher = hashlib.sha256()
        self.offset = 0
        if self._fd >= 0:
            with storage_errors(self._path):
                os.lseek(self._fd, 0, os.SEEK_SET)
                os.ftruncate(self._fd, 0)

    def commit(self, *, size: int | None = None, digest: Digest | None = None) -> Digest:
        self._check_open()
        try:
            found = self._verify(size, digest)
            with self._storage_errors():
                if self._store._touch(found, self.offset, self._buffer if self._fd < 0 else None):
                    self.abort()
                    return found
                self._spill()
                if self._store._durable:
                    os.fsync(self._fd)
                os.fchmod(self._fd, 0o444)
                self._store.publish(self._path, found)
        except BaseException:
            self.abort()
            raise
        self._finish()
        return found

    def abort(self) -> None:
        self._finish()
        with storage_errors(self._path):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Keeps what was written, for `resume`, unless the transfer was committed or aborted."""
        if self._done:
            return
        try:
            if self.offset:
                with self._storage_errors():
                    self._spill()
        finally:
            self._finish()

    def _verify(self, size: int | None, digest: Digest | None) -> Digest:
        if size is not None and size != self.offset:
            raise IntegrityError(f"content {digest or ''} has {self.offset} bytes instead of {size}".replace("  ", " "))
        if digest is None or digests.algorithm(digest) == "sha256":
            found = digests.of_hash(self._hasher)
        else:
            found = self._rehash(digest)
        if digest is not None and found != digest:
            raise IntegrityError(f"content has the digest {found} instead of {digest}")
        return found

    def _rehash(self, digest: Digest) -> Digest:
        """The digest by another algorithm than the one that runs along."""
        hasher = digests.hasher(digests.parse(digest))
        if self._fd < 0:
            hasher.update(self._buffer)
        else:
            os.lseek(self._fd, 0, os.SEEK_SET)
            while data := os.read(self._fd, _CHUNK):
                hasher.update(data)
        return digests.of_hash(hasher)

    def _spill(self) -> None:
        """From memory to disk."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if self._buffer:
            _write_all(self._fd, self._buffer)
            self._buffer.clear()

    def _finish(self) -> None:
        self._done = True
        self._buffer.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check_open(self) -> None:
        if self._done:
            raise ConflictError("this transfer was committed, aborted or closed already")

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """A disk that can't take the bytes gets its space back, so that the store stays usable."""
        try:
            with storage_errors(self._path):
                yield
        except StorageError:
            self.abort()
            raise


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the kernel says about a disk into StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> BoatyardError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"can't write {path}: {reason}", hint="free disk space, for instance with `boat builder prune`"
        )
    if error.errno == errno.EROFS:
        return StorageError(f"can't write {path}: {reason}", hint="mount it writable, or choose another --root")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(f"can't use {path}: {reason}", hint="run as its owner, or choose another --root")
    return StorageError(f"can't use {path}: {reason}", hint="check the disk and the kernel's log")


def _write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    with memoryview(data).cast("B") as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def _flush_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _missing(digest: Digest) -> NotFoundError:
    return NotFoundError(f"there is no blob {digest} in the content store", hint="load or build the image again")
