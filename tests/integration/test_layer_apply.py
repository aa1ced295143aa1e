"""Layers unpacked to a directory: what they may say, and that nothing they say reaches outside."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard.errors import LayerError, StorageError
from boatyard.image.layer.apply import Applied, Limits, apply
from boatyard.image.layer.tarheader import END, header
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.whiteout import TRUSTED, is_opaque, is_whiteout

pytestmark = pytest.mark.root

REG, LINK, SYM, CHR, DIR, FIFO = b"0", b"1", b"2", b"3", b"5", b"6"


def entry(name: str | bytes, kind: bytes = REG, data: bytes = b"", link: str = "", **more: object) -> bytes:
    name = os.fsencode(name)
    values: dict[str, object] = {"mode": 0o755 if kind == DIR else 0o644, "uid": 0, "gid": 0, "mtime": 1_600_000_000}
    values |= more
    head = header(name, kind, size=len(data), link=link.encode(), **values)  # type: ignore[arg-type]
    return head + data + bytes(-len(data) % 512)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Beside it lies something that no layer may touch."""
    directory = tmp_path / "area" / "layer"
    directory.mkdir(parents=True)
    (tmp_path / "area" / "outside").write_text("untouched")
    (tmp_path / "area" / "outside.d").mkdir()
    return directory


Unpack = Callable[..., Applied]


@pytest.fixture
def unpack(target: Path) -> Unpack:
    def run(*entries: bytes, **options: object) -> Applied:
        return apply(io.BytesIO(b"".join(entries) + END), target, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture(autouse=True)
def outside_is_untouched(target: Path) -> object:
    yield
    area = target.parent
    assert sorted(os.listdir(area)) == ["layer", "outside", "outside.d"]
    assert (area / "outside").read_text() == "untouched"
    assert os.listdir(area / "outside.d") == []
    assert (area / "outside").stat().st_nlink == 1
    assert stat.S_IMODE((area / "outside").stat().st_mode) == 0o644


# What layers say


def test_files_keep_content_mode_owner_and_time(unpack: Unpack, target: Path) -> None:
    unpack(entry("bin/", DIR, mode=0o711, uid=3, gid=4), entry("bin/su", data=b"x" * 5000, mode=0o4755, uid=1, gid=2))
    status = (target / "bin/su").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime) == (0o4755, 1, 2, 1_600_000_000)
    assert (target / "bin/su").read_bytes() == b"x" * 5000
    status = (target / "bin").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime) == (0o711, 3, 4, 1_600_000_000)


def test_the_process_s_umask_changes_nothing(unpack: Unpack, target: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(entry("open", mode=0o666), entry("dir/", DIR, mode=0o777), entry("deep/file"))
    finally:
        os.umask(before)
    assert (target / "open").stat().st_mode & 0o7777 == 0o666
    assert (target / "dir").stat().st_mode & 0o7777 == 0o777
    assert (target / "deep").stat().st_mode & 0o7777 == 0o755


def test_every_kind_of_file_is_made(unpack: Unpack, target: Path) -> None:
    unpack(
        entry("link", SYM, link="/nowhere", uid=5),
        entry("pipe", FIFO, mode=0o620),
        entry("null", CHR, mode=0o666, major=1, minor=3),
        entry("first", data=b"1", uid=9),
        entry("second", LINK, link="first"),
        entry("third", LINK, link="/first"),
    )
    assert (target / "link").readlink() == Path("/nowhere")
    assert (target / "link").lstat().st_uid == 5
    assert (target / "link").lstat().st_mtime == 1_600_000_000
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert (target / "pipe").stat().st_mode & 0o777 == 0o620
    assert (target / "null").stat().st_rdev == os.makedev(1, 3)
    assert (target / "first").stat().st_nlink == 3


CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def test_xattrs_survive_the_change_of_owner(unpack: Unpack, target: Path) -> None:
    xattrs = {b"security.capability": CAPABILITY, b"user.colour": b"blue"}
    unpack(entry("ping", data=b"x", mode=0o755, uid=7, xattrs=xattrs), entry("d/", DIR, xattrs={b"user.a": b"b"}))
    assert os.getxattr(target / "ping", "security.capability") == CAPABILITY
    assert os.getxattr(target / "ping", "user.colour") == b"blue"
    assert os.getxattr(target / "d", "user.a") == b"b"


def test_marks_of_the_overlay_are_not_taken_from_a_layer(unpack: Unpack, target: Path) -> None:
    unpack(entry("d/", DIR, xattrs={b"trusted.overlay.opaque": b"y", b"user.overlay.opaque": b"y"}))
    assert os.listxattr(target / "d") == []


def test_times_of_directories_are_set_when_all_is_in_them(unpack: Unpack, target: Path) -> None:
    unpack(entry("a/", DIR), entry("a/b/", DIR, mtime=5), entry("a/b/c"), entry("a/d"))
    assert ((target / "a").stat().st_mtime, (target / "a/b").stat().st_mtime) == (1_600_000_000, 5)


def test_parents_that_no_entry_describes_are_root_s(unpack: Unpack, target: Path) -> None:
    unpack(entry("a/b/c/file", uid=7), entry("./x//y/./file"), entry("/z/file"))
    for name in ("a", "a/b/c", "x/y", "z"):
        status = (target / name).stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_mtime) == (0o755, 0, 1_600_000_000)


def test_the_root_directory_can_be_described(unpack: Unpack, target: Path) -> None:
    unpack(entry("./", DIR, mode=0o700, uid=1), entry("x"))
    assert (target.stat().st_mode & 0o7777, target.stat().st_uid, target.stat().st_mtime) == (0o700, 1, 1_600_000_000)


def test_the_last_of_several_entries_wins(unpack: Unpack, target: Path) -> None:
    unpack(
        entry("file", data=b"1"), entry("file", data=b"2"),
        entry("dir/", DIR), entry("dir/x"), entry("dir", data=b"now a file"),
        entry("link", SYM, link="dir"), entry("link/", DIR), entry("link/in"),
        entry("again/", DIR, mode=0o700), entry("again/x"), entry("again/", DIR, mode=0o711),
        entry("hard", data=b"h"), entry("hard2"), entry("hard2", LINK, link="hard"), entry("hard", LINK, link="hard"),
        entry("node", CHR, major=1, minor=3), entry("node", SYM, link="x"), entry("node", FIFO),
    )  # fmt: skip
    assert (target / "file").read_text() == "2"
    assert (target / "dir").read_text() == "now a file"
    assert (target / "link").is_dir()
    assert not (target / "link").is_symlink()
    assert os.listdir(target / "link") == ["in"]
    assert os.listdir(target / "again") == ["x"]
    assert (target / "again").stat().st_mode & 0o777 == 0o711
    assert (target / "hard2").read_text() == "h"
    assert stat.S_ISFIFO((target / "node").stat().st_mode)


def test_names_may_be_long_and_need_not_be_text(unpack: Unpack, target: Path) -> None:
    deep = b"/".join([b"d" * 200] * 15) + b"/caf\xe9"
    unpack(entry(deep, data=b"x"), entry(b"\xff" * 255))
    assert Path(os.fsdecode(bytes(target) + b"/" + deep)).read_text() == "x"
    assert b"\xff" * 255 in os.listdir(bytes(target))


def test_zeros_become_holes(unpack: Unpack, target: Path) -> None:
    data = bytes(3 << 20) + b"x" * 100_000 + bytes(5 << 20) + b"y" + bytes(1 << 20)
    unpack(entry("sparse", data=data), entry("zeros", data=bytes(1 << 20)), entry("after", data=b"z"))
    assert (target / "sparse").read_bytes() == data
    assert (target / "sparse").stat().st_blocks * 512 < 1 << 20
    assert (target / "zeros").read_bytes() == bytes(1 << 20)
    assert (target / "zeros").stat().st_blocks == 0


def test_sparse_entries_keep_their_holes(target: Path) -> None:
    block = bytearray(header(b"s", REG, 0o644, 0, 0, 3, 5))
    block[156:157] = b"S"
    block[257:265] = b"ustar  \0"
    block[345:500] = bytes(155)
    block[386:410] = b"%011o\0%011o\0" % (8 << 20, 3)
    block[483:495] = b"%011o\0" % (16 << 20)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    apply(io.BytesIO(bytes(block) + b"abc".ljust(512, b"\0") + END), target)
    assert (target / "s").stat().st_size == 16 << 20
    assert (target / "s").stat().st_blocks <= 16
    assert (target / "s").read_bytes()[8 << 20 : (8 << 20) + 3] == b"abc"


def test_whiteouts_become_devices_and_opaque_directories_are_marked(unpack: Unpack, target: Path) -> None:
    unpack(
        entry("etc/", DIR), entry("etc/.wh.gone"), entry("opaque/", DIR), entry("opaque/new"),
        entry("opaque/.wh..wh..opq"), entry("implied/.wh.x"), entry(".wh.top"), entry(".wh..wh.plnk/", DIR),
    )  # fmt: skip
    for name in ("etc/gone", "implied/x", "top"):
        assert is_whiteout((target / name).lstat())
    assert is_opaque(bytes(target / "opaque"))
    assert not is_opaque(bytes(target / "etc"))
    assert os.listdir(target / "opaque") == ["new"]
    assert sorted(os.listdir(target)) == ["etc", "implied", "opaque", "top"]
    assert os.getxattr(target / "etc", TRUSTED.origin) == b""


def test_a_whiteout_speaks_of_lower_layers_only(unpack: Unpack, target: Path) -> None:
    unpack(
        entry(".wh.before"), entry("before", data=b"1"), entry("after", data=b"2"), entry(".wh.after"),
        entry(".wh.dir"), entry("dir/", DIR), entry("dir/x"), entry("dir2/", DIR), entry("dir2/x"), entry(".wh.dir2"),
        entry(".wh.dir3"), entry("dir3/x"),
    )  # fmt: skip
    assert (target / "before").read_text() == "1"
    assert (target / "after").read_text() == "2"
    for name in ("dir", "dir2", "dir3"):
        assert os.listdir(target / name) == ["x"]
        assert is_opaque(bytes(target / name))


def test_an_archive_has_no_whiteouts(unpack: Unpack, target: Path) -> None:
    unpack(entry(".wh.x", data=b"1"), entry("d/.wh..wh..opq", data=b"2"), whiteouts=False)
    assert (target / ".wh.x").read_text() == "1"
    assert (target / "d/.wh..wh..opq").read_text() == "2"


def test_an_archive_goes_over_what_is_there(unpack: Unpack, target: Path) -> None:
    (target / "dir").mkdir()
    (target / "dir/keep").write_text("1")
    (target / "dir/replace").write_text("1")
    (target / "file").write_text("1")
    (target / "to").mkdir()
    (target / "link").symlink_to("to")
    unpack(entry("dir/", DIR), entry("dir/replace", data=b"2"), entry("file/", DIR), entry("link/x"), whiteouts=False)
    assert sorted(os.listdir(target / "dir")) == ["keep", "replace"]
    assert (target / "dir/replace").read_text() == "2"
    assert (target / "file").is_dir()
    assert os.listdir(target / "to") == ["x"]


def test_an_owner_can_be_given_to_all(unpack: Unpack, target: Path) -> None:
    unpack(entry("a/b", uid=5, mode=0o4755), entry("l", SYM, link="x"), owner=(11, 12), whiteouts=False)
    for name in ("a", "a/b", "l"):
        status = (target / name).lstat()
        assert (status.st_uid, status.st_gid) == (11, 12)
    assert (target / "a/b").stat().st_mode & 0o7777 == 0o4755


def test_directories_that_hand_on_their_group_do_not_change_what_is_unpacked(unpack: Unpack, target: Path) -> None:
    unpack(entry("d/", DIR, mode=0o2755, gid=44), entry("d/f"), entry("d/s/", DIR), entry("d/s/f"), entry("d/x/f"))
    for name in ("d/f", "d/s", "d/s/f", "d/x", "d/x/f"):
        assert (target / name).stat().st_gid == 0


def test_default_acls_do_not_change_what_is_unpacked(unpack: Unpack, target: Path) -> None:
    everything = struct.pack("<IHHIHHIHHI", 2, 1, 7, 2**32 - 1, 4, 0, 2**32 - 1, 32, 0, 2**32 - 1)
    unpack(entry("d/", DIR, xattrs={b"system.posix_acl_default": everything}), entry("d/f", mode=0o644))
    assert os.getxattr(target / "d", "system.posix_acl_default")
    assert (target / "d/f").stat().st_mode & 0o777 == 0o644


# Layers below


@pytest.fixture
def lowers(tmp_path: Path) -> list[Path]:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for directory in (lower, upper):
        directory.mkdir()
    (lower / "usr/lib").mkdir(parents=True)
    (lower / "usr").chmod(0o711)
    os.chown(lower / "usr/lib", 21, 22)
    (lower / "usr/lib/file").write_text("below")
    os.utime(lower / "usr/lib", (77, 77))
    (lower / "lib").symlink_to("usr/lib")
    (lower / "abs").symlink_to("/usr/lib")
    (lower / "up").symlink_to("../../../usr")
    (lower / "gone").mkdir(mode=0o700)
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    (lower / "plain").write_text("1")
    lower.chmod(0o751)
    upper.chmod(0o751)
    return [lower, upper]


def test_parents_are_as_in_the_layers_below(unpack: Unpack, target: Path, lowers: list[Path]) -> None:
    unpack(entry("usr/lib/new"), entry("gone/x"), lowers=lowers)
    assert (target / "usr").stat().st_mode & 0o7777 == 0o711
    status = (target / "usr/lib").stat()
    assert (status.st_uid, status.st_gid, status.st_mtime) == (21, 22, 77)
    assert (target / "gone").stat().st_mode & 0o7777 == 0o755
    assert target.stat().st_mode & 0o7777 == 0o751


@pytest.mark.parametrize("name", ["lib/new", "abs/new", "up/lib/new"])
def test_links_of_the_layers_below_are_followed_beneath_the_root(
    name: str, unpack: Unpack, target: Path, lowers: list[Path]
) -> None:
    unpack(entry(name, data=b"x"), lowers=lowers)
    assert (target / "usr/lib/new").read_text() == "x"
    assert os.listdir(target) == ["usr"]


def test_a_directory_takes_the_place_of_a_link_below(unpack: Unpack, target: Path, lowers: list[Path]) -> None:
    unpack(entry("lib/", DIR), entry("lib/new"), lowers=lowers)
    assert os.listdir(target / "lib") == ["new"]


def test_a_hard_link_to_a_file_below_brings_the_file_along(unpack: Unpack, target: Path, lowers: list[Path]) -> None:
    unpack(entry("again", LINK, link="lib/file"), lowers=lowers)
    assert (target / "again").read_text() == "below"
    assert (target / "again").samefile(target / "usr/lib/file")


def test_what_this_layer_hides_is_not_looked_up_below(unpack: Unpack, target: Path, lowers: list[Path]) -> None:
    with pytest.raises(LayerError):
        unpack(entry(".wh.usr"), entry("usr/lib/"), entry("x", LINK, link="usr/lib/file"), lowers=lowers)


def test_a_file_below_is_no_directory(unpack: Unpack, lowers: list[Path]) -> None:
    with pytest.raises(LayerError):
        unpack(entry("plain/x"), lowers=lowers)


def test_the_layers_below_are_asked_for_only_when_needed(unpack: Unpack) -> None:
    def wait() -> list[Path]:
        raise AssertionError("not needed")

    unpack(entry("./", DIR), entry("a/", DIR), entry("a/b"), entry("c", LINK, link="a/b"), lowers=wait)


# Hostile layers


@pytest.mark.parametrize(
    "entries",
    {
        "a path with ..": [entry("../outside.d/x")],
        "a path with .. inside": [entry("a/../../outside.d/x")],
        "a path that ends in ..": [entry("a/..", DIR)],
        "a hard link to ..": [entry("x", LINK, link="../outside")],
        "a hard link to nothing": [entry("x", LINK, link="nothing")],
        "a hard link to a directory": [entry("d/", DIR), entry("x", LINK, link="d")],
        "a hard link to the root": [entry("x", LINK, link="/")],
        "a hard link to a removed file": [entry(".wh.f"), entry("x", LINK, link="f")],
        "a hard link over the directory of its target": [entry("d/f"), entry("d", LINK, link="d/f")],
        "a file as root": [entry("./")],
        "a file as a directory": [entry("f"), entry("f/x")],
        "a link to itself as a directory": [entry("l", SYM, link="l"), entry("l/x")],
        "links in a circle": [entry("a", SYM, link="b"), entry("b", SYM, link="a"), entry("a/x")],
        "an empty link": [entry("l", SYM)],
        "a whiteout of nothing": [entry(".wh.")],
        "a whiteout of .": [entry(".wh..")],
        "a whiteout of ..": [entry("a/.wh...")],
        "a device that is a whiteout": [entry("x", CHR)],
        "a name that is too long": [entry("n" * 256)],
        "a path that is too long": [entry("/".join(["d" * 250] * 20))],
        "a path that grows through links": [
            entry("/".join(["d" * 250] * 14) + "/", DIR),
            entry("l", SYM, link="/".join(["d" * 250] * 14)),
            entry("l/" + "/".join(["d" * 250] * 10) + "/", DIR),
        ],
        "a time beyond all": [entry("x", mtime=2**63)],
    }.items(),
    ids=lambda item: item[0],
)
def test_what_no_layer_may_say_is_refused(entries: tuple[str, list[bytes]], unpack: Unpack) -> None:
    with pytest.raises(LayerError):
        unpack(*entries[1])


@pytest.mark.parametrize("link", ["../outside.d", "/../outside.d", "../../../../../../../tmp", "/"])
def test_links_that_lead_outside_lead_nowhere_else_than_beneath_the_root(
    link: str, unpack: Unpack, target: Path
) -> None:
    unpack(entry("l", SYM, link=link), entry("l/evil", data=b"x"), entry("hard", LINK, link="l/evil"))
    assert (target / link.replace("../", "").strip("/") / "evil").read_text() == "x"
    assert (target / "hard").read_text() == "x"


def test_absolute_links_are_links_beneath_the_root(unpack: Unpack, target: Path) -> None:
    outside = str(target.parent / "outside.d")
    unpack(
        entry("l", SYM, link=outside), entry("l/evil", data=b"x"), entry("f", SYM, link=str(target.parent / "outside"))
    )
    assert (target / outside[1:] / "evil").read_text() == "x"


def test_a_file_is_never_written_through_a_link(unpack: Unpack, target: Path) -> None:
    outside = str(target.parent / "outside")
    unpack(entry("l", SYM, link=outside), entry("l", data=b"evil", mode=0o777, uid=5))
    assert (target / "l").read_text() == "evil"
    assert not (target / "l").is_symlink()


def test_a_directory_that_became_a_link_is_not_taken_for_the_old_one(unpack: Unpack, target: Path) -> None:
    """Times of directories are set at the end, and open directories are kept: neither may go through the link."""
    outside = target.parent / "outside.d"
    before = outside.stat()
    unpack(
        entry("d/", DIR, mtime=5), entry("d/e/", DIR, mtime=5), entry("d/e/f"),
        entry("d", SYM, link=str(outside)), entry("d/evil", data=b"x"),
    )  # fmt: skip
    after = outside.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert (target / str(outside)[1:] / "evil").exists()


def test_hard_links_to_symbolic_links_link_the_link(unpack: Unpack, target: Path) -> None:
    unpack(entry("l", SYM, link=str(target.parent / "outside")), entry("h", LINK, link="l"))
    assert (target / "h").is_symlink()


def test_devices_can_be_forbidden(unpack: Unpack) -> None:
    unpack(entry("file"), devices=False)
    with pytest.raises(LayerError, match="device"):
        unpack(entry("null", CHR, major=1, minor=3), devices=False)


def test_a_bomb_of_bytes_ends_before_it_is_written(unpack: Unpack, target: Path) -> None:
    with pytest.raises(LayerError, match="too large"):
        unpack(entry("a", data=b"x" * 600), entry("b", data=b"x" * 600), limits=Limits(bytes=1000))
    assert not (target / "b").exists()


def test_a_bomb_of_entries_ends(unpack: Unpack) -> None:
    with pytest.raises(LayerError, match="too large"):
        unpack(*(entry(f"f{number}") for number in range(20)), limits=Limits(entries=10))


def test_many_directories_need_few_descriptors(unpack: Unpack, target: Path) -> None:
    unpack(*(entry(f"{number}/{number}/f") for number in range(1500)))
    assert len(os.listdir(target)) == 1500
    assert len(os.listdir("/proc/self/fd")) < 300


def test_a_path_may_be_as_deep_as_it_is_long(unpack: Unpack, target: Path) -> None:
    unpack(entry("d/" * 1800 + "f", data=b"x"))
    assert (target / ("d/" * 1800 + "f")).read_text() == "x"
    remove_tree(str(target / "d"))
    assert os.listdir(target) == []


def test_a_full_disk_is_a_storage_error(full_disk: Path) -> None:
    stream = io.BytesIO(entry("big", data=b"x" * (4 << 20)) + END)
    with pytest.raises(StorageError, match="big"):
        apply(stream, full_disk)


@pytest.fixture
def full_disk(tmp_path: Path) -> object:
    from boatyard.image.snapshot import mounting

    point = tmp_path / "small"
    point.mkdir()
    assert mounting._libc.mount(b"small", bytes(point), b"tmpfs", 0, b"size=1m") == 0
    yield point
    mounting.unmount(bytes(point))


def test_what_the_standard_library_packs_is_unpacked_the_same(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/f").write_bytes(os.urandom(100_000))
    (source / "d/l").symlink_to("f")
    os.link(source / "d/f", source / "d/h")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(source, ".")
    applied = apply(io.BytesIO(data.getvalue()), target)
    assert applied == Applied(entries=5, bytes=100_000)
    assert (target / "d/h").samefile(target / "d/f")
    assert (target / "d/l").read_bytes() == (source / "d/f").read_bytes()


# Noise

parts = st.sampled_from([b"a", b"b", b"..", b".", b"", b".wh.a", b".wh..wh..opq", b".wh.", b"out"])
names = st.lists(parts, min_size=1, max_size=4).map(b"/".join)
links = st.one_of(
    names, st.sampled_from([b"../outside", b"../outside.d", b"OUTSIDE", b"OUTSIDE.d", b"a/../../outside.d"])
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(names, st.sampled_from([REG, REG, LINK, LINK, SYM, SYM, DIR, FIFO, CHR]), links, st.booleans()),
        max_size=12,
    )
)
def test_whatever_a_layer_says_it_stays_inside(area: Path, entries: list[tuple[bytes, bytes, bytes, bool]]) -> None:
    inside = area / "layer"
    inside.mkdir()
    before = [(path.lstat().st_ctime_ns, path.lstat().st_nlink) for path in (area / "outside", area / "outside.d")]
    data = b""
    for name, kind, link, whole in entries:
        link = link.replace(b"OUTSIDE", bytes(area) + b"/outside")
        name = link if whole and kind != DIR else name
        data += header(name or b".", kind, 0o777, 5, 5, 0, 7, link if kind in (LINK, SYM) else b"", 1, 3)
    try:
        apply(io.BytesIO(data + END), inside)
    except LayerError:
        pass
    finally:
        remove_tree(str(inside))
    assert before == [
        (path.lstat().st_ctime_ns, path.lstat().st_nlink) for path in (area / "outside", area / "outside.d")
    ]
    assert sorted(os.listdir(area)) == ["outside", "outside.d"]


@pytest.fixture
def area() -> Iterator[Path]:
    area = Path(tempfile.mkdtemp(prefix="boat-apply-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    (area / "outside").write_text("untouched")
    (area / "outside.d").mkdir()
    yield area
    remove_tree(str(area))
