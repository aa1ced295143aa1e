from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.build.source.address import shown, without_credentials

SHOWN = {
    "https://example.test/a@b": "https://example.test/a@b",
    "https://user:secret@example.test/x?y#z": "https://xxxxx@example.test/x?y#z",
    "https://token@example.test/x.git#main": "https://xxxxx@example.test/x.git#main",
    "ssh://git@example.test/x": "ssh://git@example.test/x",
    "ssh://git:secret@example.test/x": "ssh://git:xxxxx@example.test/x",
    "git@example.test:x/y.git": "git@example.test:x/y.git",
    "fatal: can't reach 'https://u:p@h/r' or 'http://t@h/r'": "fatal: can't reach 'https://xxxxx@h/r' or 'http://xxxxx@h/r'",
}


@pytest.mark.parametrize("address", SHOWN)
def test_credentials_are_not_shown(address: str) -> None:
    assert shown(address) == SHOWN[address]


def test_credentials_become_a_header() -> None:
    assert without_credentials("http://u%40x:p%3A@h:1/p@q") == ("http://h:1/p@q", "Basic dUB4OnA6")
    assert without_credentials("http://tok@h/") == ("http://h/", "Basic dG9rOg==")
    assert without_credentials("http://h/a@b") == ("http://h/a@b", "")


@given(st.text(max_size=200))
def test_any_text_can_be_shown(text: str) -> None:
    assert shown(shown(text)) == shown(text)
