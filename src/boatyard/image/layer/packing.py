"""From a layer's uncompressed bytes to a blob, in one pass: read, digest, compress, digest, write.

A layer that was digested before is not digested again: a checksum tells whether its files are still the same, and costs
next to nothing. Knows no rows: where the bytes come from, and what to say when they are others, it is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

from boatyard.errors import IntegrityError
from boatyard.image import digest as digests
from boatyard.image.content.store import Ingester
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.compression import Compression, Compressor
from boatyard.image.layer.digesting import Checksum, Checksummer, Digester, Sink, Tee
from boatyard.image.layer.rows import Layer
from boatyard.image.layer.tracing import Traces, TracingDigester
from boatyard.image.spec import Descriptor

Write = Callable[[Layer, Sink, int | None], None]
"""Writes a layer's uncompressed bytes to the sink; times later than the number (seconds since the epoch) are set to
it."""
WriteTraced = Callable[[Layer, TracingDigester], None]
"""The same, for a layer that was made here."""
Check = Callable[[Layer, Digest], None]
"""Raises IntegrityError when this isn't the layer's diff ID."""


class Packed(NamedTuple):
    """`size`: bytes of the uncompressed tar."""

    blob: Descriptor
    diff_id: Digest
    size: int


class Packer:
    """Owned by a layer store. Thread-safe."""

    def __init__(self, write: Write, trace: WriteTraced, check: Check, ingester: Ingester) -> None:
        self._write = write
        self._trace = trace
        self._check = check
        self._ingester = ingester
        self._checksums: dict[LayerId, Checksum] = {}
        """Of layers that this process has digested."""
        self._traces = Traces()

    def digest(self, row: Layer) -> tuple[Digest, int]:
        """Read it all: its diff ID, checked, and its size."""
        traced = row.made_here and _algorithm(row) == "sha256"
        if traced:
            tracer = TracingDigester(self._traces.all())
            digester: Digester | TracingDigester = tracer
        else:
            digester = Digester(_algorithm(row))
        try:
            if traced:
                self._trace(row, tracer)
            else:
                self._write(row, digester, None)
            diff_id = digester.close()
        finally:
            digester.abort()
        self._check(row, diff_id)
        self._checksums[row.id] = digester.checksum
        if traced:
            self._traces.keep(row.id, tracer.trace)
        return diff_id, digester.size

    def store(self, row: Layer, compression: Compression, max_mtime: int | None = None) -> Packed:
        """The blob is in the content store afterwards."""
        with self._ingester.ingest(f"layer {row.id} {uuid.uuid4().hex}") as writer:
            try:
                if _digest_is_diff_id(row, compression):
                    self._write(row, writer, max_mtime)  # the writer digests what it is given
                    size = writer.offset
                    digest = diff_id = writer.commit()
                    if max_mtime is None:
                        self._check(row, diff_id)
                else:
                    diff_id, size = self._compress(row, compression, writer, max_mtime)
                    packed = writer.offset
                    digest = writer.commit()
                    return Packed(_descriptor(compression, digest, packed), diff_id, size)
            except BaseException:
                writer.abort()
                raise
        return Packed(_descriptor(compression, digest, size), diff_id, size)

    def write(self, row: Layer, compression: Compression, sink: Sink) -> Packed:
        """The blob goes to `sink` and nowhere else."""
        digester = Digester()
        out = Tee(sink, digester)
        try:
            if _digest_is_diff_id(row, compression):
                self._write(row, out, None)
                digest = diff_id = digester.close()
                size = digester.size
                self._check(row, diff_id)
            else:
                diff_id, size = self._compress(row, compression, out, None)
                digest = digester.close()
        finally:
            digester.abort()
        return Packed(_descriptor(compression, digest, digester.size), diff_id, size)

    def forget(self, layer: LayerId) -> None:
        self._checksums.pop(layer, None)
        self._traces.forget(layer)

    def _compress(self, row: Layer, compression: Compression, out: Sink, max_mtime: int | None) -> tuple[Digest, int]:
        """Diff ID and size."""
        known = self._checksums.get(row.id)
        if max_mtime is None and row.diff_id is not None and known is not None:
            checksummer = Checksummer()
            self._pump(row, checksummer, compression, out, None)
            if checksummer.close() != known:
                self.digest(row)  # tells what the files make now
                raise IntegrityError(f"the files of layer {row.diff_id} changed while they were read")
            return row.diff_id, known.size
        digester = Digester(_algorithm(row) if max_mtime is None else "sha256")
        try:
            self._pump(row, digester, compression, out, max_mtime)
            diff_id = digester.close()
        finally:
            digester.abort()
        if max_mtime is None:
            self._check(row, diff_id)
            self._checksums[row.id] = digester.checksum
        return diff_id, digester.size

    def _pump(self, row: Layer, beside: Sink, compression: Compression, out: Sink, max_mtime: int | None) -> None:
        compressor = Compressor(out, compression.kind, compression.effective_level)
        try:
            self._write(row, Tee(beside, compressor), max_mtime)
            compressor.close()
        finally:
            compressor.abort()


def _algorithm(row: Layer) -> str:
    return digests.algorithm(row.diff_id) if row.diff_id else "sha256"


def _digest_is_diff_id(row: Layer, compression: Compression) -> bool:
    return compression.kind == "tar" and _algorithm(row) == "sha256"


def _descriptor(compression: Compression, digest: Digest, size: int) -> Descriptor:
    return Descriptor(media_type=compression.media_type(), digest=digest, size=size)
