"""The small readers: JSON words, fields, durations, ports, ignore files, suggestions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.frontend.dockerfile.durations import parse_duration
from boatyard.build.frontend.dockerfile.ignorefile import parse_ignore_file
from boatyard.build.frontend.dockerfile.ports import PortRange, parse_port
from boatyard.build.frontend.dockerfile.suggest import closest, distance
from boatyard.build.frontend.dockerfile.words import parse_fields, parse_json_words, split_keyword, split_quoted
from boatyard.errors import InvalidError

# -- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", ()),
        ("\t [ ] ", ()),
        ('["a", "b c"]', ("a", "b c")),
        ('["\\u00e9\\n\\t\\"\\\\"]', ('é\n\t"\\',)),
        ('["\\ud83d\\ude00"]', ("😀",)),
        ('["\\ud83d"]', ("\ufffd",)),
    ],
)
def test_arrays_of_strings(text: str, words: tuple[str, ...]) -> None:
    assert parse_json_words(text) == words


@pytest.mark.parametrize(
    "text",
    ["", "a", '"a"', "{}", "['a']", '["a",]', '["a"', '["a"] b', "[a]", "[NaN]", '["a\tb"]', '["\\x"]', "[" * 100_000],
)
def test_what_is_no_array(text: str) -> None:
    assert parse_json_words(text) is None


@pytest.mark.parametrize("text", ["[1]", '["a", null]', '["a", ["b"]]', "[{}]", "[" + "1" * 10_000 + "]"])
def test_arrays_of_other_things_are_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="nothing but strings"):
        parse_json_words(text)


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        (" a  b\tc ", ("a", "b", "c")),
        ("a='b c' d", ("a='b c'", "d")),
        ('a="b\\" c" d', ('a="b\\" c"', "d")),
        ("a='b\\' c", ("a='b\\'", "c")),
        ("a\\ b c", ("a\\ b", "c")),
        ("a='b c", ("a='b c",)),
        ('a="b c\\', ('a="b c\\',)),
        ("a\\", ("a",)),
        ("\\", ()),
        ("''", ("''",)),
        ("a\u00a0b", ("a", "b")),
    ],
)
def test_quoted_words(text: str, words: tuple[str, ...]) -> None:
    assert split_quoted(text, "\\") == words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RUN", ("RUN", (), "")),
        (" RUN\t a ", ("RUN", (), "a")),
        ("RUN --a --b=c d --e", ("RUN", ("--a", "--b=c"), "d --e")),
        ("RUN --a='b \"c' d", ("RUN", ('--a=b "c',), "d")),
        ('RUN --a="b \\" c" d', ("RUN", ('--a=b " c',), "d")),
        ("RUN --a=b\\ c d", ("RUN", ("--a=b c",), "d")),
        ("RUN --a='b", ("RUN", ("--a=b",), "")),
        ("RUN --a\\", ("RUN", ("--a",), "")),
        ("RUN - a", ("RUN", (), "- a")),
        ("RUN --", ("RUN", (), "")),
        ("RUN --a=''", ("RUN", ("--a=",), "")),
    ],
)
def test_keywords_flags_and_rest(line: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    assert split_keyword(line, "\\") == expected


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        ("a,,b,", ("a", "", "b", "")),
        ('"a,b",c', ("a,b", "c")),
        ('"a""b"', ('a"b',)),
        ('"",""', ("", "")),
        ("a\nb", ("a\nb",)),
    ],
)
def test_fields(text: str, fields: tuple[str, ...]) -> None:
    assert parse_fields(text) == fields


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
@settings(max_examples=50)
def test_quoted_fields_come_back(fields: list[str]) -> None:
    assert parse_fields(",".join('"' + field.replace('"', '""') + '"' for field in fields)) == tuple(fields)


# -- durations and ports ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("5s", 5 * 10**9),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("1.5s", 1_500_000_000),
        (".5m", 30 * 10**9),
        ("1.m", 60 * 10**9),
        ("10µs", 10_000),
        ("-3s", -3 * 10**9),
        ("+3s", 3 * 10**9),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "1d", "1s2", ".s", "1h-2m", "--1s", "999999999h", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", PortRange("80", 80, 80, "tcp")),
        ("80/udp", PortRange("80/udp", 80, 80, "udp")),
        ("80/SCTP", PortRange("80/SCTP", 80, 80, "SCTP")),
        ("8000-8002", PortRange("8000-8002", 8000, 8002, "tcp")),
        ("8080:80", PortRange("8080:80", 80, 80, "tcp", "", "8080")),
        ("127.0.0.1:8080:80/tcp", PortRange("127.0.0.1:8080:80/tcp", 80, 80, "tcp", "127.0.0.1", "8080")),
        ("[::1]:8080:80", PortRange("[::1]:8080:80", 80, 80, "tcp", "[::1]", "8080")),
        ("127.0.0.1::80", PortRange("127.0.0.1::80", 80, 80, "tcp", "127.0.0.1", "")),
        ("1-2:3-4", PortRange("1-2:3-4", 3, 4, "tcp", "", "1-2")),
        ("1-9:3", PortRange("1-9:3", 3, 3, "tcp", "", "1-9")),
    ],
)
def test_ports(text: str, expected: PortRange) -> None:
    assert parse_port(text) == expected


def test_a_range_is_many_ports() -> None:
    assert parse_port("8000-8002/UDP").names() == ("8000/udp", "8001/udp", "8002/udp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid port ''"),
        ("/tcp", "invalid port"),
        ("a", "invalid port 'a'"),
        ("80/http", "unknown protocol 'http'"),
        ("65536", "the highest is 65535"),
        ("9" * 10_000, "the highest"),
        ("-1", "invalid port"),
        ("9-8", "goes backwards"),
        ("1-2:3-5", "differ in length"),
        ("host:1:2", "invalid address 'host'"),
        ("80/tcp/x", "unknown protocol"),
        ("٣", "invalid port"),
    ],
)
def test_what_is_no_port(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        parse_port(text)


# -- ignore files ----------------------------------------------------------------------------------------------------


def test_an_ignore_file_is_cleaned_line_by_line() -> None:
    data = b"\xef\xbb\xbf# comment\n\n  a/b/ \r\n/c\n!/d/../e\n! f\n #g\n./h\n!\n//i\n/\n\xffj\n"
    assert parse_ignore_file(data) == (
        "a/b", "c", "!e", "!f", "#g", "h", "!", "i", "/", "\udcffj",
    )  # fmt: skip


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_are_an_ignore_file(data: bytes) -> None:
    parse_ignore_file(data)


# -- suggestions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "options", "match"),
    [
        ("mout", ["mount", "network"], "mount"),
        ("mount", ["mount", "mounts"], None),
        ("RNU", ["ENV", "RUN"], "RUN"),
        ("FOO", ["ADD", "ENV", "RUN"], None),
        ("netwrk", ["network"], "network"),
        ("entirely", ["different"], None),
        ("x", [], None),
    ],
)
def test_suggestions(word: str, options: list[str], match: str | None) -> None:
    assert closest(word, options) == match


@pytest.mark.parametrize(("word", "match"), [("copi", "copy"), ("COPI", "COPY"), ("CoPi", "COPY"), ("Copy", None)])
def test_suggestions_take_the_words_case(word: str, match: str | None) -> None:
    assert closest(word, ["COPY"], ignore_case=True) == match


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
@settings(max_examples=100)
def test_distance_is_symmetric_and_zero_for_the_same(left: str, right: str) -> None:
    assert distance(left, right, limit=100) == distance(right, left, limit=100)
    assert (distance(left, right, limit=100) == 0) == (left == right)
