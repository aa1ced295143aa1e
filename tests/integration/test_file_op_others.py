"""The file op's other actions: making files, directories and links, removing; and what they leave in the layer."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from boatyard.build.llb.graph import Chown, FileAction, FileOp, MkDir, MkFile, Rm, Symlink, User
from boatyard.build.result import LayersResult
from boatyard.errors import BoatyardError, ConflictError, InvalidError, NotFoundError
from fixtures.filework import Dir, File, Link, Spec, Workshop, texts

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]

BASE: Spec = {
    "bin": Link("usr/bin"),
    "usr/bin/sh": "sh",
    "etc/a.conf": File("a", mode=0o640, owner=(7, 8)),
    "etc/b.conf": "b",
    "etc/d/x": "x",
    "dangling": Link("/nowhere"),
    "loop": Link("loop"),
}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


Action = MkDir | MkFile | Rm | Symlink


async def act(workshop: Workshop, *actions: Action, base: LayersResult | None = None) -> LayersResult:
    """One layer with all the actions, on the base."""
    chained = tuple(
        FileAction(0 if number == 0 else number, action, output=0 if number == len(actions) - 1 else -1)
        for number, action in enumerate(actions)
    )
    (result,) = await workshop.run(FileOp(chained), base or workshop.layers(BASE))
    return result


MADE: list[tuple[str, Action, dict[str, str]]] = [
    ("a directory", MkDir("/d"), {"d/": ""}),
    ("directories", MkDir("/d/e/f", make_parents=True), {"d/": "", "d/e/": "", "d/e/f/": ""}),
    ("a directory that is there", MkDir("/etc"), {}),
    ("a directory where a file is", MkDir("/etc/a.conf"), {}),
    ("a directory below a link", MkDir("/bin/x"), {"usr/": "", "usr/bin/": "", "usr/bin/x/": ""}),
    ("a directory at a link's end", MkDir("/dangling"), {"nowhere/": ""}),
    ("a file", MkFile("/f", b"f"), {"f": "f"}),
    ("a file over a file", MkFile("/etc/a.conf", b"new"), {"etc/": "", "etc/a.conf": "new"}),
    ("a file through a link", MkFile("/bin/f", b"f"), {"usr/": "", "usr/bin/": "", "usr/bin/f": "f"}),
    ("a link", Symlink("../x", "/etc/l"), {"etc/": "", "etc/l": "-> ../x"}),
]


@pytest.mark.parametrize(("action", "expected"), [case[1:] for case in MADE], ids=[case[0] for case in MADE])
async def test_making(workshop: Workshop, action: Action, expected: dict[str, str]) -> None:
    assert await workshop.added(await act(workshop, action)) == expected


REFUSED: list[tuple[str, Action, type[BoatyardError]]] = [
    ("a directory below nothing", MkDir("/no/d"), NotFoundError),
    ("directories below a file", MkDir("/etc/a.conf/d", make_parents=True), ConflictError),
    ("a file below nothing", MkFile("/no/f"), NotFoundError),
    ("a file below a file", MkFile("/etc/a.conf/f"), ConflictError),
    ("a file where a directory is", MkFile("/etc"), ConflictError),
    ("a file behind a loop of links", MkFile("/loop/f"), InvalidError),
    ("a link where a file is", Symlink("x", "/etc/a.conf"), ConflictError),
    ("a link below nothing", Symlink("x", "/no/l"), NotFoundError),
    ("to remove what isn't there", Rm("/no"), NotFoundError),
    ("to remove the root", Rm("/"), InvalidError),
    ("to remove the root by another name", Rm("/etc/.."), InvalidError),
    ("a name of 300 bytes", MkFile("/" + "n" * 300), InvalidError),
    ("a name with a NUL", MkDir("/a\0b"), InvalidError),
]


@pytest.mark.parametrize(("action", "kind"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refusing(workshop: Workshop, action: Action, kind: type[BoatyardError]) -> None:
    with pytest.raises(kind):
        await act(workshop, action)
    assert os.listdir(workshop.root / "snapshots/.active") == []


async def test_modes_owners_and_times_are_set(workshop: Workshop) -> None:
    owner = Chown(User(id=5), User(id=6))
    result = await act(
        workshop,
        MkDir("/d/e", 0o751, make_parents=True, owner=owner, timestamp=1_000_000_001),
        MkFile("/d/f", b"", 0o640, owner=owner, timestamp=1_000_000_002),
        Symlink("f", "/d/l", owner=owner, timestamp=1_000_000_003),
    )
    for path, mode, time in (("d", 0o751, 1), ("d/e", 0o751, 1), ("d/f", 0o640, 2), ("d/l", 0o777, 3)):
        status = await workshop.status(result, path)
        assert (status.st_uid, status.st_gid) == (5, 6)
        assert stat.S_IMODE(status.st_mode) == mode
        assert status.st_mtime_ns == 1_000_000_000 + time


async def test_a_file_that_is_written_again_keeps_mode_and_owner(workshop: Workshop) -> None:
    status = await workshop.status(await act(workshop, MkFile("/etc/a.conf", b"new", 0o777)), "etc/a.conf")
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 7, 8)


class TestRemoving:
    async def test_a_file_of_the_base_is_gone_and_its_neighbours_stay(self, workshop: Workshop) -> None:
        result = await act(workshop, Rm("/etc/a.conf"))
        shown = await workshop.shown(result)
        assert "etc/a.conf" not in shown
        assert shown["etc/b.conf"] == "b"
        assert await workshop.added(result) == {"etc/": "", "etc/a.conf": "mode 20000"}

    async def test_a_directory_goes_with_all_it_holds(self, workshop: Workshop) -> None:
        assert not [path for path in await workshop.shown(await act(workshop, Rm("/etc"))) if path.startswith("etc")]

    async def test_a_link_goes_and_what_it_leads_to_stays(self, workshop: Workshop) -> None:
        shown = await workshop.shown(await act(workshop, Rm("/bin")))
        assert "bin" not in shown
        assert shown["usr/bin/sh"] == "sh"

    async def test_names_below_a_link_are_found(self, workshop: Workshop) -> None:
        assert "usr/bin/sh" not in await workshop.shown(await act(workshop, Rm("/bin/sh")))

    async def test_a_wildcard_takes_what_it_matches(self, workshop: Workshop) -> None:
        shown = await workshop.shown(await act(workshop, Rm("/e*/*.conf", allow_wildcard=True)))
        assert [path for path in shown if path.startswith("etc")] == ["etc/", "etc/d/", "etc/d/x"]

    async def test_nothing_happens_when_nothing_is_there(self, workshop: Workshop) -> None:
        assert await workshop.added(await act(workshop, Rm("/no/where", allow_not_found=True))) == {}
        assert await workshop.added(await act(workshop, Rm("/no/*", allow_wildcard=True))) == {}

    async def test_what_was_only_made_in_this_layer_leaves_no_whiteout(self, workshop: Workshop) -> None:
        assert await workshop.added(await act(workshop, MkFile("/new", b"x"), Rm("/new"))) == {}

    async def test_a_directory_made_again_is_empty(self, workshop: Workshop) -> None:
        result = await act(workshop, Rm("/etc"), MkDir("/etc"), MkFile("/etc/n", b"n"))
        shown = await workshop.shown(result)
        assert [path for path in shown if path.startswith("etc")] == ["etc/", "etc/n"]

    async def test_files_and_directories_take_each_others_places(self, workshop: Workshop) -> None:
        result = await act(
            workshop, Rm("/etc/b.conf"), MkDir("/etc/b.conf/e", make_parents=True), Rm("/etc/d"), MkFile("/etc/d", b"f")
        )
        shown = await workshop.shown(result)
        assert "etc/b.conf/e/" in shown
        assert shown["etc/d"] == "f"

    async def test_a_file_between_two_directories_of_one_name_hides_the_lower_one(self, workshop: Workshop) -> None:
        base = workshop.layers({"p/q/low": "low"}, {"p/keep": "keep"})
        result = await act(workshop, Rm("/p/q"), MkFile("/p/q", b"f"), Rm("/p/q"), MkDir("/p/q"), base=base)
        assert await workshop.shown(result) == {"p/": "", "p/keep": "keep", "p/q/": ""}

    async def test_a_later_layer_shows_what_it_puts_in_the_place_of_something_removed(self, workshop: Workshop) -> None:
        gone = await act(workshop, Rm("/etc/d"))
        back = await act(workshop, MkDir("/etc/d"), MkFile("/etc/d/y", b"y"), base=gone)
        assert [path for path in await workshop.shown(back) if path.startswith("etc/d")] == ["etc/d/", "etc/d/y"]
        assert texts(workshop.store.directories(back.layers[-1:])[0])["etc/d/y"] == "y"


async def test_a_directory_of_the_base_that_is_only_passed_keeps_its_time(workshop: Workshop) -> None:
    base = workshop.layers({"d": Dir(time=1_234_567_890), "d/x": "x"})
    result = await act(workshop, MkFile("/d/y", b"y"), base=base)
    assert (await workshop.status(result, "d")).st_mtime == 1_234_567_890
