"""The chunked transfer coding, taken off."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.wire.chunks import Chunks, MalformedChunkError


def unframed(chunks: Chunks, wire: bytes, cuts: list[int]) -> bytes:
    """Fed in pieces that end at these places."""
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    found = b""
    for begin, end in pairwise(places):
        found += b"".join(map(bytes, chunks.feed(memoryview(wire)[begin:end])))
    return found


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    st.lists(st.integers(0, 3000), max_size=10),
    st.sampled_from([b"", b"Expires: never\r\n"]),
    st.binary(max_size=20),
)
def test_what_was_framed_comes_out_however_it_arrives(
    pieces: list[bytes], cuts: list[int], trailer: bytes, rest: bytes
) -> None:
    wire = b"".join(b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"
    chunks = Chunks()
    assert unframed(chunks, wire + rest, cuts) == b"".join(pieces)
    assert chunks.complete
    assert chunks.rest == rest


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_unframed_or_refused(wire: bytes, cuts: list[int]) -> None:
    try:
        unframed(Chunks(), wire, cuts)
    except MalformedChunkError:
        return


@pytest.mark.parametrize("wire", [b"5\n01234\n", b"x\r\n", b"-1\r\n", b"+5\r\n", b"1\r\nab\r\n", b" 1\r\n", b"\r\n"])
def test_framing_that_others_may_read_otherwise_is_refused(wire: bytes) -> None:
    with pytest.raises(MalformedChunkError):
        unframed(Chunks(), wire, [])
