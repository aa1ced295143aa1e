"""The client's reading of HTTP answers: however they are cut, and whatever they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.client.http1 import AnswerReader, quote, request, target
from boatyard.errors import InvalidError, UnavailableError


def read(pieces: list[bytes], *, end: bool = False) -> tuple[AnswerReader, bytes]:
    reader = AnswerReader()
    body = b"".join(reader.feed(piece) for piece in pieces if piece)
    if end:
        body += reader.feed(b"")
    return reader, body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def chunked(body: bytes, sizes: list[int]) -> bytes:
    data = b""
    while body:
        size = min(sizes.pop() if sizes else len(body), len(body))
        data += b"%x;ext=1\r\n%s\r\n" % (size, body[:size])
        body = body[size:]
    return data + b"0\r\nTrailer: x\r\n\r\n"


@given(
    body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 40), max_size=20), places=st.lists(st.integers(0, 999))
)
def test_a_chunked_body_is_the_same_however_it_is_cut(body: bytes, sizes: list[int], places: list[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes)
    reader, found = read(cut(data, places))
    assert found == body
    assert reader.complete


@given(body=st.binary(max_size=300), places=st.lists(st.integers(0, 999)))
def test_a_body_with_a_length_is_the_same_however_it_is_cut(body: bytes, places: list[int]) -> None:
    data = b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    reader, found = read(cut(data, places))
    assert (reader.status, reader.headers["a"], found, reader.complete) == (404, "b", body, True)


@given(body=st.binary(max_size=300), places=st.lists(st.integers(0, 999)))
def test_a_body_without_a_length_ends_with_the_connection(body: bytes, places: list[int]) -> None:
    reader, found = read(cut(b"HTTP/1.1 200 OK\r\n\r\n" + body, places), end=True)
    assert (found, reader.complete) == (body, True)


def test_interim_answers_are_skipped() -> None:
    reader, body = read([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    assert (reader.status, body) == (200, b"ok")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 300,
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UnavailableError, match="does not speak"):
        read([data])


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=50),
            st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"\r\n", b"2\r\nab\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]),
        )
    )
)
def test_garbage_raises_nothing_else(pieces: list[bytes]) -> None:
    try:
        read(pieces, end=True)
    except UnavailableError:
        pass


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    with pytest.raises(UnavailableError, match="in the middle"):
        read([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"], end=True)


def test_names_and_parameters_are_quoted() -> None:
    assert quote("a b/ü%") == "a%20b%2F%C3%BC%25"
    assert target("/x/{n}/y", {"n": "a/b"}, {"q": "1&2", "r": "="}) == "/boat/v1/x/a%2Fb/y?q=1%262&r=%3D"


def test_a_request_without_a_document_has_no_body() -> None:
    assert request("GET", "/x", None).endswith(b"\r\n\r\n")
    assert b"content-length: 0\r\n" in request("POST", "/x", None)


def test_a_text_that_is_not_utf8_is_named() -> None:
    with pytest.raises(InvalidError, match=r'"X=caf\\xe9" is not UTF-8'):
        request("POST", "/", {"env": [b"X=caf\xe9".decode(errors="surrogateescape")]})
