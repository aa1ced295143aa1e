"""Values that would be options, or commands, to the tools that get them."""

from __future__ import annotations

import pytest

from boatyard.errors import InvalidError
from boatyard.image.bootstrap.debian import DebianRecipe, check
from boatyard.image.platform import parse as parse_platform

AMD64 = parse_platform("linux/amd64")


def recipe(**values: object) -> DebianRecipe:
    return DebianRecipe(**{"suite": "bookworm", "slim": True, "platform": AMD64, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"suite": "--customize-hook=touch /tmp/x"},
        {"suite": "bookworm -"},
        {"suite": ""},
        {"variant": "minbase --hook-dir=/x"},
        {"variant": "-"},
        {"mirror": "--setup-hook=id"},
        {"mirror": "/etc/passwd"},
        {"mirror": "deb [trusted=yes] http://evil/ ./"},
        {"mirror": "http://mirror/ bookworm main\ndeb http://evil/"},
        {"include": ("-oAPT::Update::Pre-Invoke::=id",)},
        {"include": ("curl,--allow-unauthenticated",)},
        {"include": ("curl\n",)},
        {"include": ("",)},
    ],
)
def test_what_would_be_an_option_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as caught:
        check(recipe(**values))
    assert caught.value.hint


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"suite": "trixie-backports"},
        {"mirror": "http://mirror.example/debian"},
        {"mirror": "copy:/srv/mirror"},
        {"variant": "buildd"},
        {"include": ("g++", "libc6:i386", "nginx=1.22.1-9+deb12u1", "git/bookworm-backports")},
    ],
)
def test_what_people_write_is_taken(values: dict[str, object]) -> None:
    check(recipe(**values))
