"""Header lists, against the hpack library and against nonsense."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.wire.http2.headers import Decoder, HeaderError, HeaderSizeError, encode

names = st.sampled_from([":path", ":status", "content-type", "te", "x-long", "grpc-status"]) | st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30
)
values = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=300)
lists = st.lists(st.tuples(names, values), max_size=20)


@given(lists)
def test_what_is_encoded_is_what_another_implementation_reads(headers: list[tuple[str, str]]) -> None:
    read = hpack.Decoder(max_header_list_size=1 << 20).decode(encode(headers), raw=True)
    assert [(name.decode("latin-1"), value.decode("latin-1")) for name, value in read] == headers


@given(st.lists(lists, max_size=8))
def test_what_another_implementation_encodes_is_read_with_its_table(several: list[list[tuple[str, str]]]) -> None:
    encoder = hpack.Encoder()
    decoder = Decoder(1 << 20)
    for headers in several:
        octets = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        assert decoder.decode(encoder.encode(octets)) == headers


def test_a_table_that_shrinks_and_grows_is_followed() -> None:
    encoder, decoder = hpack.Encoder(), Decoder(1 << 20)
    for size in (4096, 100, 0, 60, 4096):
        encoder.header_table_size = size
        for value in ("one", "two", "one", "x" * 50):
            assert decoder.decode(encoder.encode([("name", value)])) == [("name", value)]


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_read_but_never_breaks(block: bytes) -> None:
    decoder = Decoder(4096)
    for _ in range(2):
        try:
            decoder.decode(block)
        except HeaderError:
            return


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # field 0
        b"\xff\x80\x80\x80\x80\x80\x80\x80\x01",  # a number without end
        b"\x7f" + b"\xff" * 60000,
        b"\x40\x05ab",  # a string that is cut
        b"\x40",
        b"\x82\x20",  # a table size behind a field
        b"\x3f\xff\xff\x03",  # a table larger than allowed
        b"\x00\x81\xff\x00",  # padding that isn't
    ],
)
def test_malformed_lists_are_refused(block: bytes) -> None:
    with pytest.raises(HeaderError):
        Decoder(65536).decode(block)


def test_a_small_block_that_means_a_huge_list_is_refused() -> None:
    decoder = Decoder(65536)
    decoder.decode(b"\x40\x01x" + b"\x7f\xa1\x1e" + b"v" * 4000)
    with pytest.raises(HeaderSizeError):
        decoder.decode(b"\xbe" * 16000)
