from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.cli import units
from boatyard.errors import InvalidError


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234567, "1.23MB"),
        (999_600, "1MB"),
        (77_800_000, "77.8MB"),
        (10**12, "1TB"),
        (5 * 10**18, "5000PB"),
    ],
)
def test_sizes_have_three_digits_and_decimal_units(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.04, "0.0s"), (12.34, "12.3s"), (59.96, "1m00s"), (184, "3m04s"), (3725, "1h02m"), (-1, "0.0s")],
)
def test_durations_grow_coarser(duration: float, text: str) -> None:
    assert units.seconds(duration) == text


@pytest.mark.parametrize(
    ("elapsed", "text"),
    [
        (0.5, "just now"),
        (1, "1 second ago"),
        (119, "1 minute ago"),
        (7200, "2 hours ago"),
        (10 * 86400, "10 days ago"),
        (15 * 86400, "2 weeks ago"),
        (400 * 86400, "1 year ago"),
        (-3600, "in the future"),
    ],
)
def test_ages_are_told_as_docker_tells_them(elapsed: float, text: str) -> None:
    assert units.age(1e9, 1e9 + elapsed) == text


def test_no_moment_has_no_age() -> None:
    assert units.age(0, 1e9) == "N/A"


@pytest.mark.parametrize(
    ("text", "count"),
    [("512m", 512 << 20), ("2gb", 2 << 30), ("1.5GiB", 3 << 29), ("1000", 1000), ("64k", 65536), ("10b", 10)],
)
def test_sizes_are_read_as_powers_of_1024(text: str, count: int) -> None:
    assert units.parse_size(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86400), ("1h30m", 5400), ("500ms", 0.5), ("90", 90), ("7d", 604800), ("1.5s", 1.5)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@given(st.text(max_size=12))
def test_reading_a_size_or_duration_succeeds_or_says_why_not(text: str) -> None:
    for parse in (units.parse_size, units.parse_duration):
        try:
            assert parse(text) >= 0
        except InvalidError as error:
            assert error.hint
