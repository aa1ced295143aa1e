"""LinuxKit's JSON, byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.logs.jsonlines import objects, texts

TIME = 1795462518_508936703

RECORDED = [
    # What was written, and what the original (Go 1.26) made of it.
    (b'say "hi" \\ back/slash', rb'say \"hi\" \\ back/slash'),
    (b"<b>&amp;</b> \x7f", rb"\u003cb\u003e\u0026amp;\u003c/b\u003e " + b"\x7f"),
    (
        bytes(code for code in range(32) if code != 10),
        rb"\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u0013\u0014"
        rb"\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f",
    ),
    ("ünï 日本 😀 \u2028\u2029 \ufffd end".encode(), "ünï 日本 😀 \\u2028\\u2029 \ufffd end".encode()),
    (
        b"\xff \xc3 \xe2\x82 \xe2\x82x \xed\xa0\x80 \xf0\x9f\x98 \xf5\x80\x80\x80 \xc0\x80 ok",
        rb"\ufffd \ufffd \ufffd\ufffd \ufffd\ufffdx \ufffd\ufffd\ufffd \ufffd\ufffd\ufffd \ufffd\ufffd\ufffd\ufffd "
        rb"\ufffd\ufffd ok",
    ),
    (b"a\0b\0", rb"a\u0000b\u0000"),
    (b"", b""),
]  # fmt: skip


@pytest.mark.parametrize(("written", "recorded"), RECORDED)
def test_a_line_is_encoded_as_the_original_does_it(written: bytes, recorded: bytes) -> None:
    begin = b'{"time":"2026-11-23T19:35:18.508936703Z","source":"x","msg":"'
    assert objects(TIME, b"x", written + b"\n") == begin + recorded + b'"}\n'


@pytest.mark.parametrize(
    ("name", "recorded"), [(b"a;b\\c", rb"a;b\\c"), (b"na\nme", rb"na\nme"), (b"", b""), (b"\xffname", rb"\ufffdname")]
)
def test_a_name_is_encoded_as_the_original_does_it(name: bytes, recorded: bytes) -> None:
    assert b'"source":"' + recorded + b'","msg":"m"}\n' in objects(TIME, name, b"m\n")


def as_go(line: bytes) -> str:
    """Go's way, a rune at a time: a byte that begins no rune is one error."""
    out, at = "", 0
    while at < len(line):
        for size in (1, 2, 3, 4):
            try:
                rune = line[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            if len(rune) == 1:
                break
        else:
            out, at = out + "\\ufffd", at + 1
            continue
        at += size
        if rune in "<>&\u2028\u2029" or (rune < " " and rune not in "\b\f\n\r\t"):
            out += f"\\u{ord(rune):04x}"
        else:
            out += rune if ord(rune) > 126 else json.dumps(rune)[1:-1]
    return out


LINES = st.lists(
    st.one_of(st.binary(max_size=8), st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass"))).map(
        lambda line: line.replace(b"\n", b"")
    ),
    min_size=1,
    max_size=6,
)


@given(LINES)
def test_a_chunk_is_encoded_as_its_lines_one_by_one(lines: list[bytes]) -> None:
    begin = '{"time":"2026-11-23T19:35:18.508936703Z","source":"x","msg":"'
    expected = "".join(f'{begin}{as_go(line)}"}}\n' for line in lines)
    assert objects(TIME, b"x", b"".join(line + b"\n" for line in lines)).decode() == expected


def test_text_is_time_source_and_the_message_as_it_is() -> None:
    assert texts(TIME, b"a;b", b"one;two\n\xff\n") == (
        b"2026-11-23T19:35:18.508936703Z;a\\;b;one;two\n2026-11-23T19:35:18.508936703Z;a\\;b;\xff\n"
    )


def test_a_name_with_a_newline_stays_on_its_line() -> None:
    assert texts(TIME, b"a\nb", b"m\n").count(b"\n") == 1
