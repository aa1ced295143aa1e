"""Bring images to a registry: blobs that aren't there, then documents, what refers to others last.

What another repository of the registry has is mounted instead of sent. A transfer that breaks is taken up where the
registry says that it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import IO, BinaryIO, cast

from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnavailableError
from boatyard.image.digest import Digest
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.registry.repository import Document, Repository, Upload

AT_ONCE = 4
_BREAKS = 5
_CHUNK = 1 << 20

Told = Callable[[Descriptor, int], None]
"""Takes progress: of which blob, how many bytes are there. Called from threads."""
Open = Callable[[Descriptor], AbstractContextManager[BinaryIO]]
"""Opens a blob's bytes, from their beginning; the stream raises IntegrityError by itself when they are others."""
Known = Callable[[Digest], Iterable[Reference]]
"""Repositories in which a blob is known to be."""


class Pusher:
    """Pushes to one repository. Belongs to one request."""

    def __init__(
        self,
        repository: Repository,
        open_blob: Open,
        *,
        known: Known = lambda digest: (),
        told: Told = lambda blob, count: None,
    ) -> None:
        self._repository = repository
        self._open = open_blob
        self._known = known
        self._told = told

    def blobs(self, wanted: Iterable[Descriptor]) -> None:
        """Several at a time; the first failure ends all."""
        wanted = list({blob.digest: blob for blob in wanted}.values())
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="push") as pool:
            futures = [pool.submit(self.blob, blob) for blob in wanted]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def documents(self, wanted: Sequence[Document], names: Sequence[str]) -> None:
        """Each after what it refers to; the last one also under these tags."""
        for document in wanted[:-1]:
            self._repository.put_manifest(document)
        self._repository.put_manifest(wanted[-1], names)

    def blob(self, blob: Descriptor) -> None:
        """It is in the repository after this."""
        repository = self._repository
        if repository.has_blob(blob.digest, actions="pull,push"):
            self._told(blob, blob.size)
            return
        source = next((each for each in self._known(blob.digest) if each.domain == repository.name.domain), None)
        upload = repository.mount(blob.digest, source)
        if upload is None:
            self._told(blob, blob.size)
            return
        self._upload(blob, upload)

    def _upload(self, blob: Descriptor, upload: Upload) -> None:
        breaks = 0
        while True:
            try:
                self._send(blob, upload)
                return
            except UnavailableError:
                self._repository.stop.check()
                breaks += 1
                if breaks >= _BREAKS:
                    raise
                self._repository.stop.wait(0.2 * 2**breaks)
                self._repository.stop.check()
            if self._repository.has_blob(blob.digest, actions="pull,push"):
                return  # only the answer was lost
            upload = self._taken_up(blob, upload)

    def _taken_up(self, blob: Descriptor, upload: Upload) -> Upload:
        try:
            found = self._repository.upload_status(upload)
        except (NotFoundError, InvalidError):
            found = None
        if found is None or found.offset > blob.size:
            begun = self._repository.mount(blob.digest, None)
            assert begun is not None  # nothing was to be mounted
            return begun
        return found

    def _send(self, blob: Descriptor, upload: Upload) -> None:
        with ExitStack() as stack:
            stream = stack.enter_context(self._open(blob))
            _skip(stream, upload.offset, blob)
            counting = _Counting(stream, upload.offset, lambda count: self._told(blob, count))
            left = blob.size - upload.offset
            self._repository.finish_upload(upload, blob.digest, lambda: cast(IO[bytes], counting), left)


class _Counting:
    """A stream that tells how far it was read."""

    def __init__(self, stream: BinaryIO, offset: int, told: Callable[[int], None]) -> None:
        self._stream = stream
        self._offset = offset
        self._told = told

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(_CHUNK if size < 0 else max(size, _CHUNK))
        self._offset += len(data)
        self._told(self._offset)
        return data

    def close(self) -> None:
        """Whoever opened the stream closes it."""


def _skip(stream: BinaryIO, count: int, blob: Descriptor) -> None:
    while count:
        piece = stream.read(min(count, _CHUNK))
        if not piece:
            raise IntegrityError(f"{blob.digest} has less than its {blob.size} bytes")
        count -= len(piece)
