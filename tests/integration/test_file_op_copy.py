"""COPY as Docker does it, on real layers."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boatyard.build.llb.graph import Chown, Copy, FileAction, FileOp, MkDir, Rm, User
from boatyard.errors import BoatyardError, ConflictError, InvalidError, NotFoundError, StorageError
from fixtures.filework import Dir, File, Link, Spec, Workshop, dockerfile_copy, grow

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]

CONTEXT: Spec = {
    "a.txt": "a",
    "b.txt": "b",
    "c.md": "c",
    "dir/one": "1",
    "dir/sub/two": "2",
    "dir/link": Link("one"),
    "empty": Dir(0o700),
    "to-dir": Link("dir"),
    "to-a": Link("a.txt"),
}
BASE: Spec = {"etc/hosts": "h", "usr/lib/libc": "l", "lib": Link("usr/lib"), "srv/file": "old", "srv/d/x": "old"}


@pytest.fixture(params=[False, True], ids=["client's", "given"])
def workshop(tmp_path: Path, request: pytest.FixtureRequest) -> Workshop:
    workshop = Workshop(tmp_path, given=request.param)
    grow(workshop.context, CONTEXT)
    return workshop


COPIES: list[tuple[str, str, str, dict[str, str]]] = [
    ("a file to a name", "a.txt", "/x", {"x": "a"}),
    ("a file into a directory that isn't there", "a.txt", "/new/", {"new/": "", "new/a.txt": "a"}),
    ("a file to a deep name", "a.txt", "/n/e/w", {"n/": "", "n/e/": "", "n/e/w": "a"}),
    ("a file into a directory that is there", "a.txt", "/srv", {"srv/": "", "srv/a.txt": "a"}),
    ("a file over a file", "a.txt", "/srv/file", {"srv/": "", "srv/file": "a"}),
    ("a file through a link to a directory", "a.txt", "/lib/", {"usr/": "", "usr/lib/": "", "usr/lib/a.txt": "a"}),
    ("a link to a file, which is followed", "to-a", "/x", {"x": "a"}),
    (
        "the contents of a directory",
        "dir",
        "/srv",
        {"srv/": "", "srv/one": "1", "srv/sub/": "", "srv/sub/two": "2", "srv/link": "-> one"},
    ),
    (
        "the contents of a directory to a new one",
        "dir/",
        "/n",
        {"n/": "", "n/one": "1", "n/sub/": "", "n/sub/two": "2", "n/link": "-> one"},
    ),
    (
        "the contents of a directory behind a link",
        "to-dir",
        "/n/",
        {"n/": "", "n/one": "1", "n/sub/": "", "n/sub/two": "2", "n/link": "-> one"},
    ),
    ("an empty directory", "empty", "/n", {"n/": ""}),
    ("all that a wildcard matches", "*.txt", "/n/", {"n/": "", "n/a.txt": "a", "n/b.txt": "b"}),
    ("a wildcard that matches nothing", "*.none", "/n/", {}),
    ("a wildcard in a directory's name", "d?r/o*", "/x", {"x": "1"}),
    ("a path that leaves the context and comes back", "../../a.txt", "/x", {"x": "a"}),
    ("a class of characters", "[ab].txt", "/n/", {"n/": "", "n/a.txt": "a", "n/b.txt": "b"}),
]


@pytest.mark.parametrize(
    ("source", "dest", "expected"), [case[1:] for case in COPIES], ids=[case[0] for case in COPIES]
)
async def test_copying(workshop: Workshop, source: str, dest: str, expected: dict[str, str]) -> None:
    result = await workshop.copy(await workshop.local(), workshop.layers(BASE), src=source, dest=dest)
    assert await workshop.added(result) == dict(sorted(expected.items()))


async def test_what_the_base_has_stays(workshop: Workshop) -> None:
    result = await workshop.copy(await workshop.local(), workshop.layers(BASE), src="dir", dest="/srv/d")
    shown = await workshop.shown(result)
    assert shown["srv/d/x"] == "old"
    assert shown["srv/d/one"] == "1"
    assert shown["etc/hosts"] == "h"


async def test_a_directory_that_is_not_copied_as_its_contents_keeps_its_name(workshop: Workshop) -> None:
    base = workshop.layers(BASE)
    into = await workshop.copy(await workshop.local(), base, src="dir", dest="/srv", dir_copy_contents=False)
    assert "srv/dir/one" in await workshop.added(into)
    anew = await workshop.copy(await workshop.local(), base, src="dir", dest="/new", dir_copy_contents=False)
    assert "new/one" in await workshop.added(anew)


async def test_a_link_that_is_not_followed_is_copied_as_one(workshop: Workshop) -> None:
    result = await workshop.copy(await workshop.local(), src="to-a", dest="/x", follow_symlink=False)
    assert await workshop.added(result) == {"x": "-> a.txt"}


async def test_the_whole_context_goes_to_the_root(workshop: Workshop) -> None:
    result = await workshop.copy(await workshop.local(), src="/", dest="/")
    assert await workshop.shown(result) == {
        "a.txt": "a",
        "b.txt": "b",
        "c.md": "c",
        "dir/": "",
        "dir/link": "-> one",
        "dir/one": "1",
        "dir/sub/": "",
        "dir/sub/two": "2",
        "empty/": "",
        "to-a": "-> a.txt",
        "to-dir": "-> dir",
    }


REFUSED: list[tuple[str, dict[str, object], type[BoatyardError], str]] = [
    ("a missing source", {"src": "nope", "dest": "/"}, NotFoundError, '"/nope": not found'),
    ("a missing directory", {"src": "no/pe", "dest": "/"}, NotFoundError, '"/no/pe": not found'),
    ("a wildcard below a missing directory", {"src": "no/*", "dest": "/"}, NotFoundError, '"/no/*": not found'),
    (
        "a wildcard that must match",
        {"src": "*.none", "dest": "/", "allow_empty_wildcard": False},
        NotFoundError,
        '"/*.none": not found',
    ),
    ("a directory over a file", {"src": "dir", "dest": "/srv/file"}, ConflictError, "/srv/file"),
    ("a file below a file", {"src": "a.txt", "dest": "/srv/file/x"}, ConflictError, "no directory"),
    ("a file over a directory in a directory", {"src": "clash", "dest": "/srv"}, ConflictError, "/srv/d"),
    (
        "a missing destination directory",
        {"src": "a.txt", "dest": "/no/x", "create_dest_path": False},
        NotFoundError,
        "no directory /no",
    ),
    ("a mode that is none", {"src": "a.txt", "dest": "/x", "mode_str": "u+q"}, InvalidError, "invalid mode"),
    ("a name that is too long", {"src": "a.txt", "dest": "/" + "n" * 300}, InvalidError, "too long"),
    ("a missing required path", {"src": "dir", "dest": "/x", "required_paths": ("/dir/no",)}, NotFoundError, "/dir/no"),
]


@pytest.mark.parametrize(("options", "kind", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refusing(workshop: Workshop, options: dict[str, object], kind: type[BoatyardError], text: str) -> None:
    grow(workshop.context, {"clash/d": "a file"})
    with pytest.raises(kind) as caught:
        await workshop.copy(await workshop.local(), workshop.layers(BASE), **options)
    assert text in caught.value.message
    assert len(workshop.snapshotter.walk()) == 1, "nothing is left of the attempt"
    assert os.listdir(workshop.root / "snapshots/.active") == []


async def test_existing_paths_of_another_kind_are_replaced_when_asked(workshop: Workshop) -> None:
    grow(workshop.context, {"clash/d": "a file", "clash/file/f": "in a directory"})
    base = workshop.layers(BASE)
    result = await workshop.copy(await workshop.local(), base, src="clash", dest="/srv", always_replace_existing=True)
    shown = await workshop.shown(result)
    assert shown["srv/d"] == "a file"
    assert shown["srv/file/f"] == "in a directory"
    assert "srv/d/x" not in shown


class TestMetadata:
    async def test_everything_from_the_context_belongs_to_root(self, workshop: Workshop) -> None:
        grow(workshop.context, {"mine": File("m", owner=(1234, 1234)), "ours/x": File("x", owner=(7, 7))})
        result = await workshop.copy(await workshop.local(), src="/", dest="/")
        for path in ("mine", "ours", "ours/x"):
            status = await workshop.status(result, path)
            assert (status.st_uid, status.st_gid) == (0, 0)

    async def test_modes_and_times_are_kept(self, workshop: Workshop) -> None:
        grow(workshop.context, {"tool": File("t", mode=0o4755), "d": Dir(0o1770), "d/f": File("f", mode=0o400)})
        os.utime(workshop.context / "tool", ns=(0, 1_234_567_890_123_456_789))
        os.utime(workshop.context / "d", ns=(0, 1_111_111_111_000_000_001))
        result = await workshop.copy(await workshop.local(), src="/", dest="/x/")
        tool = await workshop.status(result, "x/tool")
        assert (tool.st_mode & 0o7777, tool.st_mtime_ns) == (0o4755, 1_234_567_890_123_456_789)
        directory = await workshop.status(result, "x/d")
        assert (directory.st_mode & 0o7777, directory.st_mtime_ns) == (0o1770, 1_111_111_111_000_000_001)
        assert (await workshop.status(result, "x/d/f")).st_mode & 0o7777 == 0o400

    async def test_a_time_that_is_given_goes_to_everything_that_is_made(self, workshop: Workshop) -> None:
        result = await workshop.copy(await workshop.local(), src="dir", dest="/n/m", timestamp=5_000_000_001)
        for path in ("n", "n/m", "n/m/one", "n/m/sub", "n/m/link"):
            assert (await workshop.status(result, path)).st_mtime_ns == 5_000_000_001, path

    async def test_directories_of_the_base_keep_mode_owner_xattrs_and_time(self, workshop: Workshop) -> None:
        base = workshop.layers({"app": Dir(0o2750, (33, 44), 1_200_000_000), "app/x": "x"})
        (directory,) = workshop.store.directories(base.layers)
        os.setxattr(directory / "app", "user.kept", b"yes")
        result = await workshop.copy(await workshop.local(), base, src="a.txt", dest="/app/")
        async with result.tree() as tree:
            status = (tree / "app").lstat()
            assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o2750, 33, 44)
            assert status.st_mtime == 1_200_000_000
            assert os.getxattr(tree / "app", "user.kept") == b"yes"
            assert (tree / "app/a.txt").stat().st_gid == 0, "setgid hands nothing on"

    async def test_the_root_directory_of_the_base_keeps_its_mode(self, workshop: Workshop) -> None:
        base = workshop.layers(BASE)
        (directory,) = workshop.store.directories(base.layers)
        directory.chmod(0o711)
        result = await workshop.copy(await workshop.local(), base, src="a.txt", dest="/")
        assert (await workshop.status(result, ".")).st_mode & 0o7777 == 0o711

    async def test_a_mode_goes_to_files_directories_and_made_parents(self, workshop: Workshop) -> None:
        result = await workshop.copy(await workshop.local(), src="dir", dest="/n/m", mode=0o751)
        for path in ("n", "n/m", "n/m/one", "n/m/sub", "n/m/sub/two"):
            assert (await workshop.status(result, path)).st_mode & 0o7777 == 0o751, path

    async def test_a_symbolic_mode_changes_what_each_file_has(self, workshop: Workshop) -> None:
        grow(workshop.context, {"t/x": File("x", mode=0o700), "t/y": File("y", mode=0o600), "t/d": Dir(0o700)})
        result = await workshop.copy(await workshop.local(), src="t", dest="/t", mode_str="go=rX")
        modes = {path: (await workshop.status(result, f"t/{path}")).st_mode & 0o7777 for path in "xyd"}
        assert modes == {"x": 0o755, "y": 0o644, "d": 0o755}

    async def test_xattrs_and_capabilities_are_kept(self, workshop: Workshop) -> None:
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        grow(workshop.context, {"ping": File("p", xattrs={"user.note": b"n", "security.capability": capability})})
        for source in (await workshop.local(), await workshop.copy(await workshop.local(), src="ping", dest="/ping")):
            result = await workshop.copy(source, src="ping", dest="/bin/ping")
            async with result.tree() as tree:
                assert os.getxattr(tree / "bin/ping", "security.capability") == capability
                assert os.getxattr(tree / "bin/ping", "user.note") == b"n"

    async def test_special_files_are_copied(self, workshop: Workshop) -> None:
        os.mkfifo(workshop.context / "pipe", 0o620)
        os.chmod(workshop.context / "pipe", 0o620)
        os.mknod(workshop.context / "null", 0o020666, os.makedev(1, 3))
        result = await workshop.copy(await workshop.local(), src="/", dest="/s/")
        assert (await workshop.status(result, "s/pipe")).st_mode == 0o010620
        assert (await workshop.status(result, "s/null")).st_rdev == os.makedev(1, 3)


WITH_USERS: Spec = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/:/bin/sh\n",
    "etc/group": "root:x:0:\nann:x:1001:\nstaff:x:50:ann\n",
}


class TestOwners:
    @pytest.mark.parametrize(
        ("owner", "expected"),
        [
            (Chown(User("ann", input=0)), (1000, 1001)),
            (Chown(User("ann", input=0), User("staff", input=0)), (1000, 50)),
            (Chown(User(id=5)), (5, 5)),
            (Chown(User(id=5), User(id=6)), (5, 6)),
            (Chown(User("ann", input=0), User(id=6)), (1000, 6)),
            (Chown(group=User("staff", input=0)), (0, 50)),
        ],
    )
    async def test_names_are_those_of_the_base(
        self, workshop: Workshop, owner: Chown, expected: tuple[int, int]
    ) -> None:
        base = workshop.layers(WITH_USERS)
        result = await workshop.copy(await workshop.local(), base, src="dir", dest="/n/m", owner=owner)
        for path in ("n", "n/m", "n/m/one", "n/m/sub", "n/m/link"):
            status = await workshop.status(result, path)
            assert (status.st_uid, status.st_gid) == expected, path

    async def test_an_unknown_name_is_root_with_a_warning(self, workshop: Workshop) -> None:
        base = workshop.layers(WITH_USERS)
        owner = Chown(User("bob", input=0))
        result = await workshop.copy(await workshop.local(), base, src="a.txt", dest="/x", owner=owner)
        assert (await workshop.status(result, "x")).st_uid == 0
        assert any("'bob'" in warning for warning in workshop.told.warnings)

    async def test_a_name_needs_files_to_be_looked_up_in(self, workshop: Workshop) -> None:
        with pytest.raises(InvalidError, match="'ann'"):
            await workshop.copy(await workshop.local(), src="a.txt", dest="/x", owner=Chown(User("ann")))

    async def test_passwd_is_found_behind_links_of_the_base(self, workshop: Workshop) -> None:
        base = workshop.layers(
            {"usr/etc/passwd": "ann:x:77:78::/:/bin/sh\n", "etc/passwd": Link("/usr/etc/passwd")}, {"x": "x"}
        )
        owner = Chown(User("ann", input=0))
        result = await workshop.copy(await workshop.local(), base, src="a.txt", dest="/y", owner=owner)
        assert (await workshop.status(result, "y")).st_uid == 77


class TestPatterns:
    async def test_excluded_names_stay_behind(self, workshop: Workshop) -> None:
        grow(workshop.context, {"src/a.py": "a", "src/a.pyc": "x", "src/sub/b.pyc": "x", "src/sub/keep.pyc": "k"})
        patterns = ("**/*.pyc", "!**/keep.pyc")
        result = await workshop.copy(await workshop.local(), src="src", dest="/s", exclude_patterns=patterns)
        assert await workshop.added(result) == {"s/": "", "s/a.py": "a", "s/sub/": "", "s/sub/keep.pyc": "k"}

    async def test_included_names_bring_the_directories_above_them(self, workshop: Workshop) -> None:
        grow(workshop.context, {"p/x/go.mod": "m", "p/x/other": "o", "p/y/z": "z", "p/x": Dir(0o711)})
        result = await workshop.copy(await workshop.local(), src="p", dest="/d", include_patterns=("*/go.mod",))
        assert await workshop.added(result) == {"d/": "", "d/x/": "", "d/x/go.mod": "m"}
        assert (await workshop.status(result, "d/x")).st_mode & 0o777 == 0o711

    async def test_a_file_that_is_excluded_changes_no_key(self, workshop: Workshop) -> None:
        op_inputs = workshop.layers(BASE)
        keys = []
        for text in ("one", "two"):
            grow(workshop.context, {"dir/log": text})
            source = await workshop.local()
            step = workshop.step(
                dockerfile_copy(True, src="dir", dest="/", exclude_patterns=("log",)), [op_inputs, source]
            )
            keys.append(await workshop.keys(step, [op_inputs, source]))
        assert keys[0][1] is not None
        assert keys[1][1] is not None
        assert keys[0][1].digest == keys[1][1].digest


class TestChains:
    async def test_several_actions_make_one_layer(self, workshop: Workshop) -> None:
        base = workshop.layers(BASE)
        op = FileOp(
            (
                FileAction(0, MkDir("/app"), output=-1),
                FileAction(2, Copy("a.txt", "/app/"), 1, -1),
                FileAction(3, Copy("b.txt", "/app/a.txt"), 1, 0),
            )
        )
        (result,) = await workshop.run(op, base, await workshop.local())
        assert len(result.layers) == 2
        assert await workshop.added(result) == {"app/": "", "app/a.txt": "b"}

    async def test_a_state_that_is_an_output_too_is_a_layer_of_its_own(self, workshop: Workshop) -> None:
        op = FileOp(
            (
                FileAction(-1, Copy("a.txt", "/a"), 0, 0),
                FileAction(1, Copy("b.txt", "/b"), 0, 1),
                FileAction(1, Copy("c.md", "/c"), 0, 2),
            )
        )
        first, second, third = await workshop.run(op, await workshop.local())
        assert await workshop.shown(first) == {"a": "a"}
        assert await workshop.shown(second) == {"a": "a", "b": "b"}
        assert await workshop.shown(third) == {"a": "a", "c": "c"}

    async def test_an_intermediate_state_can_be_copied_from(self, workshop: Workshop) -> None:
        op = FileOp(
            (
                FileAction(-1, Copy("dir", "/made", dir_copy_contents=True), 0, -1),
                FileAction(-1, Copy("/made/sub", "/only", dir_copy_contents=True), 1, 0),
            )
        )
        (result,) = await workshop.run(op, await workshop.local())
        assert await workshop.shown(result) == {"only/": "", "only/two": "2"}

    @pytest.mark.parametrize(
        "op",
        [
            FileOp((FileAction(0, MkDir("/a")),)),
            FileOp((FileAction(5, MkDir("/a"), output=0),)),
            FileOp((FileAction(1, MkDir("/a"), output=0),)),
            FileOp((FileAction(0, MkDir("/a"), output=1),)),
        ],
        ids=["no output", "no such input", "itself", "a gap in the outputs"],
    )
    async def test_a_definition_that_makes_no_sense_is_refused(self, workshop: Workshop, op: FileOp) -> None:
        with pytest.raises(InvalidError):
            await workshop.run(op, workshop.layers(BASE))


class TestManyFiles:
    async def test_many_files_go_over_what_is_in_a_directory(self, workshop: Workshop) -> None:
        base = workshop.layers({f"d/f{i}": "low" for i in range(60)}, {f"d/f{i}": "high" for i in range(30)})
        (base,) = await workshop.run(
            FileOp((FileAction(0, Rm("/d/f40"), output=-1), FileAction(1, Rm("/d/f5"), output=0))), base
        )
        grow(workshop.context, {f"new/f{i}": "new" for i in range(0, 100, 2)})
        result = await workshop.copy(await workshop.local(), base, src="new", dest="/d")
        shown = await workshop.shown(result)
        assert "d/f5" not in shown
        assert {shown[f"d/f{i}"] for i in range(0, 100, 2)} == {"new"}
        assert (shown["d/f7"], shown["d/f31"]) == ("high", "low")

    async def test_one_op_can_copy_over_what_it_removed_and_made(self, workshop: Workshop) -> None:
        base = workshop.layers({f"d/f{i}": "old" for i in range(40)})
        grow(workshop.context, {f"new/f{i}": "new" for i in range(40)})
        op = FileOp(
            (
                FileAction(0, Rm("/d/f*", allow_wildcard=True)),
                FileAction(2, MkDir("/d/f39")),
                FileAction(3, Rm("/d/f39")),
                FileAction(4, Copy("new", "/d", dir_copy_contents=True), 1, 0),
            )
        )
        (result,) = await workshop.run(op, base, await workshop.local())
        assert await workshop.shown(result) == {"d/": "", **{f"d/f{i}": "new" for i in sorted(range(40), key=str)}}

    @pytest.mark.parametrize("existing", [True, False])
    async def test_a_file_and_a_directory_of_one_name_are_refused_or_replaced(
        self, workshop: Workshop, existing: bool
    ) -> None:
        grow(workshop.context, {"s/1/x/f": "f", "s/2/x": "file", "s/3/x/g": "g"})
        base = workshop.layers({"t/other": "o"} if existing else {})
        with pytest.raises(ConflictError, match="/t/x"):
            await workshop.copy(await workshop.local(), base, src="s/*", dest="/t")
        result = await workshop.copy(await workshop.local(), base, src="s/*", dest="/t", always_replace_existing=True)
        shown = await workshop.shown(result)
        assert [path for path in shown if path.startswith("t/x")] == ["t/x/", "t/x/g"]


class TestEnding:
    async def test_a_cancelled_copy_leaves_nothing(self, workshop: Workshop) -> None:
        grow(workshop.context, {f"m/{i}": "m" for i in range(5000)})
        active = workshop.root / "snapshots/.active"
        copying = asyncio.ensure_future(workshop.copy(await workshop.local(), src="m", dest="/m"))
        await asyncio.to_thread(until, lambda: copying.done() or any(active.rglob("m/*")))
        assert not copying.done()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert os.listdir(active) == []
        assert workshop.snapshotter.walk() == ()

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        small = tmp_path / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=True)
        yield small
        subprocess.run(["umount", "-l", small], check=True)

    async def test_a_full_disk_is_a_clear_error_and_leaves_nothing(self, workshop: Workshop, small_disk: Path) -> None:
        full = Workshop(small_disk)
        full.context = workshop.context
        grow(workshop.context, {f"big{i}": b"x" * 300_000 for i in range(10)})
        with pytest.raises(StorageError, match="big") as caught:
            await full.copy(await full.local(), src="/", dest="/")
        assert caught.value.hint
        assert os.listdir(small_disk / "snapshots/.active") == []
        assert await full.shown(await full.copy(await full.local(), src="a.txt", dest="/")) == {"a.txt": "a"}


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass
