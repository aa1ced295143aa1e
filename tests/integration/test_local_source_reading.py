"""A client's directory, read in place: what is seen of it, what is read, and what happens when it changes."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.build.copying import copy as copying
from boatyard.build.result import Selector
from boatyard.build.source.local import LocalTree
from boatyard.build.tree import scan
from boatyard.errors import ConflictError, DeniedError, InvalidError, NotFoundError, UnsupportedError
from fixtures.filework import Dir, File, Link, Workshop, dockerfile_copy, grow

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def let_the_clock_tick(workshop: Workshop) -> None:
    """Wait until a change made now has another time than one made before."""
    probe = workshop.root / "probe"
    probe.touch()
    before = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns < before + 25_000_000:
        os.utime(probe)


@pytest.fixture
def thousands_of_levels(workshop: Workshop) -> Iterator[int]:
    """So many directories in each other. Python's own ways to remove them stumble over their number."""
    here = os.open(workshop.context, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    yield 1500
    subprocess.check_call(["rm", "-rf", workshop.context / "d"])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files that were opened for reading, in the order in which that happened."""
    opened: list[str] = []
    original = scan.ClientReader.open

    def open(self: scan.ClientReader, node: scan.LocalNode) -> int:
        opened.append(node.path)
        return original(self, node)

    monkeypatch.setattr(scan.ClientReader, "open", open)
    return opened


async def names(tree: LocalTree) -> list[str]:
    return sorted(node.path for nodes in tree.files.listing.children.values() for node in nodes)


class TestFilters:
    FILES = (".git/config", "Dockerfile", "app/main.py", "app/main.pyc", "app/sub/x.pyc", "docs/a.md", "node/m/i.js")

    @pytest.fixture
    def workshop(self, tmp_path: Path) -> Workshop:
        workshop = Workshop(tmp_path)
        grow(workshop.context, dict.fromkeys(self.FILES, "x"))
        return workshop

    @pytest.mark.parametrize(
        ("attrs", "expected"),
        [
            (
                {"excludepatterns": '[".git","**/*.pyc"]'},
                "Dockerfile app app/main.py app/sub docs docs/a.md node node/m node/m/i.js",
            ),
            ({"excludepatterns": '["*","!app/main.py"]'}, "app app/main.py"),
            ({"excludepatterns": '["**"]'}, ""),
            ({"includepattern": '["docs"]'}, "docs docs/a.md"),
            ({"includepattern": '["*/*.md"]'}, "docs docs/a.md"),
            ({"includepattern": '["**/x.pyc"]'}, "app app/sub app/sub/x.pyc"),
            ({"followpaths": '["Dockerfile","none"]'}, "Dockerfile"),
            ({"followpaths": '["app/*.py"]'}, "app app/main.py"),
            ({"followpaths": '["docs","."]', "excludepatterns": '["app","node",".git"]'}, "Dockerfile docs docs/a.md"),
            ({"followpaths": '["app"]', "excludepatterns": '["**/*.pyc"]'}, "app app/main.py app/sub"),
            ({"followpaths": '["app/sub/../main.py"]'}, "app app/main.py"),
        ],
    )
    async def test_they_leave_in(self, workshop: Workshop, attrs: dict[str, str], expected: str) -> None:
        assert await names(await workshop.local(**attrs)) == expected.split()

    async def test_patterns_that_are_no_list_are_refused(self, workshop: Workshop) -> None:
        with pytest.raises(InvalidError, match=r"local\.excludepatterns"):
            await workshop.local(excludepatterns="app")

    async def test_metadata_alone_is_not_supported(self, workshop: Workshop) -> None:
        with pytest.raises(UnsupportedError):
            await workshop.local(metadatatransfer="true")

    async def test_a_directory_that_the_client_does_not_offer(self, workshop: Workshop) -> None:
        with pytest.raises(NotFoundError):
            await workshop.local("other")


class TestLinks:
    async def test_followed_paths_bring_what_links_lead_to(self, workshop: Workshop) -> None:
        grow(
            workshop.context,
            {
                "a": Link("b"),
                "b": Link("/real/c"),
                "real/c": "c",
                "real/d": "d",
                "dir": Link("real"),
                "up": Link("../../real/d"),
                "*": "star",
                "star": Link("*"),
            },
        )
        assert await names(await workshop.local(followpaths='["a"]')) == ["a", "b", "real", "real/c"]
        assert await names(await workshop.local(followpaths='["dir/c"]')) == ["dir", "real", "real/c"]
        assert await names(await workshop.local(followpaths='["up"]')) == ["real", "real/d", "up"]
        assert await names(await workshop.local(followpaths='["st?r"]')) == ["*", "star"]

    async def test_loops_of_links_are_followed_to_no_end(self, workshop: Workshop) -> None:
        grow(workshop.context, {"x": Link("y"), "y": Link("x"), "self": Link("self/more"), "f": "f"})
        assert await names(await workshop.local(followpaths='["x","f"]')) == ["f", "x", "y"]
        tree = await workshop.local()
        with pytest.raises(InvalidError, match="links"):
            await tree.content_key([Selector("/x")])
        result = await workshop.copy(tree, src="/", dest="/")
        assert (await workshop.shown(result))["x"] == "-> y"
        assert await names(await workshop.local(followpaths='["self/a"]')) == ["self"]

    async def test_a_link_out_of_the_context_leads_nowhere(self, workshop: Workshop) -> None:
        (workshop.root / "secret").write_text("secret")
        grow(
            workshop.context,
            {"abs": Link(str(workshop.root / "secret")), "rel": Link("../secret"), "system": Link("/etc"), "d/x": "x"},
        )
        tree = await workshop.local()
        for path in ("abs", "rel", "system/passwd"):
            with pytest.raises(NotFoundError):
                await workshop.copy(tree, src=path, dest="/x")
            with pytest.raises(NotFoundError):
                await tree.read_file(path)

    async def test_a_directory_that_becomes_a_link_after_the_scan_is_not_followed(self, workshop: Workshop) -> None:
        (workshop.root / "outside").mkdir()
        (workshop.root / "outside/f").write_text("secret")
        grow(workshop.context, {"d/f": "f"})
        tree = await workshop.local()
        os.rename(workshop.context / "d", workshop.root / "moved")
        (workshop.context / "d").symlink_to(workshop.root / "outside")
        with pytest.raises(ConflictError, match="changed"):
            await tree.chain()

    async def test_a_file_that_becomes_a_link_after_the_scan_is_not_followed(self, workshop: Workshop) -> None:
        (workshop.root / "secret").write_text("s")
        grow(workshop.context, {"f": "f"})
        tree = await workshop.local()
        (workshop.context / "f").unlink()
        (workshop.context / "f").symlink_to(workshop.root / "secret")
        with pytest.raises(ConflictError, match="/f in the build context changed"):
            await tree.chain()

    async def test_a_link_of_the_base_can_not_lead_a_copy_out_of_the_root(self, workshop: Workshop) -> None:
        outside = workshop.root / "outside"
        outside.mkdir()
        grow(workshop.context, {"f": "f", "d/f": "f"})
        base = workshop.layers({"abs": Link(str(outside)), "up": Link("../../../../../" + str(outside))})
        for source, dest in (("f", "/abs/"), ("f", "/up/f"), ("d", "/abs")):
            result = await workshop.copy(await workshop.local(), base, src=source, dest=dest)
            assert os.listdir(outside) == []
            assert (await workshop.shown(result))[f"{outside}/f".lstrip("/")] == "f"


class TestNames:
    async def test_bytes_that_are_no_utf8_are_kept(self, workshop: Workshop) -> None:
        name = b"caf\xe9-\xff"
        with open(os.fsencode(workshop.context) + b"/" + name, "wb") as file:
            file.write(b"x")
        for _ in range(2):
            workshop.restart()
            tree = await workshop.local()
            result = await workshop.copy(tree, src="/", dest="/")
            async with result.tree() as shown:
                assert os.listdir(os.fsencode(shown)) == [name]
        key = await tree.content_key([Selector("/")])
        assert key.files
        assert len(key.files()) == 2

    async def test_names_of_255_bytes_and_deep_paths_are_kept(self, workshop: Workshop) -> None:
        long = "n" * 255
        path = "/".join(["d" * 50] * 40) + "/" + long
        grow(workshop.context, {path: "deep", long: "long"})
        result = await workshop.copy(await workshop.local(), src="/", dest="/")
        assert (await workshop.shown(result))[path] == "deep"

    async def test_paths_longer_than_the_kernel_takes_are_read(self, workshop: Workshop) -> None:
        here = os.open(workshop.context, os.O_RDONLY)
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=here)
            deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here))
        os.close(here)
        tree = await workshop.local()
        key = await tree.content_key([Selector("/")])
        assert key.files
        assert max(map(len, key.files())) == 30 * 201 + 1
        with pytest.raises(InvalidError, match="too long"):
            await tree.chain()

    async def test_thousands_of_levels_are_no_problem_for_the_scan(
        self, workshop: Workshop, thousands_of_levels: int
    ) -> None:
        tree = await workshop.local()
        assert tree.files.listing.count == thousands_of_levels
        assert (await tree.content_key([Selector("/")])).digest

    async def test_sockets_are_left_out_with_a_warning(self, workshop: Workshop) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            os.chdir(workshop.context)
            try:
                listening.bind("s.sock")
            finally:
                os.chdir("/")
            grow(workshop.context, {"f": "f"})
            result = await workshop.copy(await workshop.local(), src="/", dest="/")
        assert await workshop.shown(result) == {"f": "f"}
        assert any("/s.sock" in warning for warning in workshop.told.warnings)

    async def test_an_empty_context_can_be_copied(self, workshop: Workshop) -> None:
        result = await workshop.copy(await workshop.local(), src=".", dest="/x")
        assert await workshop.shown(result) == {"x/": ""}


class TestHints:
    async def test_a_file_that_is_excluded_says_so(self, workshop: Workshop) -> None:
        grow(workshop.context, {"node_modules/x": "x", "main.py": "x"})
        tree = await workshop.local(excludepatterns='["node_modules"]')
        with pytest.raises(NotFoundError) as caught:
            await workshop.copy(tree, src="node_modules/x", dest="/")
        assert caught.value.message == '"/node_modules/x": not found'
        assert "'node_modules'" in (caught.value.hint or "")
        assert ".dockerignore" in (caught.value.hint or "")

    async def test_a_name_that_is_nearly_right_is_suggested(self, workshop: Workshop) -> None:
        grow(workshop.context, {"src/Main.py": "x"})
        with pytest.raises(NotFoundError) as caught:
            await workshop.copy(await workshop.local(), src="src/main.py", dest="/")
        assert "/src/Main.py" in (caught.value.hint or "")

    async def test_a_directory_that_is_missing_is_named(self, workshop: Workshop) -> None:
        with pytest.raises(NotFoundError) as caught:
            await workshop.copy(await workshop.local(), src="no/x", dest="/")
        assert "/no" in (caught.value.hint or "")


class TestReadingOnce:
    async def test_unchanged_files_are_not_read_again_not_even_after_a_restart(
        self, workshop: Workshop, reads: list[str]
    ) -> None:
        grow(workshop.context, {f"f{i}": f"{i}" for i in range(2000)})
        let_the_clock_tick(workshop)
        first = await (await workshop.local()).content_key([Selector("/")])
        assert len(reads) == 2000
        workshop.restart()
        second = await (await workshop.local()).content_key([Selector("/")])
        assert len(reads) == 2000
        assert first.digest == second.digest

    async def test_only_a_changed_file_is_read(self, workshop: Workshop, reads: list[str]) -> None:
        grow(workshop.context, {"a": "a", "d/b": "b"})
        let_the_clock_tick(workshop)
        first = await (await workshop.local()).content_key([Selector("/")])
        reads.clear()
        grow(workshop.context, {"d/b": "c"})
        second = await (await workshop.local()).content_key([Selector("/")])
        assert reads == ["d/b"]
        assert first.digest != second.digest

    async def test_a_change_that_puts_the_time_back_is_seen(self, workshop: Workshop) -> None:
        grow(workshop.context, {"f": File("one", time=1)})
        let_the_clock_tick(workshop)
        first = await (await workshop.local()).content_key([Selector("/")])
        grow(workshop.context, {"f": File("two", time=1)})
        second = await (await workshop.local()).content_key([Selector("/")])
        assert first.digest != second.digest

    async def test_a_file_changed_just_before_it_was_read_is_read_again(
        self, workshop: Workshop, reads: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grow(workshop.context, {"f": "x"})
        changed = (workshop.context / "f").stat().st_ctime_ns
        monkeypatch.setattr(scan.time, "time_ns", lambda: changed + 1)
        await (await workshop.local()).content_key([Selector("/")])
        await (await workshop.local()).content_key([Selector("/")])
        assert reads == ["f", "f"]

    async def test_only_selected_files_are_read(self, workshop: Workshop, reads: list[str]) -> None:
        grow(workshop.context, {"a": "a", "d/b": "b", "d/c": "c"})
        await (await workshop.local()).content_key([Selector("/d/*", wildcard=True, exclude_patterns=("x",))])
        assert sorted(reads) == ["d/b", "d/c"]

    async def test_a_damaged_index_is_gathered_again(self, workshop: Workshop) -> None:
        grow(workshop.context, {"f": File(b"x" * (5 << 20))})
        let_the_clock_tick(workshop)
        first = await (await workshop.local()).content_key([Selector("/")])
        (index,) = (workshop.root / "memory/indexes").iterdir()
        index.write_bytes(index.read_bytes()[:-7])
        workshop.restart()
        assert (await (await workshop.local()).content_key([Selector("/")])).digest == first.digest


class TestKeys:
    @pytest.mark.parametrize(
        ("change", "differs"),
        [
            ({"d/f": File("g")}, True),
            ({"d/f": File("f", mode=0o600)}, True),
            ({"d/f": File("f", xattrs={"user.x": b"1"})}, True),
            ({"d/f": File("f", time=5)}, False),
            ({"d/f": File("f", owner=(9, 9))}, False),
            ({"d/new": "n"}, True),
            ({"other": "o"}, False),
            ({"d/e": Dir(0o700)}, True),
        ],
    )
    async def test_they_follow_what_counts(self, workshop: Workshop, change: dict[str, object], differs: bool) -> None:
        grow(workshop.context, {"d/f": "f", "d/e": Dir(), "d/l": Link("f")})
        before = await (await workshop.local()).content_key([Selector("/d")])
        grow(workshop.context, change)  # type: ignore[arg-type]
        after = await (await workshop.local()).content_key([Selector("/d")])
        assert (before.digest != after.digest) is differs

    async def test_a_directory_has_the_same_key_in_a_context_and_in_a_layer(self, workshop: Workshop) -> None:
        grow(workshop.context, {"d/f": "f", "d/e": Dir(0o711), "d/l": Link("f"), "d/x": File("x", 0o755)})
        tree = await workshop.local()
        copied = await workshop.copy(tree, src="d", dest="/elsewhere")
        here = await tree.content_key([Selector("/d")])
        there = await copied.content_key([Selector("/elsewhere")])
        assert here.digest == there.digest

    async def test_they_name_the_files_for_explanations(self, workshop: Workshop) -> None:
        grow(workshop.context, {"d/f": "f", "d/g": "g"})
        key = await (await workshop.local()).content_key([Selector("/d")])
        assert key.files
        assert sorted(key.files()) == ["d", "d/f", "d/g"]

    async def test_what_a_wildcard_matches_counts_with_its_name(self, workshop: Workshop) -> None:
        grow(workshop.context, {"a.txt": "same"})
        before = await (await workshop.local()).content_key([Selector("/*.txt", wildcard=True)])
        os.rename(workshop.context / "a.txt", workshop.context / "b.txt")
        after = await (await workshop.local()).content_key([Selector("/*.txt", wildcard=True)])
        assert before.digest != after.digest


class TestLinkingCopies:
    """A file that hasn't changed since the last build is the same inode in both layers."""

    async def build(self, workshop: Workshop) -> Path:
        base = workshop.layers({"base": "b"})
        result = await workshop.copy(await workshop.local(), base, src="/", dest="/app/")
        (directory,) = workshop.store.directories(result.layers[-1:])
        return directory / "app"

    async def test_only_changed_files_are_copied(self, workshop: Workshop, reads: list[str]) -> None:
        grow(workshop.context, {"same": "s", "d/also": "a", "d/changed": "one"})
        let_the_clock_tick(workshop)
        first = await self.build(workshop)
        grow(workshop.context, {"d/changed": "two"})
        let_the_clock_tick(workshop)
        reads.clear()
        workshop.restart()
        await (await workshop.local()).content_key([Selector("/")])
        reads.clear()
        second = await self.build(workshop)
        assert reads == ["d/changed"]
        for name in ("same", "d/also"):
            assert (first / name).stat().st_ino == (second / name).stat().st_ino
        assert (first / "d/changed").read_text() == "one"
        assert (second / "d/changed").read_text() == "two"

    async def test_a_file_with_another_mode_or_time_is_copied(self, workshop: Workshop) -> None:
        grow(workshop.context, {"mode": "m", "time": "t", "same": "s"})
        first = await self.build(workshop)
        (workshop.context / "mode").chmod(0o755)
        os.utime(workshop.context / "time", (5, 5))
        second = await self.build(workshop)
        assert [(first / n).stat().st_ino == (second / n).stat().st_ino for n in ("mode", "time", "same")] == [
            False,
            False,
            True,
        ]
        assert (second / "time").stat().st_mtime == 5

    async def test_a_removed_layer_is_done_without(self, workshop: Workshop) -> None:
        grow(workshop.context, {"f": "f"})
        result = await workshop.copy(await workshop.local(), src="/", dest="/")
        layer = result.layers[-1]
        del result  # it holds its layers
        workshop.store.remove(layer)
        again = await workshop.copy(await workshop.local(), src="/", dest="/")
        assert await workshop.shown(again) == {"f": "f"}

    async def test_names_of_one_file_stay_one_file_and_others_stay_apart(self, workshop: Workshop) -> None:
        grow(workshop.context, {"a": "x", "c": "x"})
        os.link(workshop.context / "a", workshop.context / "b")
        for _ in range(2):
            directory = await self.build(workshop)
            inodes = [(directory / name).stat().st_ino for name in "abc"]
            assert inodes[0] == inodes[1] != inodes[2]
        (workshop.context / "b").unlink()
        grow(workshop.context, {"b": "x"})
        directory = await self.build(workshop)
        assert len({(directory / name).stat().st_ino for name in "abc"}) == 3

    async def test_a_layer_to_copy_from_is_linked_too(self, workshop: Workshop) -> None:
        source = workshop.layers({"f": "f", "g": File("g", owner=(5, 5))})
        result = await workshop.copy(source, src="/", dest="/x/")
        before, after = (workshop.store.directories(each.layers[-1:])[0] for each in (source, result))
        assert (before / "f").stat().st_ino == (after / "x/f").stat().st_ino
        assert (after / "x/g").stat().st_uid == 5

    async def test_nothing_is_linked_twice_into_one_root(self, workshop: Workshop) -> None:
        source = workshop.layers({"f": "f"})
        result = await workshop.copy(source, source, src="f", dest="/g")
        async with result.tree() as tree:
            assert (tree / "f").stat().st_ino != (tree / "g").stat().st_ino


class TestChanging:
    async def test_a_file_that_changes_after_the_key_fails_the_step(self, workshop: Workshop) -> None:
        grow(workshop.context, {"f": "one"})
        op = dockerfile_copy(False, src="f", dest="/f")
        inputs = [await workshop.local()]
        step = workshop.step(op, inputs)
        await workshop.keys(step, inputs)
        let_the_clock_tick(workshop)
        (workshop.context / "f").write_text("two")
        with pytest.raises(ConflictError) as caught:
            await step.execute(workshop.told, inputs)
        assert "/f" in caught.value.message
        assert caught.value.hint
        assert os.listdir(workshop.root / "snapshots/.active") == []

    async def test_a_file_that_changes_between_scan_and_key_is_seen(self, workshop: Workshop) -> None:
        grow(workshop.context, {"f": "one"})
        tree = await workshop.local()
        let_the_clock_tick(workshop)
        (workshop.context / "f").write_text("two, and longer")
        result = await workshop.copy(tree, src="f", dest="/f")
        assert await workshop.shown(result) == {"f": "two, and longer"}

    async def test_a_file_that_never_rests_ends_in_an_error(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grow(workshop.context, {"log": "x", "other": "o"})
        original = scan.ClientReader.open

        def open(self: scan.ClientReader, node: scan.LocalNode) -> int:
            descriptor = original(self, node)
            if node.path == "log":
                with (workshop.context / "log").open("a") as file:
                    file.write("more")
            return descriptor

        monkeypatch.setattr(scan.ClientReader, "open", open)
        with pytest.raises(ConflictError, match="/log"):
            await (await workshop.local()).content_key([Selector("/")])
        monkeypatch.undo()
        assert (await (await workshop.local()).content_key([Selector("/other")])).digest

    async def test_what_is_copied_is_what_the_key_stands_for_while_somebody_writes(self, workshop: Workshop) -> None:
        """Or the step says that the file changed."""
        file = workshop.context / "f"
        file.write_bytes(b"a" * 300_000)
        stop = threading.Event()

        def write() -> None:
            letter = 0
            while not stop.is_set():
                letter = (letter + 1) % 26
                with file.open("r+b") as open_file:
                    open_file.write(bytes([97 + letter]) * 300_000)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline:
                inputs = [await workshop.local()]
                step = workshop.step(dockerfile_copy(False, src="f", dest="/f"), inputs)
                try:
                    (key,) = await workshop.keys(step, inputs)
                    (result,) = await step.execute(workshop.told, inputs)
                except ConflictError:
                    continue
                copied = await result.content_key([Selector("/f")])
                assert key is not None
                assert copied.digest == key.digest
        finally:
            stop.set()
            writer.join()


class TestLargeFiles:
    async def test_holes_stay_holes(self, workshop: Workshop) -> None:
        with (workshop.context / "sparse").open("wb") as file:
            file.truncate(1 << 30)
            file.seek(1 << 29)
            file.write(b"middle")
        tree = await workshop.local()
        result = LocalTree(tree.files, "x", tree._filter, workshop.store, workshop.memory)
        for node in result.files.listing.children[""]:
            node.learned, node.digest = True, b"d" * 32  # a digest that is known, so that nothing has to be hashed
        chain = await result.chain()
        (directory,) = workshop.store.directories(chain)
        status = (directory / "sparse").stat()
        assert status.st_size == 1 << 30
        assert status.st_blocks < 2000
        with (directory / "sparse").open("rb") as file:
            file.seek(1 << 29)
            assert file.read(6) == b"middle"

    async def test_the_bytes_of_files_of_all_sizes_are_right(self, workshop: Workshop) -> None:
        sizes = [0, 1, copying.SMALL - 1, copying.SMALL, copying.SMALL + 1, (1 << 20) + 1, 3 << 20]
        data = os.urandom(3 << 20)
        for size in sizes:
            (workshop.context / str(size)).write_bytes(data[:size])
        for hashed in (True, False):
            tree = await workshop.local()
            chain = (await workshop.copy(tree, src="/", dest="/")).layers if hashed else await tree.chain()
            (directory,) = workshop.store.directories(chain)
            for size in sizes:
                assert (directory / str(size)).read_bytes() == data[:size]


class TestReport:
    async def test_it_counts_what_is_in_and_what_is_left_out(self, workshop: Workshop) -> None:
        grow(
            workshop.context,
            {"a": "12345", "d/b": "123", ".git/x": "1" * 100, ".git/y/z": "1", "d/k.pyc": "12", "d/keep.pyc": "1"},
        )
        tree = await workshop.local(excludepatterns='[".git","**/*.pyc","!d/keep.pyc"]')
        report = await tree.report()
        assert (report.files, report.directories, report.bytes) == (3, 1, 9)
        assert report.largest[0] == ("a", 5)
        assert [(each.path, each.pattern, each.files, each.bytes) for each in report.left_out] == [
            (".git", ".git", 2, 101),
            ("d/k.pyc", "**/*.pyc", 1, 2),
        ]


async def test_the_transfer_is_told(workshop: Workshop) -> None:
    grow(workshop.context, {"a": "12345"})
    await workshop.local()
    assert workshop.told.statuses == [("transferring context:", 5)]


async def test_files_and_directories_are_read_without_a_copy(workshop: Workshop) -> None:
    grow(workshop.context, {"d/Dockerfile": "FROM scratch", "l": Link("d")})
    tree = await workshop.local()
    assert await tree.read_file("/l/Dockerfile") == b"FROM scratch"
    assert await tree.read_dir("l") == ("Dockerfile",)
    for path in ("/l", "/none"):
        with pytest.raises(NotFoundError):
            await tree.read_file(path)
    assert workshop.snapshotter.walk() == ()


async def test_a_tree_to_mount_is_copied_once(workshop: Workshop) -> None:
    grow(workshop.context, {"d/f": "f"})
    tree = await workshop.local()
    async with tree.tree() as path:
        assert (path / "d/f").read_text() == "f"
    assert await tree.chain() == await tree.chain()
    assert len(workshop.snapshotter.walk()) == 1


class TestUnreadable:
    @pytest.fixture
    def nobody(self, workshop: Workshop) -> Iterator[None]:
        """This process as a user who may not read everything."""
        grow(workshop.context, {"open": "o", "closed": File("c", mode=0o600), "shut/f": "f", "shut": Dir(0o700)})
        for directory in (workshop.root, *workshop.root.parents):
            if directory != Path("/"):
                directory.chmod(directory.stat().st_mode | 0o011)
        (workshop.root / "memory").mkdir()
        (workshop.root / "memory").chmod(0o777)
        os.seteuid(65534)
        yield
        os.seteuid(0)

    async def test_it_matters_only_when_it_is_needed(self, workshop: Workshop, nobody: None) -> None:
        tree = await workshop.local()
        assert (await tree.content_key([Selector("/open")])).digest
        for path in ("closed", "shut", "shut/f"):
            with pytest.raises(DeniedError, match=r"/closed|/shut") as caught:
                await tree.content_key([Selector(path)])
            assert caught.value.hint

    async def test_what_is_excluded_is_not_needed(self, workshop: Workshop, nobody: None) -> None:
        tree = await workshop.local(excludepatterns='["closed","shut"]')
        assert (await tree.content_key([Selector("/")])).digest
