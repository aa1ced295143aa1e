"""Images out, as one tar: an OCI image layout with Docker's manifest.json beside it, which Docker, Podman and Skopeo of
every age in use can read.

Names and lists come first, then documents, then layers, so that a reader of a pipe knows early what is coming. The same
images give the same bytes: entries are sorted, owned by root and dated with the given epoch. Layers are streamed.

Specification: POSIX pax interchange format; OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import msgspec

from boatyard.errors import IntegrityError, StorageError, UnavailableError
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
from boatyard.image.platform import Platform

_CHUNK = 1 << 20
_PIECE = 16 << 20
_NOT_COPYABLE = (errno.EXDEV, errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS)
_BLOCK = 512
_RECORD = 20 * _BLOCK


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
    found = contents(images, provider)
    tar = TarWriter(out, epoch, on_bytes)
    tar.file("oci-layout", LAYOUT)
    tar.file("index.json", spec.encode(index_document(images)))
    if docker:
        tar.file("manifest.json", msgspec.json.encode(docker_images(images, provider, platform)))
    tar.directory("blobs/")
    for algorithm in sorted({digest.partition(":")[0] for digest in (*found.documents, *found.blobs)}):
        tar.directory(f"blobs/{algorithm}/")
    for digest, data in sorted(found.documents.items()):
        tar.file(blob_path(digest), data)
    for digest, (descriptor, diff_id) in sorted(found.blobs.items()):
        if digest not in found.documents:
            with layers.open_layer(descriptor, diff_id) as stream:
                tar.stream(blob_path(digest), stream, descriptor.size)
    tar.end()
    return tar.size


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
        with _output_errors():
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

    def end(self) -> None:
        self._write(bytes(2 * _BLOCK))
        self._pad(_RECORD)
        with _output_errors():
            self._out.flush()

    def _header(self, name: str, size: int, mode: int, kind: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.type, entry.mtime = size, mode, kind, self._epoch
        self._write(entry.tobuf(tarfile.PAX_FORMAT))

    def _pad(self, unit: int) -> None:
        self._write(bytes(-self.size % unit))

    def _write(self, data: bytes) -> None:
        with _output_errors():
            view = memoryview(data)
            while view:
                # Unbuffered files may take less than all.
                view = view[self._out.write(view) :]
        self.size += len(data)
        if self._on_bytes:
            self._on_bytes(len(data))


@contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise UnavailableError("whoever reads the archive went away before its end") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise StorageError(
            f"can't write the archive: {error.strerror or error}",
            hint="free disk space, or write it somewhere else" if full else None,
        ) from error
