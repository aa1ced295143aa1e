"""Directories that were made for one build: their files become files of layers without being copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.build.tree.index import LocalNode, StatIndex
from boatyard.build.tree.scan import ClientTree
from boatyard.image.layer.compression import Compression
from boatyard.paths.filter import Filter
from fixtures.filework import Dir, File, Link, Workshop, grow

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]

FILES = {
    "a": "content of a",
    "d/b": File("content of b", 0o600),
    "d/run": File("#!/bin/sh", 0o4755),
    "d/link": Link("b"),
    "empty": Dir(),
}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path, given=True)
    grow(workshop.context, FILES)
    return workshop


def same(workshop: Workshop, name: str, inode: int) -> bool:
    return (workshop.context / name).stat().st_ino == inode


async def test_files_are_linked_and_not_copied(workshop: Workshop) -> None:
    result = await workshop.copy(await workshop.local(), src="/", dest="/x")
    for name in ("a", "d/b", "d/run"):
        assert same(workshop, name, (await workshop.status(result, f"x/{name}")).st_ino)
    assert (await workshop.shown(result))["x/d/link"] == "-> b"


async def test_the_layer_is_the_same_as_one_of_copies(tmp_path: Path) -> None:
    described = []
    for given in (True, False):
        (tmp_path / str(given)).mkdir()
        workshop = Workshop(tmp_path / str(given), given=given)
        grow(workshop.context, FILES)
        for directory in (workshop.context, workshop.context / "d"):
            os.utime(directory, (1, 1))
        result = await workshop.copy(await workshop.local(), src="/", dest="/", timestamp=1_000_000_000)
        described.append(workshop.store.blob(result.layers[-1], Compression("gzip")).digest)
    assert described[0] == described[1]


async def test_a_file_that_is_to_change_is_copied(workshop: Workshop) -> None:
    result = await workshop.copy(await workshop.local(), src="a", dest="/x", mode=0o700)
    assert not same(workshop, "a", (await workshop.status(result, "x")).st_ino)
    assert (workshop.context / "a").stat().st_mode & 0o777 == 0o644


async def test_a_file_with_attributes_is_copied(workshop: Workshop) -> None:
    """Those that are a host's own business would come along with a link."""
    os.setxattr(workshop.context / "a", "trusted.something", b"x")
    result = await workshop.copy(await workshop.local(), src="a", dest="/x")
    assert not same(workshop, "a", (await workshop.status(result, "x")).st_ino)


async def test_a_file_that_is_copied_twice_becomes_two(workshop: Workshop) -> None:
    tree = await workshop.local()
    first = await workshop.copy(tree, src="a", dest="/one")
    second = await workshop.copy(tree, first, src="a", dest="/two")
    one, two = (await workshop.status(second, "one")), (await workshop.status(second, "two"))
    assert one.st_ino != two.st_ino
    assert (await workshop.shown(second)) == {"one": "content of a", "two": "content of a"}


async def test_hard_links_of_the_context_stay_hard_links(workshop: Workshop) -> None:
    os.link(workshop.context / "a", workshop.context / "also-a")
    result = await workshop.copy(await workshop.local(), src="/", dest="/")
    assert (await workshop.status(result, "a")).st_ino == (await workshop.status(result, "also-a")).st_ino


async def test_the_layer_outlives_the_directory(workshop: Workshop) -> None:
    result = await workshop.copy(await workshop.local(), src="a", dest="/x")
    (workshop.context / "a").unlink()
    assert await workshop.shown(result) == {"x": "content of a"}


async def test_a_directory_that_was_copied_can_be_keyed_and_copied_again(workshop: Workshop) -> None:
    """Linking a file changes its status, which isn't taken for a change of the file."""
    tree = await workshop.local()
    first = await workshop.copy(tree, src="/", dest="/x")
    again = await (await tree.current()).content_key([])
    assert await workshop.shown(await workshop.copy(tree, src="/", dest="/x")) == await workshop.shown(first)
    assert (await tree.content_key([])).digest == again.digest


def test_a_file_that_got_another_name_elsewhere_is_not_read_again(tmp_path: Path) -> None:
    root = tmp_path / "given"
    grow(root, FILES)
    descriptor = os.open(root, os.O_RDONLY)
    index = StatIndex(tmp_path / "index")

    def scanned() -> LocalNode:
        tree = ClientTree(descriptor, Filter(), index, given=True)
        node = tree.child(tree.root, "a")
        assert node is not None
        return node

    first = scanned()
    assert not first.learned
    tree = ClientTree(descriptor, Filter(), index, given=True)
    tree.learn(list(tree.children(tree.root)))
    os.link(root / "a", tmp_path / "elsewhere")
    linked = scanned()
    assert (linked.learned, linked.racy, linked.nlink) == (True, False, 2)
    (root / "new").write_text("content of b")
    os.utime(root / "new", ns=(linked.mtime_ns, linked.mtime_ns))
    os.rename(root / "new", root / "a")
    assert not scanned().learned
    os.close(descriptor)
