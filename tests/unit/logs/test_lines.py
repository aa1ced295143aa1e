"""Whole lines out of reads: against the plain way of doing it, whatever the pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.logs.memlogd.lines import Cutter

LENGTH = 8

texts = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"\0", b"\xff", b"long-line", b"12345678"])).map(
    b"".join
)


@st.composite
def cuts(draw: st.DrawFn) -> list[bytes]:
    """A text in pieces."""
    text = draw(texts)
    places = sorted(draw(st.lists(st.integers(0, len(text)))))
    ends = [*places, len(text)]
    return [piece for start, end in zip([0, *places], ends, strict=True) if (piece := text[start:end])]


def plain(text: bytes) -> list[bytes]:
    """Lines as they were written, of any length."""
    *ended, rest = text.split(b"\n")
    return [*(line.removesuffix(b"\r") for line in ended), *([rest] if rest else [])]


def run(cutter: Cutter, pieces: list[bytes]) -> list[tuple[bytes, bool]]:
    return [piece for data in pieces for piece in cutter.cut(data)] + cutter.end()


def lines_of(data: bytes) -> list[bytes]:
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


@given(cuts())
def test_lines_come_out_whole_and_too_long_ones_cut_off(pieces: list[bytes]) -> None:
    found = [line for data, _ in run(Cutter(LENGTH), pieces) for line in lines_of(data)]
    assert found == [line[:LENGTH] for line in plain(b"".join(pieces))]


@given(cuts())
def test_too_long_lines_go_on_as_more_lines_when_they_are_split(pieces: list[bytes]) -> None:
    whole, begun = [], b""
    for data, goes_on in run(Cutter(LENGTH, split=True), pieces):
        for part in lines_of(data):
            assert len(part) <= LENGTH
            begun += part
            if goes_on:
                assert part
            else:
                whole.append(begun)
                begun = b""
    assert not begun
    assert whole == plain(b"".join(pieces))


@given(cuts())
def test_what_is_held_back_is_bounded(pieces: list[bytes]) -> None:
    for split in (False, True):
        cutter = Cutter(LENGTH, split=split)
        for data in pieces:
            cutter.cut(data)
            assert len(cutter._tail) <= LENGTH + 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"12345678\r\n", [b"12345678"]),
        (b"12345678\r\r\n", [b"12345678"]),
        (b"1234567\r\r\n", [b"1234567\r"]),
        (b"123456789\n", [b"12345678"]),
        (b"x\r", [b"x\r"]),
        (b"\n\n", [b"", b""]),
    ],
)
def test_a_carriage_return_belongs_to_the_end_only(text: bytes, lines: list[bytes]) -> None:
    assert run(Cutter(LENGTH), [text[:8], text[8:]] if text[8:] else [text]) == run(Cutter(LENGTH), [text])
    assert [line for data, _ in run(Cutter(LENGTH), [text]) for line in lines_of(data)] == lines
