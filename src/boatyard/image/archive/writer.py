"""Images out, as one tar: an OCI image layout with Docker's manifest.json beside it, which Docker, Podman and Skopeo of
every age in use can read.

Layers come first, in the order of the images, then documents, then the lists of names: what is written last is known
last, so that a layer can be compressed straight into the archive. The same images give the same bytes: entries are
owned by root and dated with the given epoch. Layers are streamed.

Specification: POSIX pax interchange format; OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import msgspec

from boatyard.errors import IntegrityError
from boatyard.image import digest as digests
from boatyard.image import spec
from boatyard.image.archive.contents import (
    LAYOUT,
    ArchivedImage,
    LayerSource,
    blob_path,
    contents,
    docker_images,
    index_document,
)
from boatyard.image.content.store import Provider
from boatyard.image.digest import Digest
from boatyard.image.output import output_errors
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor

_CHUNK = 1 << 20
_PIECE = 16 << 20
_NOT_COPYABLE = (errno.EXDEV, errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS)
_BLOCK = 512
_RECORD = 20 * _BLOCK
_LARGEST_OCTAL = 0o77777777777


def write_archive(
    out: BinaryIO,
    images: Sequence[ArchivedImage],
    provider: Provider,
    layers: LayerSource,
    *,
    epoch: int = 0,
    docker: bool = True,
    platform: Platform | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> int:
    """Write an archive of these images to a file or pipe; its size. `docker=False` leaves out manifest.json. `platform`
    is the one that manifest.json shows of each image. `on_bytes` hears of every chunk's size. Nothing is closed. After
    an error `out` holds part of an archive, which no reader takes for a whole one."""
    archive = ArchiveWriter(out, epoch, on_bytes)
    archive.finish(images, provider, layers, docker=docker, platform=platform)
    return archive.size


class ArchiveWriter:
    """An archive in the making: layers, as many as are at hand, and then `finish`. Owns nothing."""

    def __init__(self, out: BinaryIO, epoch: int, on_bytes: Callable[[int], None] | None = None) -> None:
        self._tar = TarWriter(out, epoch, on_bytes)
        self._written: set[Digest] = set()
        self._algorithms: set[str] = set()

    @property
    def size(self) -> int:
        return self._tar.size

    def add(self, descriptor: Descriptor, diff_id: Digest | None, layers: LayerSource) -> None:
        """Write a blob, unless it was written already."""
        if descriptor.digest not in self._written:
            self._directories(digests.algorithm(descriptor.digest))
            with layers.open_layer(descriptor, diff_id) as stream:
                self._tar.stream(blob_path(descriptor.digest), stream, descriptor.size)
            self._written.add(descriptor.digest)

    def make(self, produce: Callable[[Sink], Descriptor]) -> Descriptor:
        """Write a blob (with a sha256 digest) whose name and size are known only when it has been written by `produce`.
        For plain files that this archive was written to from their beginning or end on."""
        self._directories("sha256")
        with self._tar.reserved() as entry:
            descriptor = produce(entry)
            if descriptor.digest not in self._written:
                entry.name = blob_path(descriptor.digest)
                self._written.add(descriptor.digest)
        return descriptor

    def finish(
        self,
        images: Sequence[ArchivedImage],
        provider: Provider,
        layers: LayerSource,
        *,
        docker: bool = True,
        platform: Platform | None = None,
    ) -> None:
        """Write what is not there yet. Parameters as of `write_archive`."""
        found = contents(images, provider)
        for digest, (descriptor, diff_id) in found.blobs.items():
            if digest not in found.documents:
                self.add(descriptor, diff_id, layers)
        for digest, data in sorted(found.documents.items()):
            self._directories(digests.algorithm(digest))
            self._tar.file(blob_path(digest), data)
        self._tar.file("index.json", spec.encode(index_document(images)))
        if docker:
            self._tar.file("manifest.json", msgspec.json.encode(docker_images(images, provider, platform)))
        self._tar.file("oci-layout", LAYOUT)
        self._tar.end()

    def _directories(self, algorithm: str) -> None:
        if algorithm not in self._algorithms:
            if not self._algorithms:
                self._tar.directory("blobs/")
            self._tar.directory(f"blobs/{algorithm}/")
            self._algorithms.add(algorithm)


class Sink(Protocol):
    def write(self, data: memoryview | bytes, /) -> object: ...


class TarWriter:
    """Writes entries one after the other. Owns nothing."""

    def __init__(self, out: BinaryIO, epoch: int, on_bytes: Callable[[int], None] | None = None) -> None:
        self._out = out
        self._epoch = epoch
        self._on_bytes = on_bytes
        self.size = 0

    def directory(self, name: str) -> None:
        self._header(name, 0, 0o755, tarfile.DIRTYPE)

    def file(self, name: str, data: bytes) -> None:
        self._header(name, len(data), 0o644, tarfile.REGTYPE)
        self._write(data)
        self._pad(_BLOCK)

    def stream(self, name: str, stream: BinaryIO, size: int) -> None:
        """IntegrityError when the stream has another size. From file to file the kernel copies."""
        self._header(name, size, 0o644, tarfile.REGTYPE)
        left = size - self._copied(stream, size)
        # One byte more is asked for than is left, so that the stream gets to its end and can verify itself.
        while chunk := stream.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise IntegrityError(f"{name} has more than its {size} bytes")
            self._write(chunk)
        if left:
            raise IntegrityError(f"{name} has {size - left} instead of {size} bytes")
        self._pad(_BLOCK)

    def _copied(self, stream: BinaryIO, size: int) -> int:
        """Bytes that could be copied without passing through here: all, or none when one side isn't a plain file."""
        try:
            source, target = stream.fileno(), self._out.fileno()
        except (AttributeError, OSError):
            return 0
        done = 0
        with output_errors("the archive"):
            self._out.flush()
            while done < size:
                try:
                    count = os.copy_file_range(source, target, min(_PIECE, size - done))
                except OSError as error:
                    if done or error.errno not in _NOT_COPYABLE:
                        raise
                    return 0
                if count == 0:
                    break
                done += count
                self.size += count
                if self._on_bytes:
                    self._on_bytes(count)
        return done

    @contextmanager
    def reserved(self) -> Iterator[ReservedEntry]:
        """An entry whose header is written when its content has been. Without a name at the end, it is as if it had
        never been."""
        with output_errors("the archive"):
            self._out.flush()
            start = self._out.seek(0, os.SEEK_CUR)
        before = self.size
        self._write(bytes(_BLOCK))
        entry = ReservedEntry(self._write)
        yield entry
        self._pad(_BLOCK)
        with output_errors("the archive"):
            self._out.flush()
            if entry.name is None:
                self._out.seek(start)
                self._out.truncate()
                self.size = before
            else:
                os.pwrite(self._out.fileno(), self._head(entry.name, entry.size, 0o644, tarfile.REGTYPE), start)

    def end(self) -> None:
        self._write(bytes(2 * _BLOCK))
        self._pad(_RECORD)
        with output_errors("the archive"):
            self._out.flush()

    def _header(self, name: str, size: int, mode: int, kind: bytes) -> None:
        self._write(self._head(name, size, mode, kind))

    def _head(self, name: str, size: int, mode: int, kind: bytes) -> bytes:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.type, entry.mtime = size, mode, kind, self._epoch
        # Sizes of more than eight GiB the GNU way, in one block however large: PAX would want another header before it.
        return entry.tobuf(tarfile.GNU_FORMAT if size > _LARGEST_OCTAL else tarfile.PAX_FORMAT)

    def _pad(self, unit: int) -> None:
        self._write(bytes(-self.size % unit))

    def _write(self, data: bytes | memoryview) -> None:
        with output_errors("the archive"):
            view = memoryview(data)
            while view:
                # Unbuffered files may take less than all.
                view = view[self._out.write(view) :]
        self.size += len(data)
        if self._on_bytes:
            self._on_bytes(len(data))


class ReservedEntry:
    """What goes into an entry; see `TarWriter.reserved`."""

    def __init__(self, write: Callable[[memoryview | bytes], None]) -> None:
        self._write = write
        self.name: str | None = None
        self.size = 0

    def write(self, data: memoryview | bytes, /) -> int:
        self._write(data)
        self.size += len(data)
        return len(data)
