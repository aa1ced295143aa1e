"""What is sent of a directory. The table was recorded from fsutil, which other clients use."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from boatyard.errors import DeniedError
from boatyard.paths.filter import Filter
from boatyard.session.fsutil.entry import Entry
from boatyard.session.fsutil.walk import everything, walk

FILES = [
    "Dockerfile",
    "README.md",
    "a-b/x",
    "a/b/deep.txt",
    "a/b/keep.log",
    "a/top.log",
    "docs/guide.md",
    "docs/img/logo.png",
    "é/ü.txt",
    "node_modules/m/index.js",
    "src/main.go",
    "src/node_modules/n/index.js",
    "src/main_test.go",
]
LINKS = {
    "latest": "src",
    "src/shared": "../a/b",
    "out": "/docs",
    "loop": "loop",
    "dangling": "nowhere",
    "up": "../../docs",
}
ALL = [
    "Dockerfile",
    "README.md",
    "a",
    "a/b",
    "a/b/deep.txt",
    "a/b/keep.log",
    "a/top.log",
    "a-b",
    "a-b/x",
    "dangling",
    "docs",
    "docs/guide.md",
    "docs/img",
    "docs/img/logo.png",
    "empty",
    "latest",
    "loop",
    "node_modules",
    "node_modules/m",
    "node_modules/m/index.js",
    "out",
    "src",
    "src/main.go",
    "src/main_test.go",
    "src/node_modules",
    "src/node_modules/n",
    "src/node_modules/n/index.js",
    "src/shared",
    "up",
    "é",
    "é/ü.txt",
]


def but(left_out: str) -> str:
    return " ".join(path for path in ALL if path not in left_out.split())


SRC = "src src/main.go src/main_test.go src/node_modules src/node_modules/n src/node_modules/n/index.js src/shared"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for name, target in LINKS.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "empty").mkdir()
    return tmp_path


def walked(root: Path, filter: Filter | None = None) -> list[Entry]:
    descriptor = os.open(root, os.O_RDONLY)
    try:
        return list(walk(descriptor, filter.plan(descriptor) if filter else everything()))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("include", "exclude", "follow", "expected"),
    [
        ([], [], [], but("")),
        (
            [],
            ["**/node_modules"],
            [],
            but(
                "node_modules node_modules/m node_modules/m/index.js src/node_modules src/node_modules/n"
                " src/node_modules/n/index.js"
            ),
        ),
        ([], ["*", "!src"], [], SRC),
        ([], ["**/*.log", "!a/b"], [], but("a/b/keep.log a/top.log")),
        ([], ["a/*", "!a/b/keep.log"], [], but("a/b/deep.txt a/top.log")),
        ([], ["*", "!**/*.go"], [], "src src/main.go src/main_test.go"),
        (["src"], [], [], SRC),
        (["**/*.go"], [], [], "src src/main.go src/main_test.go"),
        (["a/b"], [], [], "a a/b a/b/deep.txt a/b/keep.log"),
        (["*.md", "docs"], ["**/*.png"], [], "README.md docs docs/guide.md docs/img"),
        (["empty"], [], [], "empty"),
        (["é"], [], [], "é é/ü.txt"),
        ([], ["é/ü.txt"], [], but("é/ü.txt")),
        ([], [], ["latest/main.go"], "latest src src/main.go"),
        ([], [], ["src/shared"], "a a/b a/b/deep.txt a/b/keep.log src src/shared"),
        ([], [], ["out"], "docs docs/guide.md docs/img docs/img/logo.png out"),
        ([], [], ["up/guide.md"], "docs docs/guide.md up"),
        ([], [], ["loop/x", "README.md"], "README.md loop"),
        ([], [], ["dangling"], "dangling"),
        ([], [], ["src/*"], f"a a/b a/b/deep.txt a/b/keep.log {SRC}"),
        ([], [], ["s*/shared/keep.log"], ""),
        ([], [], ["Dockerfile", "nothing"], "Dockerfile"),
        ([], [], ["."], but("")),
        (["src"], [], ["."], SRC),
        ([], ["docs"], ["out"], "out"),
        (["a"], ["a/b"], ["src/shared/keep.log"], "a a/top.log src src/shared"),
        ([], ["docs", "!docs/img"], [], but("docs/guide.md")),
        ([], ["docs/**", "!docs/guide.md"], [], but("docs/img docs/img/logo.png")),
        ([], ["./docs/", "/a"], [], but("docs docs/guide.md docs/img docs/img/logo.png")),
        ([], ["**"], [], ""),
        ([], ["**", "!docs/**"], [], "docs docs/guide.md docs/img docs/img/logo.png"),
        ([], ["?*/b", "a-b/"], [], but("a/b a/b/deep.txt a/b/keep.log a-b a-b/x")),
    ],
)
def test_a_filter_leaves_in_what_fsutil_leaves_in(
    tree: Path, include: list[str], exclude: list[str], follow: list[str], expected: str
) -> None:
    found = walked(tree, Filter(tuple(include), tuple(exclude), tuple(follow)))
    assert [entry.path for entry in found] == expected.split()


def test_hard_links_are_of_the_first_name_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    for name in ("b", "c"):
        os.link(tmp_path / "a", tmp_path / name)
    assert [(entry.path, entry.link, entry.size) for entry in walked(tmp_path)] == [
        ("a", "", 4),
        ("b", "a", 4),
        ("c", "a", 4),
    ]
    without = walked(tmp_path, Filter(exclude=("a",)))
    assert [(entry.path, entry.link, entry.size) for entry in without] == [("b", "", 4), ("c", "b", 4)]


def test_a_hard_link_to_a_file_that_is_held_back_is_of_no_other_name(tmp_path: Path) -> None:
    """Files are told in a list of their own; a name that isn't told can't be linked to."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("text")
    os.link(tmp_path / "d" / "a", tmp_path / "e")
    assert [(entry.path, entry.link) for entry in walked(tmp_path, Filter(include=("e",)))] == [("e", "")]


def test_sockets_are_left_out_and_names_may_be_any_bytes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    name = os.fsdecode(b"\xff\xfe")
    (tmp_path / name).write_text("")
    (tmp_path / "~").write_text("")
    assert [entry.path for entry in walked(tmp_path)] == ["~", name]


def test_attributes_that_mean_something_elsewhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.setxattr(tmp_path / "file", "user.note", b"kept")
    (entry,) = walked(tmp_path)
    assert entry.xattrs == {"user.note": b"kept"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every directory")
def test_a_directory_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DeniedError, match="can't read the directory /closed"):
        walked(tmp_path)
