"""Reading blobs with their digests checked: disks lie, and a blob may have come from a party nobody trusts.

`verified` is for streams, `read_blob` for documents that fit in memory. Both raise an IntegrityError that names the
blob and, when it lies in a file, the path, so that somebody can look at it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from boatyard.errors import IntegrityError, InvalidError
from boatyard.image import digest as digests
from boatyard.image.content.store import Provider
from boatyard.image.spec import Descriptor

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20


class VerifiedReader(io.RawIOBase):
    """Reads a blob to its end and hashes what passes. The read that would return the end of the file raises
    IntegrityError instead when size or digest is another; so does the first byte too many. Closing it early checks
    nothing. Owns the file it is given."""

    def __init__(self, file: BinaryIO, descriptor: Descriptor) -> None:
        self._file = file
        self._descriptor = descriptor
        self._hasher = digests.hasher(descriptor.digest)
        self._left = descriptor.size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, or all that are left; fewer only at the end."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if not size:
            return b""
        # One byte more than what is left is asked for at the end, so that a blob that grew is found out.
        data = self._file.read(min(size, self._left) or 1)
        if not data:
            self._check_end()
            return b""
        if not self._left:
            raise self._damaged(f"it is longer than its {self._descriptor.size} bytes")
        self._left -= len(data)
        self._hasher.update(data)
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)

    def _check_end(self) -> None:
        if self._left:
            raise self._damaged(
                f"it ends after {self._descriptor.size - self._left} of its {self._descriptor.size} bytes"
            )
        found = digests.of_hash(self._hasher)
        if found != self._descriptor.digest:
            raise self._damaged(f"its bytes have the digest {found}")

    def _damaged(self, reason: str) -> IntegrityError:
        return damaged(self._descriptor, self._file, reason)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def verified(provider: Provider, descriptor: Descriptor) -> BinaryIO:
    """A stream of the blob that raises IntegrityError at its end (or before) unless size and digest are those of the
    descriptor. The caller reads it to the end and closes it. NotFoundError when there is no such blob."""
    return cast(BinaryIO, VerifiedReader(provider.open(digests.parse(descriptor.digest)), descriptor))


def check_blob(provider: Provider, descriptor: Descriptor) -> None:
    """Read all of a blob. Raises NotFoundError or IntegrityError."""
    with verified(provider, descriptor) as stream:
        while stream.read(CHUNK):
            pass


def read_blob(provider: Provider, descriptor: Descriptor, *, limit: int) -> bytes:
    """All bytes of a small blob, verified. InvalidError when it claims to be larger than `limit`."""
    if not 0 <= descriptor.size <= limit:
        raise InvalidError(
            f"document {descriptor.digest} has {descriptor.size} bytes; at most {limit} are read",
            hint="documents of images are small: the descriptor is wrong, or names a layer",
        )
    with provider.open(digests.parse(descriptor.digest)) as file:
        data = file.read(descriptor.size + 1)
        if len(data) != descriptor.size:
            found = "more" if len(data) > descriptor.size else len(data)
            raise damaged(descriptor, file, f"it has {found} bytes instead of {descriptor.size}")
        if digests.of_bytes(data, digests.algorithm(descriptor.digest)) != descriptor.digest:
            raise damaged(descriptor, file, "its bytes have another digest")
    return data


def damaged(descriptor: Descriptor, file: object, reason: str) -> IntegrityError:
    """The error for a blob whose bytes aren't what its descriptor says."""
    path = getattr(file, "name", None)
    where = f" in {path}" if isinstance(path, str) else ""
    return IntegrityError(
        f"blob {descriptor.digest}{where} is damaged: {reason}",
        hint="remove what uses it and build, load or pull it again; check the disk if it happens twice",
    )
