"""How layers are compressed: kinds, levels, media types; and the way to streams that compress and decompress.

Media types: OCI image-spec, layer.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import spec
from boatyard.image.layer.compressor import Compressor, Sink
from boatyard.image.layer.decompression import detect, open_decompressed

__all__ = ["Compression", "Compressor", "detect", "kind_of", "open_compressed", "open_decompressed"]

_MEDIA_TYPES = {
    "tar": (spec.OCI_LAYER, spec.DOCKER_LAYER),
    "gzip": (spec.OCI_LAYER_GZIP, spec.DOCKER_LAYER_GZIP),
    "zstd": (spec.OCI_LAYER_ZSTD, spec.DOCKER_LAYER_ZSTD),
}
_LEVELS = {"tar": range(1), "gzip": range(10), "zstd": range(23)}
_DEFAULT_LEVEL = {"tar": 0, "gzip": 2, "zstd": 2}


@dataclass(frozen=True, slots=True)
class Compression:
    """`kind` is "tar" (none), "gzip" or "zstd". Levels: gzip 0-9 (1-3 are ISA-L's, the fast ones), zstd 1-22; None is
    the default, as is 0 of zstd."""

    kind: str = "gzip"
    level: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _LEVELS:
            raise InvalidError(f"unknown compression {self.kind!r}", hint="use gzip, zstd or uncompressed")
        if self.level is not None and self.kind != "tar" and self.level not in _LEVELS[self.kind]:
            levels = _LEVELS[self.kind]
            raise InvalidError(
                f"{self.kind} has no level {self.level}", hint=f"levels go from {levels[0]} to {levels[-1]}"
            )

    @property
    def effective_level(self) -> int:
        if self.level is None or self.kind == "tar" or (self.kind == "zstd" and self.level == 0):
            return _DEFAULT_LEVEL[self.kind]
        return self.level

    @property
    def key(self) -> str:
        """Equal keys give equal bytes."""
        return "tar" if self.kind == "tar" else f"{self.kind}:{self.effective_level}"

    @staticmethod
    def of_key(key: str) -> Compression:
        kind, _, level = key.partition(":")
        return Compression(kind, int(level) if level else None)

    def media_type(self, *, docker: bool = False) -> str:
        return _MEDIA_TYPES[self.kind][docker]


def kind_of(media_type: str) -> str:
    """The kind of compression of a layer's media type. UnsupportedError for one that is no layer."""
    if media_type == spec.DOCKER_LAYER_FOREIGN:
        return "gzip"
    for kind, media_types in _MEDIA_TYPES.items():
        if media_type in media_types:
            return kind
    # Distribution-restricted layers of Windows images ("nondistributable") have suffixes as the others.
    if ".layer.nondistributable.v1.tar" in media_type:
        return {"gzip": "gzip", "zstd": "zstd"}.get(media_type.rpartition("+")[2], "tar")
    raise UnsupportedError(f"media type {media_type!r} is not that of a layer")


@contextmanager
def open_compressed(out: Sink, compression: Compression, *, threads: int | None = None) -> Iterator[Compressor]:
    """A sink whose bytes come out of `out` compressed, finished when the context ends without an exception."""
    compressor = Compressor(out, compression.kind, compression.effective_level, threads=threads)
    try:
        yield compressor
        compressor.close()
    finally:
        compressor.abort()
