"""Users looked up in an image."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.runtime.users import MAX_ID, User, find, lookup

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
ann:x:1000:1000:Ann:/home/ann:/bin/sh
bob:x:1001:50::/home/bob
broken line
short:x:77
nohome:x:1002:1002
42:x:2000:2000::/named-like-a-number:/bin/sh
"""
GROUP = b"""root:x:0:
ann:x:1000:
wheel:x:10:ann,root
staff:x:50:ann, bob
broken
empty:x:60:
staff:x:51:ann
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", User(0, 0, (0, 10), "/root")),
        ("root", User(0, 0, (0, 10), "/root")),
        ("0", User(0, 0, (0, 10), "/root")),
        ("ann", User(1000, 1000, (1000, 10, 50, 51), "/home/ann")),
        ("1000", User(1000, 1000, (1000, 10, 50, 51), "/home/ann")),
        ("bob", User(1001, 50, (50,), "/home/bob")),
        ("ann:staff", User(1000, 50, (50,), "/home/ann")),
        ("ann:99", User(1000, 99, (99,), "/home/ann")),
        ("1000:1000", User(1000, 1000, (1000,), "/home/ann")),
        ("5:6", User(5, 6, (6,), "/")),
        ("5", User(5, 0, (0,), "/")),
        ("5:wheel", User(5, 10, (10,), "/")),
        ("nohome", User(1002, 1002, (1002,), "/")),
        (":wheel", User(0, 10, (10,), "/root")),
        ("42", User(2000, 2000, (2000,), "/named-like-a-number")),
        (str(MAX_ID), User(MAX_ID, 0, (0,), "/")),
    ],
)
def test_a_user_is_found(text: str, expected: User) -> None:
    assert find(text, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("carl", "unable to find user carl"),
        ("ann:dancers", "unable to find group dancers"),
        ("short", "unable to find user short"),
        ("4294967295", "unable to find user 4294967295"),
        ("-1", "unable to find user -1"),
        ("١", "unable to find user"),
    ],
)
def test_what_is_not_found_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        find(text, PASSWD, GROUP)


def test_an_image_without_the_files_has_root_and_numbers(tmp_path: Path) -> None:
    assert lookup(str(tmp_path), "") == User(0, 0, (0,), "/")
    assert lookup(str(tmp_path), "3:4") == User(3, 4, (4,), "/")


def test_links_of_the_image_stay_inside_it(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/../../usr/lib/passwd")
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/passwd").write_text("inside:x:9:9::/in:/bin/sh\n")
    assert lookup(str(tmp_path), "inside") == User(9, 9, (9,), "/in")


def test_a_directory_in_the_files_place_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").mkdir(parents=True)
    assert lookup(str(tmp_path), "") == User(0, 0, (0,), "/")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with (tmp_path / "etc/passwd").open("wb") as file:
        file.truncate(20 << 20)
    with pytest.raises(InvalidError, match="larger than"):
        lookup(str(tmp_path), "")


@given(st.text(max_size=20), st.binary(max_size=200), st.binary(max_size=200))
def test_any_files_give_a_user_or_a_clear_error(text: str, passwd: bytes, group: bytes) -> None:
    try:
        user = find(text, passwd, group)
    except InvalidError as error:
        assert error.message.startswith("unable to find")
        return
    assert 0 <= user.uid <= MAX_ID
    assert user.gid in user.groups
    assert user.home
