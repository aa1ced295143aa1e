"""Blobs on disk, and uploads on their way there.

    blobs/ALGORITHM/HEX      as in an OCI image layout: the content store
    uploads/KEY-ID           an upload; KEY stands for its repository's name

An upload is a file and nothing else: any process of the server may go on with it, and after a `kill -9` its size says
how far it came. Who appends to it holds a lock on it. How its hash stands is remembered by the process that saw its
bytes; another one reads them again.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from boatyard.errors import ConflictError, IntegrityError, NotFoundError, StorageError
from boatyard.image import digest as digests
from boatyard.image.content.directory import DirectoryStore, storage_errors
from boatyard.image.content.store import BlobInfo
from boatyard.image.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

    from boatyard.registry.server.objects import Objects

UPLOAD_LIFETIME = 24 * 3600.0
_REMEMBERED = 512
_READ = 1 << 20
_FLUSHED_AHEAD = 16 << 20
"""Bytes after which the kernel is asked to begin writing: the flush at the end has less to wait for."""
_SYNC_FILE_RANGE_WRITE = 2
_HASHING = max(2, os.cpu_count() or 2)
_WORTH_A_THREAD = 128 << 10
"""Bytes that are hashed while they are written."""

_libc = ctypes.CDLL(None, use_errno=True)


class BlobStore:
    """One per process. Blocks, but for `info` and `open`; safe to use from any thread."""

    def __init__(self, root: Path, objects: Objects | None = None) -> None:
        """With `objects`, blobs lie there, and here only while they are being pushed."""
        self.content = DirectoryStore(root)
        self.objects = objects
        self._uploads = root / "uploads"
        with storage_errors(self._uploads):
            self._uploads.mkdir(exist_ok=True)
        self.hashing = ThreadPoolExecutor(_HASHING, thread_name_prefix="hashing")
        self._lock = threading.Lock()
        self._hashers: OrderedDict[Path, tuple[_Hash, int]] = OrderedDict()

    def close(self) -> None:
        self.hashing.shutdown(wait=False)

    def open(self, digest: Digest) -> BinaryIO:
        """Where there are no `objects`. NotFoundError."""
        return self.content.open(digest)

    def read(self, digest: Digest) -> bytes:
        """A small one. Blocks. NotFoundError."""
        if self.objects is not None:
            return self.objects.read(digest)
        with self.content.open(digest) as file:
            return file.read()

    def info(self, digest: Digest) -> BlobInfo | None:
        return (self.objects or self.content).info(digest)

    def delete(self, digest: Digest) -> None:
        (self.objects or self.content).delete(digest)

    def walk(self) -> Iterator[BlobInfo]:
        return (self.objects or self.content).walk()

    # Uploads

    def begin(self, name: str, algorithm: str = "sha256") -> str:
        """Its id. `algorithm`: of the digest that is expected in the end."""
        id = str(uuid.uuid4())
        path = self._path(name, id)
        with storage_errors(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self.remember(path, hashlib.new(algorithm), 0)
        return id

    def size(self, name: str, id: str) -> int:
        """NotFoundError."""
        path = self._path(name, id)
        with storage_errors(path):
            try:
                return path.stat().st_size
            except FileNotFoundError as error:
                raise NotFoundError("there is no such upload") from error

    def append(self, name: str, id: str) -> Upload:
        """Open it to write more. NotFoundError; ConflictError when somebody else does."""
        return Upload(self, self._path(name, id))

    def stage(self, data: bytes, digest: Digest) -> Upload:
        """A small blob, complete and flushed, to be published."""
        upload = self.append("", self.begin(""))
        try:
            upload.write(memoryview(data))
            upload.keep(digest)
        except BaseException:
            upload.abort()
            raise
        return upload

    def cleanup(self, *, now: float | None = None) -> int:
        """Remove uploads that nobody has gone on with for a day. The bytes freed."""
        oldest = (time.time() if now is None else now) - UPLOAD_LIFETIME
        freed = 0
        for path in list(self._uploads.iterdir()):
            try:
                if path.stat().st_mtime > oldest:
                    continue
                with Upload(self, path) as upload:
                    freed += upload.offset
                    upload.abort()
            except (NotFoundError, ConflictError, FileNotFoundError):
                continue  # it is in use, or has just ended
        return freed

    def _path(self, name: str, id: str) -> Path:
        try:
            checked = uuid.UUID(id)
        except ValueError as error:
            raise NotFoundError("there is no such upload") from error
        return self._uploads / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}-{checked}"

    # How hashes stand

    def remember(self, path: Path, hasher: _Hash, offset: int) -> None:
        with self._lock:
            self._hashers[path] = (hasher, offset)
            while len(self._hashers) > _REMEMBERED:
                self._hashers.popitem(last=False)

    def recall(self, path: Path) -> tuple[_Hash, int] | None:
        with self._lock:
            return self._hashers.pop(path, None)


class Upload:
    """An upload that is open to be written to, by one thread at a time. Closing it keeps it."""

    def __init__(self, store: BlobStore, path: Path) -> None:
        self._store = store
        self.path = path
        with storage_errors(path):
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise NotFoundError("there is no such upload") from error
        try:
            with storage_errors(path):
                self._hold()
                self.offset = os.lseek(self._descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._flushed = self.offset
        self._hasher: _Hash | None = None
        known = store.recall(path)
        if known is not None and known[1] == self.offset:
            self._hasher = known[0]

    def _hold(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError("somebody else is writing to this upload") from error
        if not os.fstat(self._descriptor).st_nlink:
            raise NotFoundError("there is no such upload")  # it was ended between opening and locking

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def expect(self, digest: Digest) -> None:
        """What the bytes should hash to: so that they are hashed in the right way as they come."""
        if self._hasher is None or self._hasher.name != digests.algorithm(digest):
            self._hasher = digests.hasher(digest)
            self._read(self._hasher)

    def write(self, data: memoryview) -> None:
        if self._hasher is None and not self.offset:
            self._hasher = hashlib.sha256()
        hashed = None
        if self._hasher is not None and len(data) >= _WORTH_A_THREAD:
            hashed = self._store.hashing.submit(self._hasher.update, data)
        elif self._hasher is not None:
            self._hasher.update(data)
        try:
            with storage_errors(self.path):
                done = 0
                while done < len(data):
                    done += os.write(self._descriptor, data[done:])
        except StorageError:
            # A full disk gets its space back: others may need less.
            self.abort()
            raise
        finally:
            if hashed is not None:
                hashed.result()
        self.offset += len(data)
        if self.offset - self._flushed >= _FLUSHED_AHEAD:
            _libc.sync_file_range(
                self._descriptor,
                ctypes.c_int64(self._flushed),
                ctypes.c_int64(self.offset - self._flushed),
                _SYNC_FILE_RANGE_WRITE,
            )
            self._flushed = self.offset

    def truncate(self, offset: int) -> None:
        """Back to where it was: what came since is no good."""
        with storage_errors(self.path):
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
        self.offset = self._flushed = offset
        self._hasher = None

    def verify(self, digest: Digest) -> None:
        """IntegrityError when its bytes have another digest; from then on it is flushed."""
        self.expect(digest)
        assert self._hasher is not None
        found = digests.of_hash(self._hasher)
        if found != digest:
            raise IntegrityError(f"the content has the digest {found}")
        self.keep(digest)

    def keep(self, digest: Digest) -> None:
        """Bytes that are known to have this digest survive a power cut from then on."""
        if self._store.objects is not None:
            self._store.objects.put(digest, self._descriptor, self.offset)
            return
        with storage_errors(self.path):
            os.fsync(self._descriptor)

    def publisher(self, digest: Digest) -> Callable[[], None]:
        """What makes a blob of it, once it is verified. What is there already, and whole, stays and becomes young."""

        def publish() -> None:
            if self._store.objects is not None:
                # There it is already, and young.
                self.path.unlink(missing_ok=True)
                return
            content = self._store.content
            with storage_errors(self.path):
                found = content.info(digest)
                if found is not None and found.size == self.offset:
                    os.utime(content.path(digest))
                    self.path.unlink(missing_ok=True)
                    return
                os.fchmod(self._descriptor, 0o444)
                os.utime(self._descriptor)
                content.publish(self.path, digest)

        return publish

    def abort(self) -> None:
        with storage_errors(self.path):
            self.path.unlink(missing_ok=True)
        self._hasher = None
        self.close()

    def close(self) -> None:
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        if self._hasher is not None:
            self._store.remember(self.path, self._hasher, self.offset)
        os.close(descriptor)

    def _read(self, hasher: _Hash) -> None:
        """Hash what is there."""
        with storage_errors(self.path):
            at = 0
            while data := os.pread(self._descriptor, _READ, at):
                hasher.update(data)
                at += len(data)
