"""Paths resolved inside a root, and the stubs made for mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.runtime.rootfs import MountPoints, make_directories, mount_points, read_file, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = tmp_path / "root"
    (base / "etc").mkdir(parents=True)
    (base / "etc/file").write_text("inside")
    (base / "usr/lib").mkdir(parents=True)
    (base / "lib").symlink_to("usr/lib")
    (base / "abs").symlink_to("/etc")
    (base / "up").symlink_to("../../../..")
    (base / "chain").symlink_to("abs/../lib")
    (base / "loop").symlink_to("loop")
    (base / "dangling").symlink_to("/made/later")
    return base


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ""),
        ("", ""),
        ("etc//file", "/etc/file"),
        ("/lib/x", "/usr/lib/x"),
        ("/abs/file", "/etc/file"),
        ("/up/etc", "/etc"),
        ("/../../etc/./file", "/etc/file"),
        ("/chain", "/usr/lib"),
        ("/dangling/deeper", "/made/later/deeper"),
        ("/no/such/../thing", "/no/thing"),
        ("/etc/file/below", "/etc/file/below"),
    ],
)
def test_a_path_is_resolved_as_inside(root: Path, path: str, expected: str) -> None:
    assert resolve(str(root), path) == f"{root}{expected}"


@pytest.mark.parametrize("path", ["/loop", "/loop/x", "/" + "x" * 300, "/a\0b"])
def test_what_cant_be_resolved_is_refused(root: Path, path: str) -> None:
    with pytest.raises(InvalidError):
        resolve(str(root), path)


NAMES = st.sampled_from(["a", "b", "c", "..", ".", "/", "//", "/a", "/../b", "a/b", "c/../.."])


@settings(max_examples=100)
@given(
    links=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(NAMES, min_size=1, max_size=4), max_size=3),
    path=st.lists(NAMES, min_size=1, max_size=6),
)
def test_no_links_lead_out_of_the_root(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, list[str]], path: list[str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for name, parts in links.items():
        (root / name).symlink_to("/".join(parts) or ".")
    try:
        resolved = resolve(str(root), "/".join(path))
    except InvalidError:
        return
    assert resolved == str(root) or resolved.startswith(f"{root}/")
    assert ".." not in resolved.split("/")
    assert os.path.realpath(resolved) == resolved


def test_a_file_is_read_inside_only(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    (root / "leak").symlink_to("../secret")
    os.mkfifo(root / "fifo")
    assert read_file(str(root), "/abs/file") == b"inside"
    assert read_file(str(root), "/leak") is None
    assert read_file(str(root), "/fifo") is None
    assert read_file(str(root), "/etc") is None


def test_a_working_directory_is_made_with_its_parents(root: Path) -> None:
    make_directories(str(root), "/lib/a/b", os.getuid(), os.getgid())
    assert (root / "usr/lib/a/b").is_dir()
    make_directories(str(root), "/", os.getuid(), os.getgid())
    with pytest.raises(InvalidError, match="is not a directory"):
        make_directories(str(root), "/etc/file/x", os.getuid(), os.getgid())


def snapshot(root: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in (root, *root.rglob("*")))


def test_stubs_are_made_and_taken_away_without_a_trace(root: Path) -> None:
    os.utime(root / "etc", ns=(5, 7))
    before = snapshot(root)
    with mount_points(str(root)) as points:
        assert points.file("/abs/hosts") == "/etc/hosts"
        assert points.file("/etc/resolv.conf") == "/etc/resolv.conf"
        assert points.directory("/run/a/b") == "/run/a/b"
        assert points.file("/run/a/b/file") == "/run/a/b/file"
        assert points.directory("/lib") == "/usr/lib"
        assert points.directory("/dangling") == "/made/later"
        assert (root / "run/a/b/file").is_file()
    assert snapshot(root) == before


def test_a_stub_that_was_filled_stays(root: Path) -> None:
    with mount_points(str(root)) as points:
        points.directory("/run/a")
        (root / "run/a/file").touch()
        points.file("/etc/stub")
        (root / "etc/stub").write_text("x")
        points.file("/etc/empty")
    assert (root / "run/a/file").exists()
    assert (root / "etc/stub").exists()
    assert not (root / "etc/empty").exists()


def test_a_parent_that_changed_keeps_its_new_time(root: Path) -> None:
    os.utime(root / "etc", ns=(5, 7))
    with mount_points(str(root)) as points:
        points.file("/etc/stub")
        (root / "etc/new").touch()
        os.utime(root / "etc", ns=(8, 99))
    assert (root / "etc").stat().st_mtime_ns != 7


def test_a_stub_that_became_something_else_stays(root: Path) -> None:
    with mount_points(str(root)) as points:
        points.file("/stub")
        (root / "stub").unlink()
        (root / "stub").symlink_to("etc")
        points.directory("/gone")
        (root / "gone").rmdir()
    assert (root / "stub").is_symlink()


@pytest.mark.parametrize(
    ("method", "target", "reason"),
    [
        ("file", "/etc", "can't mount a file at /etc: it is a directory"),
        ("directory", "/etc/file", "can't mount a directory at /etc/file: it is a file"),
        ("file", "/etc/file/below", "not a directory"),
        ("directory", "/etc/file/below/deeper", "not a directory"),
    ],
)
def test_a_place_of_the_wrong_kind_is_refused(root: Path, method: str, target: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        getattr(MountPoints(str(root)), method)(target)
