"""Names in a tree of layers: links, wildcards, patterns. No mount is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.build.tree.checksum import Selector, content_key
from boatyard.build.tree.layers import LayerTree
from boatyard.build.tree.lookup import find, glob, split_wildcards, walk
from boatyard.errors import InvalidError, NotFoundError
from boatyard.paths.spelling import clean
from fixtures.filework import Dir, Link, Spec, grow

FILES: Spec = {
    "etc/passwd": "root",
    "usr/lib/a.so": "a",
    "usr/lib/b.so": "b",
    "usr/lib/deep/c.so": "c",
    "lib": Link("usr/lib"),
    "abs": Link("/usr/lib/a.so"),
    "out": Link("../../../../etc/passwd"),
    "nowhere": Link("none"),
    "loop": Link("loop"),
    "round/back": Link("../round"),
    "[x]": "x",
}


@pytest.fixture
def tree(tmp_path: Path) -> LayerTree:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    for number, (name, what) in enumerate(FILES.items()):
        grow(lower if number % 2 else upper, {name: what})
    return LayerTree([lower, upper])


@pytest.fixture(autouse=True)
def ownership_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "chown", lambda *args, **options: None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ""),
        ("", ""),
        ("/etc/passwd", "etc/passwd"),
        ("etc//./passwd", "etc/passwd"),
        ("/etc/../etc/passwd", "etc/passwd"),
        ("/../../etc/passwd", "etc/passwd"),
        ("/lib/a.so", "usr/lib/a.so"),
        ("/lib", "usr/lib"),
        ("/abs", "usr/lib/a.so"),
        ("/out", "etc/passwd"),
        ("/lib/..", "usr"),
        ("/round/back/back/back", "round"),
        ("/nowhere", None),
        ("/none", None),
        ("/etc/passwd/x", None),
        ("/" + "n" * 300, None),
    ],
)
def test_links_are_followed_inside(tree: LayerTree, path: str, expected: str | None) -> None:
    node = find(tree, path)
    assert (node.path if node else None) == expected


def test_the_last_link_is_followed_only_when_asked(tree: LayerTree) -> None:
    node = find(tree, "/lib", follow=False)
    assert node is not None
    assert node.link == "usr/lib"


def test_a_loop_is_an_error(tree: LayerTree) -> None:
    with pytest.raises(InvalidError, match="links"):
        find(tree, "/loop/x")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/usr/lib/*.so", ["usr/lib/a.so", "usr/lib/b.so"]),
        ("/lib/*.so", ["usr/lib/a.so", "usr/lib/b.so"]),
        ("/*/lib/?.so", ["usr/lib/a.so", "usr/lib/b.so"]),
        ("/usr/*/*/*", ["usr/lib/deep/c.so"]),
        ("/u*", ["usr"]),
        ("/none*", []),
        ("/none/*", None),
        ("/[[]x]", ["[x]"]),
        ("/li*/a.so", []),
    ],
)
def test_wildcards_match_name_by_name(tree: LayerTree, pattern: str, expected: list[str] | None) -> None:
    found = glob(tree, pattern)
    assert (None if found is None else [node.path for node in found]) == expected


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["", "a.so", "b.so", "deep", "deep/c.so"]),
        (("*.so",), (), ["", "a.so", "b.so"]),
        (("deep/c.so",), (), ["", "(deep)", "deep/c.so"]),
        (("deep",), (), ["", "deep", "deep/c.so"]),
        ((), ("deep",), ["", "a.so", "b.so"]),
        ((), ("*", "!deep/c.so"), ["", "(deep)", "deep/c.so"]),
        (("**/*.so",), ("a.so",), ["", "b.so", "(deep)", "deep/c.so"]),
        (("none",), (), [""]),
    ],
)
def test_patterns_leave_in(
    tree: LayerTree, include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    top = find(tree, "/usr/lib")
    assert top is not None
    found = [f"({each.path})" if each.implied else each.path for each in walk(tree, top, include, exclude)]
    assert found == expected


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/b", ("a/b", "")),
        ("a/*/b", ("a", "*/b")),
        ("*", ("", "*")),
        (r"a/\*", (r"a/\*", "")),
        ("a/[b]/*", ("a", "[b]/*")),
    ],
)
def test_paths_are_split_before_the_first_wildcard(path: str, parts: tuple[str, str]) -> None:
    assert split_wildcards(path) == parts


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", ""), (".", ""), ("/a//b/./c/", "a/b/c"), ("a/../../b", "b"), ("..", ""), ("/a/.", "a")],
)
def test_paths_are_cleaned(path: str, expected: str) -> None:
    assert clean(path) == expected


class TestContentKeys:
    def key(self, tree: LayerTree, *selectors: Selector) -> str:
        return content_key(tree, selectors).digest

    def test_a_missing_path_is_named(self, tree: LayerTree) -> None:
        with pytest.raises(NotFoundError) as caught:
            content_key(tree, [Selector("/usr/../none")])
        assert caught.value.message == '"/none": not found'

    def test_an_optional_path_may_be_missing(self, tree: LayerTree) -> None:
        assert self.key(tree, Selector("/none", optional=True)) != self.key(
            tree, Selector("/etc/passwd", optional=True)
        )

    def test_a_link_counts_as_what_it_leads_to_when_it_is_followed(self, tree: LayerTree) -> None:
        assert self.key(tree, Selector("/abs")) == self.key(tree, Selector("/usr/lib/a.so"))
        assert self.key(tree, Selector("/abs", follow_links=False)) != self.key(tree, Selector("/abs"))

    def test_the_way_through_a_link_does_not_count(self, tree: LayerTree) -> None:
        assert self.key(tree, Selector("/lib")) == self.key(tree, Selector("/usr/lib"))

    def test_several_selectors_count_in_their_order(self, tree: LayerTree) -> None:
        one, two = Selector("/etc/passwd"), Selector("/usr/lib/a.so")
        assert self.key(tree, one, two) != self.key(tree, two, one)
        assert self.key(tree, one, two) == self.key(tree, one, two)

    def test_names_can_not_be_confused_with_contents(self, tmp_path: Path) -> None:
        keys = set()
        for number, spec in enumerate(
            [{"a": "", "b": ""}, {"ab": ""}, {"a": "b"}, {"a/b": ""}, {"a": Link("b")}, {"a": Dir()}]
        ):
            root = tmp_path / str(number)
            root.mkdir()
            grow(root, spec)  # type: ignore[arg-type]
            keys.add(self.key(LayerTree([root]), Selector("/")))
        assert len(keys) == 6

    def test_an_empty_chain_is_an_empty_directory(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir(mode=0o755)
        if os.geteuid() == 0:
            assert self.key(LayerTree([]), Selector("/")) == self.key(LayerTree([tmp_path / "empty"]), Selector("/"))
        assert LayerTree([]).children(LayerTree([]).root) == ()
