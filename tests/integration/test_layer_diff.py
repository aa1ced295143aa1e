"""Snapshot directories written as layers, and trees that go through layers and come out the same."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import stat
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard.errors import LayerError
from boatyard.image.layer.apply import apply
from boatyard.image.layer.diff import write_layer
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.snapshot.overlay import OverlaySnapshotter
from boatyard.image.snapshot.snapshotter import SnapshotId, Snapshotter
from boatyard.image.snapshot.whiteout import make_opaque, make_whiteout

pytestmark = pytest.mark.root

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def packed(directory: Path, *, max_mtime: int | None = None) -> bytes:
    out = io.BytesIO()
    write_layer(directory, out, max_mtime=max_mtime)
    return out.getvalue()


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return tar.getmembers()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


def test_entries_are_sorted_and_directories_come_before_what_is_in_them(files: Path) -> None:
    for name in ("b/z", "b/a", "a", "b.x", "B"):
        (files / name).parent.mkdir(exist_ok=True)
        (files / name).touch()
    assert [member.name for member in members(packed(files))] == ["B", "a", "b", "b/a", "b/z", "b.x"]


def test_every_kind_of_file_is_written(files: Path) -> None:
    (files / "file").write_bytes(b"x" * 3000)
    os.chown(files / "file", 70000, 3000000)
    (files / "file").chmod(0o4711)
    os.utime(files / "file", ns=(0, 1_500_000_000_999_999_999))
    (files / "link").symlink_to("/somewhere")
    os.link(files / "file", files / "hard")
    os.link(files / "link", files / "hardlink-to-link", follow_symlinks=False)
    os.mkfifo(files / "pipe")
    os.mknod(files / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(files / "disk", 0o600 | stat.S_IFBLK, os.makedev(8, 1))
    found = {member.name: member for member in members(packed(files))}
    file = found["file"]
    assert (file.size, file.mode, file.uid, file.gid) == (3000, 0o4711, 70000, 3000000)
    assert file.mtime == 1_500_000_000
    assert (found["hard"].type, found["hard"].linkname) == (tarfile.LNKTYPE, "file")
    assert (found["link"].type, found["link"].linkname) == (tarfile.LNKTYPE, "hardlink-to-link")
    assert (found["hardlink-to-link"].type, found["hardlink-to-link"].linkname) == (tarfile.SYMTYPE, "/somewhere")
    assert found["pipe"].isfifo()
    assert (found["null"].ischr(), found["null"].devmajor, found["null"].devminor) == (True, 1, 3)
    assert (found["disk"].isblk(), found["disk"].devmajor, found["disk"].devminor) == (True, 8, 1)


def test_a_file_with_other_names_elsewhere_is_a_plain_file(files: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x")
    os.link(tmp_path / "elsewhere", files / "here")
    assert members(packed(files))[0].isreg()


def test_whiteouts_and_opaque_directories_have_their_entries(files: Path) -> None:
    (files / "d").mkdir()
    (files / "d/new").touch()
    make_opaque(bytes(files / "d"))
    descriptor = os.open(files, os.O_PATH)
    make_whiteout("gone", dir_fd=descriptor)
    os.close(descriptor)
    found = members(packed(files))
    assert [member.name for member in found] == ["d", "d/.wh..wh..opq", "d/new", ".wh.gone"]
    whiteout = found[3]
    assert (whiteout.type, whiteout.size, whiteout.mode, whiteout.mtime) == (tarfile.REGTYPE, 0, 0, 0)
    assert not any(member.pax_headers for member in found)


def test_xattrs_are_written_and_the_overlay_s_own_are_not(files: Path) -> None:
    (files / "ping").write_text("x")
    os.setxattr(files / "ping", "security.capability", CAPABILITY)
    os.setxattr(files / "ping", "trusted.overlay.origin", b"x")
    os.setxattr(files, "user.root", b"1")
    data = packed(files)
    assert b"SCHILY.xattr.security.capability=" + CAPABILITY in data
    assert b"SCHILY.xattr.user.root=1" in data
    assert b"overlay" not in data


def test_the_root_directory_is_written_only_when_it_is_unusual(files: Path) -> None:
    assert members(packed(files)) == []
    files.chmod(0o700)
    (root,) = members(packed(files))
    assert (root.name, root.mode) == (".", 0o700)


def test_sockets_are_left_out(files: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files / "socket"))
        assert members(packed(files)) == []


def test_holes_are_zeros_and_cost_no_disk_reads(files: Path) -> None:
    with (files / "sparse").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"in the middle")
        file.truncate(12 << 20)
    with (files / "empty").open("wb") as file:
        file.truncate(3 << 20)
    data = packed(files)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for name in ("sparse", "empty"):
            content = tar.extractfile(name)
            assert content is not None
            assert content.read() == (files / name).read_bytes()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) - 512, 1 << 20, (3 << 20) + 7])
def test_sizes_around_blocks_and_buffers_are_no_special_case(size: int, files: Path) -> None:
    content = os.urandom(size)
    (files / "a").write_bytes(content)
    (files / "b").write_bytes(b"after")
    pieces: list[int] = []

    class Sink:
        data = b""

        def write(self, data: memoryview) -> None:
            pieces.append(len(data))
            self.data += data

    sink = Sink()
    write_layer(files, sink)
    assert all(piece == 1 << 20 for piece in pieces[:-1])
    with tarfile.open(fileobj=io.BytesIO(sink.data)) as tar:
        file = tar.extractfile("a")
        assert file is not None
        assert file.read() == content
        assert tar.getnames() == ["a", "b"]


def test_times_can_be_clamped(files: Path) -> None:
    for name, time in (("old", 100), ("new", 2_000_000_000)):
        (files / name).touch()
        os.utime(files / name, (time, time))
    assert {member.name: member.mtime for member in members(packed(files, max_mtime=1000))} == {"old": 100, "new": 1000}


def test_names_that_would_be_whiteouts_are_refused(files: Path) -> None:
    (files / ".wh.x").touch()
    with pytest.raises(LayerError, match=r"\.wh\."):
        packed(files)


def test_files_that_vanish_or_shrink_are_noticed(files: Path) -> None:
    for name in "ab":
        (files / name).write_bytes(bytes(2 << 20))

    class Meddling:
        def __init__(self, meddle: Callable[[], object]) -> None:
            self.meddle = meddle

        def write(self, data: memoryview) -> None:
            self.meddle()

    with pytest.raises(LayerError, match="shorter"):
        write_layer(files, Meddling(lambda: os.truncate(files / "b", 5)))
    with pytest.raises(LayerError, match="vanished"):
        write_layer(files, Meddling(lambda: (files / "b").unlink(missing_ok=True)))


def test_the_bytes_of_a_layer_stay_what_they_are(files: Path) -> None:
    """A stored layer is made again from its files: it must have the digest that it was named by."""
    (files / "etc").mkdir(mode=0o755)
    (files / "etc/motd").write_text("hello\n")
    (files / "link").symlink_to("etc/motd")
    os.link(files / "etc/motd", files / "etc/hard")
    os.setxattr(files / "etc/motd", "user.x", b"y")
    descriptor = os.open(files, os.O_PATH)
    make_whiteout("gone", dir_fd=descriptor)
    os.close(descriptor)
    for path in ("etc/motd", "link", "etc"):
        os.utime(files / path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
        os.chmod(files / path, 0o755 if path == "etc" else 0o644)
    assert hashlib.sha256(packed(files)).hexdigest().startswith("364272ac6b3a924948ba0dd5de686912")


@pytest.mark.skipif(shutil.which("tar") is None, reason="asks GNU tar")
def test_gnu_tar_finds_no_difference(tmp_path: Path) -> None:
    source = Path("/usr/share/doc")
    target = tmp_path / "layer.tar"
    with target.open("wb") as file:
        write_layer(source, file)
    compared = subprocess.run(["tar", "--compare", "-f", target, "-C", source], capture_output=True, text=True)
    assert compared.stdout + compared.stderr == ""


# Round trips


@dataclass(frozen=True)
class Node:
    """A file of a random tree. `content` of a symbolic link is its target; equal `hard` numbers are one file."""

    kind: str
    content: bytes = b""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: int = 1_000_000_000
    xattr: bytes | None = None
    hard: int | None = None


names = st.sampled_from([b"a", b"b", b"c", b"dd", b"\xff\xfe", "ü".encode(), b"n" * 120, b"x y", b".hidden", b"#1"])
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
owners = st.sampled_from([(0, 0), (1, 2), (1000, 1000), (2**31, 5)])
times = st.integers(0, 2**33)
nodes = st.one_of(
    st.builds(
        Node,
        kind=st.just("file"),
        content=st.one_of(st.binary(max_size=50), st.sampled_from([bytes(300_000), b"z" * 70_000])),
        mode=st.integers(0, 0o7777),
        owner=owners,
        mtime=times,
        xattr=st.one_of(st.none(), st.binary(max_size=20)),
        hard=st.one_of(st.none(), st.integers(0, 1)),
    ),
    st.builds(
        Node,
        kind=st.just("dir"),
        mode=st.integers(0, 0o7777),
        owner=owners,
        mtime=times,
        xattr=st.one_of(st.none(), st.binary(max_size=20)),
    ),
    st.builds(
        Node,
        kind=st.just("link"),
        content=st.sampled_from([b"a", b"/b/c", b"../..", b"l" * 300]),
        owner=owners,
        mtime=times,
    ),
    st.builds(Node, kind=st.just("pipe"), mode=st.integers(0, 0o7777), owner=owners, mtime=times),
)
trees = st.dictionaries(paths, nodes, max_size=12)


def make_parents(root: bytes, name: bytes) -> None:
    """Never through a link, which may lead anywhere."""
    for part in name.split(b"/")[:-1]:
        root += b"/" + part
        if not os.path.lexists(root):
            os.mkdir(root)
        elif os.path.islink(root):
            raise NotADirectoryError(root)


def build(root: bytes, tree: dict[bytes, Node]) -> None:
    """Make a tree; entries that don't fit those before them are left out."""
    hard: dict[int, bytes] = {}
    made: list[tuple[bytes, Node]] = []
    for name, node in sorted(tree.items()):
        path = root + b"/" + name
        try:
            make_parents(root, name)
            if node.hard is not None and node.hard in hard:
                os.link(hard[node.hard], path)
                continue
            if node.kind == "dir":
                os.mkdir(path)
            elif node.kind == "file":
                with open(path, "xb") as file:
                    file.write(node.content)
                if node.hard is not None:
                    hard[node.hard] = path
            elif node.kind == "link":
                os.symlink(node.content, path)
            else:
                os.mkfifo(path)
        except (FileExistsError, NotADirectoryError):
            continue
        made.append((path, node))
    for path, node in reversed(made):
        os.chown(path, *node.owner, follow_symlinks=False)
        if node.kind != "link":
            os.chmod(path, node.mode)
            if node.xattr is not None:
                os.setxattr(path, "user.test", node.xattr)
        os.utime(path, (node.mtime, node.mtime), follow_symlinks=False)


def seen(root: bytes, *, directory_times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """All that a layer carries, of each file of a tree."""
    found: dict[bytes, tuple[object, ...]] = {}
    groups: dict[int, bytes] = {}
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                status = entry.stat(follow_symlinks=False)
                name = entry.path[len(root) + 1 :]
                content: object = None
                if entry.is_symlink():
                    content = os.readlink(entry.path)
                elif entry.is_file():
                    with open(entry.path, "rb") as file:
                        content = hashlib.sha256(file.read()).hexdigest()
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                xattrs = {
                    key: os.getxattr(entry.path, key, follow_symlinks=False)
                    for key in os.listxattr(entry.path, follow_symlinks=False)
                    if "overlay" not in key
                }
                with_time = directory_times or not stat.S_ISDIR(status.st_mode)
                found[name] = (
                    stat.S_IFMT(status.st_mode), status.st_mode & 0o7777, status.st_uid, status.st_gid,
                    int(status.st_mtime) if with_time else None, content, xattrs,
                    None if stat.S_ISDIR(status.st_mode) else status.st_ino,
                )  # fmt: skip
    # Inode numbers differ between trees; which names share one doesn't.
    for name in sorted(found):
        *rest, inode = found[name]
        found[name] = (*rest, groups.setdefault(inode, name) if isinstance(inode, int) else None)
    return found


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """On a file system in memory, where making and removing many small trees costs little."""
    directory = Path(tempfile.mkdtemp(prefix="boat-layers-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    yield directory
    remove_tree(str(directory))


def unpacked(data: bytes, directory: Path) -> Path:
    directory.mkdir()
    apply(io.BytesIO(data), directory)
    return directory


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_a_tree_packed_and_unpacked_is_the_same(tree: dict[bytes, Node], scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        source = Path(name, "source")
        source.mkdir(mode=0o755)
        build(bytes(source), tree)
        data = packed(source)
        copy = unpacked(data, Path(name, "copy"))
        assert seen(bytes(copy)) == seen(bytes(source))
        assert packed(copy) == data


@pytest.fixture(scope="module", params=[OverlaySnapshotter, CopyingSnapshotter])
def snapshotter(request: pytest.FixtureRequest, scratch: Path) -> Snapshotter:
    snapshotter: Snapshotter = request.param(scratch / request.param.__name__)
    return snapshotter


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=trees, after=trees, kept=st.sets(st.integers(0, 11)))
def test_what_changes_a_tree_changes_it_again_when_it_comes_as_a_layer(
    before: dict[bytes, Node], after: dict[bytes, Node], kept: set[int], snapshotter: Snapshotter
) -> None:
    base = snapshotter.prepare()
    build(bytes(snapshotter.directory(base)), before)
    snapshotter.commit(base)
    active = snapshotter.prepare()
    made: list[SnapshotId] = [base, active]
    try:
        with snapshotter.mount([base], active=active) as root:
            for number, name in enumerate(sorted(os.listdir(bytes(root)))):
                if number not in kept:
                    path = bytes(root) + b"/" + name
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            build(bytes(root), after)
        snapshotter.commit(active)
        with snapshotter.mount([base, active]) as root:
            expected = seen(bytes(root))
        layers = [packed(snapshotter.directory(snapshot)) for snapshot in (base, active)]
        again: list[SnapshotId] = []
        for data in layers:
            snapshot = snapshotter.prepare()
            made.append(snapshot)
            lowers = [snapshotter.directory(lower) for lower in again]
            apply(io.BytesIO(data), snapshotter.directory(snapshot), lowers=lowers)
            snapshotter.commit(snapshot)
            again.append(snapshot)
        with snapshotter.mount(again) as root:
            assert seen(bytes(root)) == expected
        assert [packed(snapshotter.directory(snapshot)) for snapshot in again] == layers
    finally:
        for snapshot in made:
            snapshotter.remove(snapshot)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(trees, min_size=2, max_size=5), gone=st.sets(paths, max_size=5))
def test_the_kernel_and_the_copy_merge_layers_alike(
    layers: list[dict[bytes, Node]], gone: set[bytes], scratch: Path
) -> None:
    results = []
    for kind in (OverlaySnapshotter, CopyingSnapshotter):
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            snapshotter: Snapshotter = kind(Path(name))
            chain = []
            for number, tree in enumerate(layers):
                snapshot = snapshotter.prepare()
                directory = bytes(snapshotter.directory(snapshot))
                build(directory, {name: node for name, node in tree.items() if node.hard is None})
                if number:
                    for path in gone:
                        try:
                            make_parents(directory, path)
                            descriptor = os.open(os.path.dirname(directory + b"/" + path), os.O_PATH | os.O_DIRECTORY)
                        except NotADirectoryError:
                            continue
                        if not os.path.lexists(directory + b"/" + path):
                            make_whiteout(os.path.basename(path), dir_fd=descriptor)
                        os.close(descriptor)
                snapshotter.commit(snapshot)
                chain.append(snapshot)
            with snapshotter.mount(chain) as root:
                results.append(seen(bytes(root), directory_times=False))
    assert results[0] == results[1]
