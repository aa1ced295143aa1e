from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.logs import moment


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1795462518_508936703, "2026-11-23T19:35:18.508936703Z"),
        (1795462518_500000000, "2026-11-23T19:35:18.5Z"),
        (1795462518_000000001, "2026-11-23T19:35:18.000000001Z"),
    ],
)
def test_a_moment_is_written_as_go_writes_it(nanoseconds: int, text: str) -> None:
    assert moment.nano(nanoseconds) == text
    assert moment.seconds(nanoseconds) == text[:19] + "Z"


@given(st.integers(0, 2**33 * 10**9))
def test_what_is_written_is_read_back(nanoseconds: int) -> None:
    assert moment.parse(moment.nano(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-23T21:35:18.5+02:00", "2026-11-23T19:35:18.5Z"),
        ("2026-11-23t14:05:18z", "2026-11-23T14:05:18Z"),
        ("2026-11-23 14:05:18-05:30", "2026-11-23T19:35:18Z"),
        ("2024-02-29T00:00:00.1234567891Z", "2024-02-29T00:00:00.123456789Z"),
    ],
)
def test_offsets_and_fractions_are_understood(text: str, same: str) -> None:
    assert moment.nano(moment.parse(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-23",
        "2026-11-23T19:35:18",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T19:35Z",
        "2026-11-23T19:35:18.Z",
        "2026-11-23T19:35:18.xZ",
        "2026-11-23T1９:35:18Z",
        "2026-11-23T19:35:18+2:00",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        moment.parse(text)
