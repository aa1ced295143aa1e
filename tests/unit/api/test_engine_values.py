"""What requests to Docker's API carry in their paths and parameters, read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.api.engine import filters, version
from boatyard.api.engine.call import Answer, Call, Query
from boatyard.api.engine.moments import parse_moment
from boatyard.api.engine.routes import Route, Routes
from boatyard.errors import InvalidError


@pytest.mark.parametrize(
    ("path", "written", "rest"),
    [
        ("/v1.41/images/json", "1.41", "/images/json"),
        ("/images/json", "", "/images/json"),
        ("/v1/x", "1", "/x"),
        ("/version", "", "/version"),
        ("/v1.41", "", "/v1.41"),
        ("/volumes", "", "/volumes"),
    ],
)
def test_a_path_may_begin_with_a_version(path: str, written: str, rest: str) -> None:
    assert version.split(path) == (written, rest)


@pytest.mark.parametrize(
    ("written", "found"), [("", (1, 50)), ("1.50", (1, 50)), ("1.24", (1, 24)), ("1.41", (1, 41)), ("1.50.0", (1, 50))]
)
def test_versions_between_the_oldest_and_the_newest_are_spoken(written: str, found: tuple[int, ...]) -> None:
    assert version.parse(written) == found


@pytest.mark.parametrize("written", ["1.51", "1.99", "2.0", "1.500", "1.50.1", "9" * 400])
def test_a_newer_version_is_too_new(written: str) -> None:
    with pytest.raises(InvalidError, match=r"is too new. Maximum supported API version is 1.50$"):
        version.parse(written)


@pytest.mark.parametrize("written", ["1.23", "1.5", "1", "0.9", ".", "..", "1..50"])
def test_an_older_version_is_too_old(written: str) -> None:
    """1.5 is older than 1.24: versions are numbers between dots, not fractions."""
    with pytest.raises(InvalidError, match=r"is too old\. Minimum supported API version is 1\.24, please upgrade"):
        version.parse(written)
    assert version.is_ancient(written)


def test_filters_come_as_objects_and_as_lists() -> None:
    for value in ({"k=v": True, "x": True}, ["k=v", "x"]):
        assert filters.parse(json.dumps({"label": value}), ("label",)) == {"label": ("k=v", "x")}
    assert filters.parse("", ()) == filters.parse("{}", ()) == filters.parse("null", ()) == {}


@pytest.mark.parametrize("text", ["x", "[]", '{"label":3}', '{"label":{"a":"b"}}', '{"nosuch":["a"]}', '"label"'])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid filter"):
        filters.parse(text, ("label",))


@given(
    st.text()
    | st.recursive(st.none() | st.booleans() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        json.dumps
    )
)
def test_no_filter_does_any_harm(text: str) -> None:
    try:
        found = filters.parse(text, ("label", "dangling"))
    except InvalidError:
        return
    assert all(isinstance(value, str) for values in found.values() for value in values)


def test_labels_are_matched_by_name_and_by_value() -> None:
    labels = {"a": "1", "b": ""}
    for wanted in ({}, {"label": ("a",)}, {"label": ("a=1", "b")}, {"label!": ("c",)}, {"label!": ("a=2",)}):
        assert filters.match_labels(wanted, labels), wanted
    for unwanted in ({"label": ("c",)}, {"label": ("a=2",)}, {"label": ("a", "c")}, {"label!": ("a",)}):
        assert not filters.match_labels(unwanted, labels), unwanted


def test_a_query_gives_the_first_value_or_all_of_them() -> None:
    query = Query(b"t=a%2Fb&t=c&q=1&n=-5&empty=&name=%C3%A4&bad=%ff")
    assert query.all("t") == ("a/b", "c")
    assert query.text("t") == "a/b"
    assert query.text("name") == "ä"
    assert query.text("bad") == "\ufffd"
    assert query.number("n") == -5
    assert query.number("none", 7) == 7
    assert "empty" in query and "nosuch" not in query


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "x"])
def test_a_flag_is_set_by_anything_but_a_no(text: str) -> None:
    assert Query(f"f={text}".encode()).flag("f")


@pytest.mark.parametrize("text", ["", "0", "no", "false", "False", "none"])
def test_a_flag_is_not_set_by_dockers_words_for_no(text: str) -> None:
    assert not Query(f"f={text}".encode()).flag("f", True)
    assert Query(b"").flag("f", True)


@pytest.mark.parametrize("text", ["1.5", "x", "--1", "9" * 30, "²"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="n expects an integer"):
        Query(f"n={text}".encode()).number("n")


@given(st.binary())
def test_any_query_is_read(raw: bytes) -> None:
    query = Query(raw)
    assert query.text("a", "default") is not None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1700000000", 1700000000.0),
        ("1700000000.123456789", 1700000000.123456789),
        ("10m", 999400.0),
        ("1h30m", 994600.0),
        ("1.5s", 999998.5),
        ("2023-11-14T22:13:20Z", 1700000000.0),
        ("2023-11-14T22:13:20.000000000Z", 1700000000.0),
        ("2023-11-14T23:13:20+01:00", 1700000000.0),
        ("2023-11-14", 1699920000.0),
    ],
)
def test_moments_are_read_in_all_of_dockers_forms(written: str, seconds: float) -> None:
    assert parse_moment(written, 1_000_000.0) == pytest.approx(seconds)


@given(st.text())
def test_what_is_no_moment_is_refused(written: str) -> None:
    try:
        parse_moment(written, 0.0)
    except InvalidError:
        pass


async def _one(call: Call) -> Answer:
    return Answer()


async def _other(call: Call) -> Answer:
    return Answer()


def test_names_in_paths_may_have_slashes_and_plain_paths_go_first() -> None:
    routes = Routes(
        (
            Route("GET", "/images/{name}/json", _one),
            Route("GET", "/images/get", _other),
            Route("GET", "/images/{name}/get", _one),
            Route("DELETE", "/images/{name}", _one),
        )
    )
    assert routes.find("GET", "/images/localhost:5000/a/b:c/json") == (_one, {"name": "localhost:5000/a/b:c"})
    assert routes.find("GET", "/images/get") == (_other, {})
    assert routes.find("DELETE", "/images/a/b@sha256:1") == (_one, {"name": "a/b@sha256:1"})
    assert routes.find("POST", "/images/get") is None
    assert routes.find("GET", "/images//json") is None
