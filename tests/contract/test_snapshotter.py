"""What every snapshotter does, and that all of them write the same overlay form."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boatyard.errors import ConflictError, NotFoundError
from boatyard.image.snapshot import mounting
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.snapshot.overlay import OverlaySnapshotter
from boatyard.image.snapshot.snapshotter import SnapshotId, Snapshotter
from boatyard.image.snapshot.whiteout import TRUSTED, is_opaque, is_whiteout, make_opaque, make_whiteout

pytestmark = pytest.mark.root

IMPLEMENTATIONS: dict[str, Callable[[Path], Snapshotter]] = {
    "overlay": OverlaySnapshotter,
    "overlay-mount2": OverlaySnapshotter,
    "copy": CopyingSnapshotter,
}


@pytest.fixture(params=IMPLEMENTATIONS)
def make_snapshotter(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Snapshotter]]:
    """Opens the same directory again each time, as a restarted daemon does."""
    if request.param == "overlay-mount2":
        monkeypatch.setattr(mounting, "_probed", False)
    root = tmp_path / "snapshots"
    yield lambda: IMPLEMENTATIONS[request.param](root)
    for point in mounting.mount_points_below(root):
        mounting.unmount(os.fsencode(point), patience=0)


@pytest.fixture
def snapshotter(make_snapshotter: Callable[[], Snapshotter]) -> Snapshotter:
    return make_snapshotter()


Files = dict[str, str | None]


@pytest.fixture
def layer(snapshotter: Snapshotter) -> Callable[[Files], SnapshotId]:
    """Make a layer: "name/" is a directory ("opaque" marks it), None a whiteout, "-> x" a link, else content."""

    def make(files: Files) -> SnapshotId:
        snapshot = snapshotter.prepare()
        root = snapshotter.directory(snapshot)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
                if content == "opaque":
                    make_opaque(bytes(path))
            elif content is None:
                descriptor = os.open(path.parent, os.O_PATH)
                make_whiteout(path.name, dir_fd=descriptor)
                os.close(descriptor)
            elif content.startswith("-> "):
                path.symlink_to(content[3:])
            else:
                path.write_text(content)
        snapshotter.commit(snapshot)
        return snapshot

    return make


def tree(directory: Path) -> Files:
    found: Files = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            found[name + "/"] = "opaque" if is_opaque(bytes(path)) else ""
        elif is_whiteout(status):
            found[name] = None
        elif path.is_symlink():
            found[name] = "-> " + str(path.readlink())
        else:
            found[name] = path.read_text()
    return found


def test_a_new_snapshot_is_an_empty_directory_of_root(snapshotter: Snapshotter) -> None:
    directory = snapshotter.directory(snapshotter.prepare())
    status = directory.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o755, 0, 0)
    assert list(directory.iterdir()) == []


def test_a_snapshot_exists_once_it_is_committed(snapshotter: Snapshotter) -> None:
    snapshot = snapshotter.prepare()
    assert not snapshotter.exists(snapshot)
    assert snapshot not in snapshotter.walk()
    snapshotter.commit(snapshot)
    assert snapshotter.exists(snapshot)
    assert snapshot in snapshotter.walk()


def test_what_was_written_before_the_commit_is_there_after_it(snapshotter: Snapshotter) -> None:
    snapshot = snapshotter.prepare()
    (snapshotter.directory(snapshot) / "file").write_text("x")
    snapshotter.commit(snapshot)
    assert tree(snapshotter.directory(snapshot)) == {"file": "x"}


def test_a_snapshot_can_be_committed_only_once(snapshotter: Snapshotter) -> None:
    snapshot = snapshotter.prepare()
    snapshotter.commit(snapshot)
    with pytest.raises(ConflictError):
        snapshotter.commit(snapshot)


def test_an_unknown_snapshot_is_not_found(snapshotter: Snapshotter) -> None:
    with pytest.raises(NotFoundError):
        snapshotter.commit(SnapshotId("nobody"))
    with pytest.raises(NotFoundError):
        snapshotter.usage(SnapshotId("nobody"))
    assert not snapshotter.exists(SnapshotId("nobody"))


def test_removing_is_idempotent(snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]) -> None:
    snapshot = layer({"a": "1"})
    snapshotter.remove(snapshot)
    snapshotter.remove(snapshot)
    assert not snapshotter.exists(snapshot)


def test_an_empty_chain_is_an_empty_tree(snapshotter: Snapshotter) -> None:
    with snapshotter.mount(()) as root:
        assert list(root.iterdir()) == []


def test_later_layers_hide_and_remove_what_earlier_ones_have(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    chain = [
        layer({"keep": "1", "change": "1", "gone": "1", "dir/old": "1", "emptied/old": "1", "etc/a": "1"}),
        layer({"change": "2", "gone": None, "dir/": "", "dir/new": "2", "emptied/": "opaque", "etc": "now a file"}),
        layer({"etc/": "", "etc/b": "3", "link": "-> keep"}),
    ]
    with snapshotter.mount(chain) as root:
        seen = tree(root)
    assert {name: content for name, content in seen.items() if not name.endswith("/")} == {
        "keep": "1", "change": "2", "dir/old": "1", "dir/new": "2", "etc/b": "3", "link": "-> keep",
    }  # fmt: skip
    assert "emptied/" in seen


@pytest.mark.parametrize("depth", [1, 2])
def test_whiteouts_of_names_that_no_lower_layer_has_do_not_show(
    depth: int, snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    chain = [layer({"other": "1"})] * (depth - 1) + [layer({"top": None, "dir/there": "1", "dir/gone": None})]
    with snapshotter.mount(chain) as root:
        assert sorted(os.listdir(root)) == ["dir", "other"][:depth]
        assert os.listdir(root / "dir") == ["there"]


def test_changes_go_to_the_active_snapshot(snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]) -> None:
    base = layer({"a": "1", "b": "1", "dir/x": "1", "dir/y": "1", "deep/er/file": "1"})
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        (root / "a").write_text("2")
        (root / "b").unlink()
        (root / "dir/x").unlink()
        (root / "new").mkdir()
        (root / "new/file").write_text("3")
        with (root / "deep/er/file").open("a") as file:
            file.write("more")
    assert tree(snapshotter.directory(active)) == {
        "a": "2", "b": None, "dir/": "", "dir/x": None, "new/": "", "new/file": "3",
        "deep/": "", "deep/er/": "", "deep/er/file": "1more",
    }  # fmt: skip
    assert tree(snapshotter.directory(base))["a"] == "1"


def test_a_directory_that_took_the_place_of_another_is_empty(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    base = layer({"replaced/old": "1", "file": "1", "dir/x": "1"})
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        (root / "replaced/old").unlink()
        (root / "replaced").rmdir()
        (root / "replaced").mkdir()
        (root / "file").unlink()
        (root / "file").mkdir()
        (root / "dir/x").unlink()
        (root / "dir").rmdir()
        (root / "dir").write_text("2")
    snapshotter.commit(active)
    with snapshotter.mount([base, active]) as root:
        assert tree(root) == {"replaced/": "", "file/": "", "dir": "2"}


def test_a_tree_that_was_only_read_leaves_nothing_in_the_active_snapshot(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    base = layer({"a": "1", "dir/b": "2", "link": "-> a"})
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        assert (root / "dir/b").read_text() == "2"
    assert tree(snapshotter.directory(active)) == {}


def test_changes_of_metadata_are_changes(snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]) -> None:
    base = layer({"mode": "1", "owner": "1", "xattr": "1", "same": "1"})
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        (root / "mode").chmod(0o4755)
        os.chown(root / "owner", 12, 34)
        os.setxattr(root / "xattr", "user.colour", b"blue")
    directory = snapshotter.directory(active)
    assert sorted(os.listdir(directory)) == ["mode", "owner", "xattr"]
    assert stat.S_IMODE((directory / "mode").stat().st_mode) == 0o4755
    assert ((directory / "owner").stat().st_uid, (directory / "owner").stat().st_gid) == (12, 34)
    assert os.getxattr(directory / "xattr", "user.colour") == b"blue"


def test_a_directory_that_hands_on_its_group_does_not_change_what_lies_in_it(snapshotter: Snapshotter) -> None:
    base = snapshotter.prepare()
    inner = snapshotter.directory(base) / "setgid/inner"
    inner.mkdir(parents=True)
    os.chown(inner.parent, 0, 44)
    inner.parent.chmod(0o2755)
    snapshotter.commit(base)
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        assert (root / "setgid/inner").stat().st_gid == 0
        (root / "setgid/inner/new").touch()
    assert (snapshotter.directory(active) / "setgid/inner").stat().st_gid == 0


def test_an_active_snapshot_can_be_mounted_again_and_again(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    base = layer({"a": "1", "b": "1", "d/x": "1", "d/y": "1"})
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        (root / "first").write_text("1")
        (root / "a").unlink()
        (root / "d/x").unlink()
    with snapshotter.mount([base], active=active) as root:
        assert not (root / "a").exists()
        assert os.listdir(root / "d") == ["y"]
        (root / "second").write_text("2")
        (root / "d/x").write_text("back")
    with snapshotter.mount([base], active=active) as root:
        (root / "first").unlink()
    assert tree(snapshotter.directory(active)) == {"a": None, "second": "2", "d/": "", "d/x": "back"}


def test_an_active_snapshot_without_a_chain_starts_from_nothing(snapshotter: Snapshotter) -> None:
    active = snapshotter.prepare()
    with snapshotter.mount((), active=active) as root:
        (root / "hello").write_text("x")
    snapshotter.commit(active)
    with snapshotter.mount([active]) as root:
        assert tree(root) == {"hello": "x"}


def test_the_same_layer_may_stand_in_many_chains(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    one, two, top = layer({"one": "1"}), layer({"two": "2"}), layer({"top": "3"})
    with snapshotter.mount([one, top]) as left, snapshotter.mount([two, top]) as right:
        assert sorted(os.listdir(left)) == ["one", "top"]
        assert sorted(os.listdir(right)) == ["top", "two"]


def test_the_root_directory_looks_as_the_top_layer_says_and_is_inherited(snapshotter: Snapshotter) -> None:
    base = snapshotter.prepare()
    snapshotter.directory(base).chmod(0o711)
    os.chown(snapshotter.directory(base), 5, 6)
    snapshotter.commit(base)
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        status = root.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o711, 5, 6)
        (root / "x").write_text("")
    snapshotter.commit(active)
    with snapshotter.mount([base, active]) as root:
        assert stat.S_IMODE(root.stat().st_mode) == 0o711


def test_a_mounted_snapshot_can_not_be_removed(snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]) -> None:
    base = layer({"a": "1"})
    with snapshotter.mount([base]), pytest.raises(ConflictError):
        snapshotter.remove(base)
    snapshotter.remove(base)


def test_a_mounted_active_snapshot_can_neither_be_committed_nor_mounted_twice(snapshotter: Snapshotter) -> None:
    active = snapshotter.prepare()
    with snapshotter.mount((), active=active):
        with pytest.raises(ConflictError):
            snapshotter.commit(active)
        with pytest.raises(ConflictError), snapshotter.mount((), active=active):
            pass


def test_a_layer_that_is_not_committed_can_not_be_part_of_a_chain(snapshotter: Snapshotter) -> None:
    active = snapshotter.prepare()
    with pytest.raises(ConflictError), snapshotter.mount([active]):
        pass


def test_a_missing_layer_is_not_found(snapshotter: Snapshotter) -> None:
    with pytest.raises(NotFoundError), snapshotter.mount([SnapshotId("nobody")]):
        pass


def test_no_mount_is_left_when_the_user_of_a_tree_fails(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    base = layer({"a": "1"})
    active = snapshotter.prepare()
    with contextlib.suppress(ZeroDivisionError), snapshotter.mount([base], active=active) as root:
        raise ZeroDivisionError
    assert not mounting.mount_points_below(root.parent.parent)
    snapshotter.remove(active)
    snapshotter.remove(base)


def test_a_tree_that_somebody_still_looks_into_goes_all_the_same(
    snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]
) -> None:
    base = layer({"a": "1"})
    active = snapshotter.prepare()
    with snapshotter.mount([base], active=active) as root:
        (root / "b").write_text("2")
        held = (root / "b").open()
    assert not mounting.mount_points_below(root.parent)
    with snapshotter.mount([base], active=active) as root:
        assert (root / "b").read_text() == "2"
    held.close()
    snapshotter.commit(active)
    assert tree(snapshotter.directory(active)) == {"b": "2"}


def test_a_chain_of_300_layers_is_one_tree(snapshotter: Snapshotter, layer: Callable[[Files], SnapshotId]) -> None:
    chain = [layer({f"own/{number}": "", "shared": str(number)}) for number in range(297)]
    chain.append(layer({"own/17": None, "own/100": None, "own/296": None}))
    chain.append(layer({"own/100": "back"}))
    active = snapshotter.prepare()
    with snapshotter.mount(chain, active=active) as root:
        names = os.listdir(root / "own")
        assert len(names) == 295
        assert "17" not in names
        assert (root / "own/100").read_text() == "back"
        assert (root / "shared").read_text() == "296"
        (root / "own/30").unlink()
    snapshotter.commit(active)
    with snapshotter.mount([*chain, active]) as root:
        assert len(os.listdir(root / "own")) == 294
    for snapshot in chain:
        snapshotter.remove(snapshot)


def test_usage_counts_hard_links_once(snapshotter: Snapshotter) -> None:
    snapshot = snapshotter.prepare()
    directory = snapshotter.directory(snapshot)
    (directory / "a").write_bytes(b"x" * 100_000)
    os.link(directory / "a", directory / "b")
    usage = snapshotter.usage(snapshot)
    assert usage.inodes == 2
    assert 100_000 <= usage.bytes < 150_000


def test_a_restart_keeps_committed_snapshots_and_drops_the_rest(
    make_snapshotter: Callable[[], Snapshotter],
) -> None:
    before = make_snapshotter()
    base = before.prepare()
    (before.directory(base) / "a").write_text("1")
    before.commit(base)
    active = before.prepare()
    lost = before.mount([base], active=active)
    point = lost.__enter__()
    (point / "b").write_text("2")

    after = make_snapshotter()
    after.cleanup()
    assert after.walk() == (base,)
    assert not after.exists(active)
    assert not mounting.mount_points_below(point.parent)
    with after.mount([base]) as root:
        assert tree(root) == {"a": "1"}


def test_names_need_not_be_text(snapshotter: Snapshotter) -> None:
    name = b"caf\xe9 \\ : , \n" + b"n" * 240
    active = snapshotter.prepare()
    with snapshotter.mount((), active=active) as root:
        Path(os.fsdecode(bytes(root) + b"/" + name)).write_text("x")
    snapshotter.commit(active)
    with snapshotter.mount([active]) as root:
        assert os.listdir(bytes(root)) == [name]


@pytest.mark.parametrize("name", ["with space", "back\\slash", "co:lon", "com,ma", "long" * 60])
def test_the_directory_of_the_store_may_have_any_name(name: str, tmp_path: Path) -> None:
    snapshotter = OverlaySnapshotter(tmp_path / name, flavour=TRUSTED)
    active = snapshotter.prepare()
    with snapshotter.mount((), active=active) as root:
        (root / "x").write_text("1")
    snapshotter.commit(active)
    with snapshotter.mount([active]) as root:
        assert tree(root) == {"x": "1"}
