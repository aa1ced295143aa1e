"""Compressing and decompressing layers: round trips, equal bytes, damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import InvalidError, LayerError, UnsupportedError
from boatyard.image import spec
from boatyard.image.layer.compression import (
    Compression,
    detect,
    kind_of,
    open_compressed,
    open_decompressed,
)

MIB = 1 << 20


@pytest.fixture(scope="module")
def data() -> bytes:
    """2.6 MiB, a third of it random."""
    random.seed(1)
    return b"".join(random.randbytes(100) + b"some text that repeats %d " % (n % 50) * 8 for n in range(9_000))


ALL = [
    Compression("tar"),
    *(Compression("gzip", level) for level in (None, 0, 1, 2, 3, 4, 6, 9)),
    *(Compression("zstd", level) for level in (None, 1, 3, 12)),
]


def compress(data: bytes, compression: Compression, threads: int | None = None, piece: int = 300_000) -> bytes:
    out = io.BytesIO()
    with open_compressed(out, compression, threads=threads) as compressor:
        for start in range(0, len(data), piece):
            compressor.write(data[start : start + piece])
    return out.getvalue()


@pytest.mark.parametrize("compression", ALL, ids=lambda compression: compression.key)
def test_what_was_compressed_decompresses_to_itself(compression: Compression, data: bytes) -> None:
    assert open_decompressed(io.BytesIO(compress(data, compression))).read() == data


@pytest.mark.parametrize("compression", ALL, ids=lambda compression: compression.key)
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1])
def test_sizes_around_a_block_are_no_special_case(compression: Compression, size: int, data: bytes) -> None:
    assert open_decompressed(io.BytesIO(compress(data[:size], compression))).read() == data[:size]


@pytest.mark.parametrize("compression", ALL, ids=lambda compression: compression.key)
def test_neither_threads_nor_pieces_change_the_bytes(compression: Compression, data: bytes) -> None:
    expected = compress(data, compression, threads=1)
    assert compress(data, compression, threads=3, piece=999_999) == expected
    assert compress(data, compression, threads=8, piece=MIB) == expected


def test_others_read_what_was_compressed(data: bytes) -> None:
    assert gzip.decompress(compress(data, Compression("gzip"))) == data
    # One member, so that readers that know no others see all of it.
    single = zlib.decompressobj(wbits=31)
    assert single.decompress(compress(data, Compression("gzip"))) == data
    assert single.eof
    assert zstandard.ZstdDecompressor().stream_reader(compress(data, Compression("zstd"))).read() == data


def test_a_gzip_header_has_no_time_and_no_name() -> None:
    assert compress(b"x", Compression("gzip"))[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_higher_levels_are_smaller(data: bytes) -> None:
    sizes = [len(compress(data, Compression("gzip", level))) for level in (0, 1, 9)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (gzip.compress(b"x", mtime=0), "gzip"),
        (zstandard.compress(b"x"), "zstd"),
        (b"\x50\x2a\x4d\x18\0\0", "zstd"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (b"", "tar"),
        (b"etc/\0\0", "tar"),
    ],
)
def test_compressions_are_told_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert detect(head[:6]) == kind


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress, bytes])
def test_what_others_compressed_is_read_in_pieces_of_any_size(pack: type[bytes], data: bytes) -> None:
    stream = open_decompressed(io.BytesIO(pack(data[:MIB])))
    buffer = bytearray(70_001)
    found = bytearray()
    while count := stream.readinto(buffer):  # type: ignore[attr-defined]
        found += buffer[:count]
    assert found == data[:MIB]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_streams_in_a_row_are_one(pack: type[bytes]) -> None:
    assert open_decompressed(io.BytesIO(pack(b"one, ") + pack(b"two, ") + pack(b"three"))).read() == b"one, two, three"


def test_zeros_after_a_gzip_stream_are_padding() -> None:
    assert open_decompressed(io.BytesIO(gzip.compress(b"x", mtime=0) + bytes(700))).read() == b"x"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_a_stream_that_is_cut_off_anywhere_is_an_error(pack: type[bytes], data: bytes) -> None:
    whole = pack(data[:5000])
    for length in {6, 7, 17, 18, 19, len(whole) // 2, len(whole) - 9, len(whole) - 1}:
        with pytest.raises(LayerError):
            open_decompressed(io.BytesIO(whole[:length])).read()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_wrong_checksum_is_an_error(pack: type[bytes], data: bytes) -> None:
    whole = bytearray(pack(data[:5000]))
    whole[-6] ^= 1
    with pytest.raises(LayerError):
        open_decompressed(io.BytesIO(bytes(whole))).read()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_a_bomb_ends_at_the_limit(pack: type[bytes]) -> None:
    stream = open_decompressed(io.BytesIO(pack(bytes(20 * MIB))), limit=5 * MIB)
    read = 0
    with pytest.raises(LayerError, match="limit"):
        while data := stream.read(100_000):
            read += len(data)
    assert read <= 5 * MIB


def test_a_zstd_window_beyond_all_memory_is_refused(data: bytes) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    huge = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(LayerError):
        open_decompressed(io.BytesIO(huge.compress(data) + huge.flush())).read()


@settings(max_examples=100, deadline=None)
@given(
    head=st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0", b""]),
    noise=st.binary(max_size=300),
)
def test_noise_ends_in_bytes_or_a_layer_error(head: bytes, noise: bytes) -> None:
    try:
        open_decompressed(io.BytesIO(head + noise)).read()
    except LayerError:
        pass


def test_a_failure_of_the_target_reaches_the_writer(data: bytes) -> None:
    class Full:
        def write(self, data: memoryview | bytes) -> int:
            raise OSError(28, "no space")

    for compression in (Compression("tar"), Compression("gzip"), Compression("zstd")):
        with pytest.raises(OSError, match="no space"), open_compressed(Full(), compression) as out:
            for _ in range(20):
                out.write(data)


def test_what_is_given_up_stays_unfinished(data: bytes) -> None:
    out = io.BytesIO()
    with pytest.raises(ZeroDivisionError), open_compressed(out, Compression("gzip")) as compressor:
        compressor.write(data)
        raise ZeroDivisionError
    with pytest.raises(LayerError):
        open_decompressed(io.BytesIO(out.getvalue() or b"\x1f\x8b\x08")).read()


@pytest.mark.parametrize(("kind", "level"), [("lz4", None), ("gzip", 10), ("zstd", -1), ("zstd", 23), ("gzip", -2)])
def test_unknown_kinds_and_levels_are_refused(kind: str, level: int | None) -> None:
    with pytest.raises(InvalidError):
        Compression(kind, level)


def test_equal_settings_have_equal_keys() -> None:
    assert Compression("gzip").key == Compression("gzip", 2).key != Compression("gzip", 1).key
    assert Compression("zstd").key == Compression("zstd", 0).key == "zstd:2"
    for compression in ALL:
        assert Compression.of_key(compression.key).key == compression.key


def test_media_types_and_kinds_belong_together() -> None:
    for kind in ("tar", "gzip", "zstd"):
        assert kind_of(Compression(kind).media_type()) == kind
        assert kind_of(Compression(kind).media_type(docker=True)) == kind
    assert kind_of(spec.DOCKER_LAYER_FOREIGN) == "gzip"
    assert kind_of("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd") == "zstd"
    with pytest.raises(UnsupportedError):
        kind_of("application/vnd.in-toto+json")
