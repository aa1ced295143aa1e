"""Platforms as people write them."""

from __future__ import annotations

import pytest

from boatyard.errors import InvalidError
from boatyard.image.platform import Platform, parse

HOST = Platform(os="linux", architecture="amd64")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm64/v8", "linux/arm64"),
        ("arm64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("linux", "linux/amd64"),
        ("macos", "darwin/amd64"),
        ("plan9/sparc", "plan9/sparc"),
    ],
)
def test_a_platform_is_read_with_what_it_leaves_out(text: str, meant: str) -> None:
    assert str(parse(text, HOST)) == meant


@pytest.mark.parametrize("text", ["", "nosuch", "a/b/c/d", "linux/", "linux/am d64"])
def test_what_is_no_platform_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidError) as refused:
        parse(text, HOST)
    assert "linux/amd64" in (refused.value.hint or "")
