from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.cli.render.lines import LineAssembler, LogTail, harmless, one_line
from boatyard.cli.render.width import columns, cut, pad


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["a\nb", "c\n"], ["a", "bc"]),
        (["crlf\r\n", "x\r", "\ny"], ["crlf", "x", "y"]),
        (["10%\r20%\r", "100%\n"], ["100%"]),
        (["bar 50%\r"], ["bar 50%"]),
        (["\n\n"], ["", ""]),
        ([""], []),
    ],
)
def test_lines_are_what_a_terminal_would_show(pieces: list[str], lines: list[str]) -> None:
    assembler = LineAssembler()
    assert [line for piece in pieces for line in assembler.feed(piece)] + assembler.finish() == lines


@given(st.lists(st.text(alphabet="ab\n", max_size=20), max_size=10))
def test_no_text_is_lost_wherever_it_is_cut(pieces: list[str]) -> None:
    assembler = LineAssembler()
    lines = [line for piece in pieces for line in assembler.feed(piece)] + assembler.finish()
    assert lines == "".join(pieces).splitlines()


def test_a_progress_bar_redrawn_for_ever_takes_no_memory() -> None:
    assembler = LineAssembler()
    for number in range(10_000):
        assembler.feed(f"{number:09d}\r")
    assert assembler.unfinished == "000009999"
    assert len(assembler._rest) < 50


def test_a_tail_knows_how_much_there_was() -> None:
    tail = LogTail(keep=2)
    tail.feed("a\nb\nc\nd")
    assert (tail.last(5), tail.seen) == (["b", "c", "d"], 4)
    tail.finish()
    assert (tail.last(1), tail.seen, tail.last(0)) == (["d"], 4, [])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\x1b[2Kb\x1b[10A", "ab"),
        ("bell\x07 \x08\x9b31m", "bell 31m"),
        ("tab\there", "tab     here"),
        ("\x1b(B\x1b=ok", "ok"),
        ("cut \x1b[", "cut "),
    ],
)
def test_escape_sequences_are_taken_out(text: str, plain: str) -> None:
    assert harmless(text) == plain


def test_colours_may_stay_and_are_switched_off_at_the_end() -> None:
    assert harmless("\x1b[31mred\x1b[2J", colour=True) == "\x1b[31mred\x1b[0m"


@given(st.text(max_size=60))
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    shown = harmless(text)
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in shown)


def test_a_name_is_one_line() -> None:
    assert one_line("RUN <<EOF\n  make\n\tinstall\nEOF") == "RUN <<EOF make install EOF"
    assert one_line("RUN a  b") == "RUN a  b"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("\u200bx", 1), ("", 0)])
def test_letters_take_the_columns_they_take(text: str, width: int) -> None:
    assert columns(text) == width


@given(st.text(max_size=40), st.integers(-2, 30))
def test_a_cut_text_fits_and_a_padded_one_fills(text: str, limit: int) -> None:
    assert columns(cut(text, limit)) <= max(limit, 0)
    if limit > 0 and columns(text) <= limit:
        assert cut(text, limit) == text
    if limit >= 0:
        assert columns(pad(text, limit)) == limit
