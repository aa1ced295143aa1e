"""Layers that begin as others did have the digests that hashing all of them gives."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.diff import write_layer
from boatyard.image.layer.digesting import Digester
from boatyard.image.layer.tracing import CHUNK, Traces, TracingDigester


class Reads(TracingDigester):
    """Counts what it is given."""

    given = 0

    def write(self, data: memoryview | bytes, /) -> int:
        self.given += len(data)
        return super().write(data)


def plainly(directory: Path) -> tuple[str, int, int]:
    digester = Digester()
    write_layer(directory, digester)
    return digester.close(), *digester.checksum


def traced(directory: Path, traces: Traces) -> tuple[tuple[str, int, int], int]:
    """What `plainly` gives, and how many bytes were read for it."""
    digester = Reads(traces.all())
    write_layer(directory, digester, tracer=digester)
    digest = digester.close()
    traces.keep(LayerId(str(directory)), digester.trace)
    return (digest, *digester.checksum), digester.given


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A tree of 7 MiB with whatever a layer may have."""
    root = tmp_path / "first"
    source = random.Random(3)
    for number in range(600):
        path = root / f"d{number // 100}/f{number:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(8000))
    (root / "d1/big").write_bytes(source.randbytes(2 * CHUNK + 77))
    with open(root / "d3/sparse", "wb") as sparse:
        sparse.seek(3 * CHUNK)
        sparse.write(b"end")
    (root / "d2/link").symlink_to("f200")
    os.link(root / "d0/f001", root / "d4/again")
    os.mkfifo(root / "d2/pipe")
    (root / "empty").mkdir()
    return root


def copied(first: Path, name: str) -> Path:
    """Another version of the tree, as a copy that reuses everything."""
    target = first.parent / name
    shutil.copytree(first, target, symlinks=True, copy_function=os.link, ignore=shutil.ignore_patterns("pipe"))
    os.mkfifo(target / "d2/pipe")
    status = os.stat(first / "d2/pipe")
    os.utime(target / "d2/pipe", ns=(status.st_atime_ns, status.st_mtime_ns))
    for directory, _, _ in os.walk(first):
        status = os.stat(directory)
        place = target / os.path.relpath(directory, first)
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    return target


def replaced(path: Path, data: bytes) -> None:
    status = os.stat(path.parent)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    os.utime(path.parent, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "the first file": lambda root: replaced(root / "d0/f000", b"x" * 8000),
    "a file in the middle": lambda root: replaced(root / "d3/f333", b"x" * 8000),
    "a file's length": lambda root: replaced(root / "d3/f333", b"x" * 9000),
    "the last file": lambda root: replaced(root / "d5/f599", b"x"),
    "what comes after a large file": lambda root: replaced(root / "d1/f100", b"x" * 8000),
    "a large file": lambda root: replaced(root / "d1/big", b"x" * (2 * CHUNK + 77)),
    "what comes after a sparse file": lambda root: replaced(root / "d4/again", b"no link any more"),
    "a new file": lambda root: replaced(root / "d2/f2000", b"new"),
    "a file less": lambda root: (root / "d4/f444").unlink(),
    "a directory's mode": lambda root: (root / "d4").chmod(0o700),
    "a directory's xattrs": lambda root: os.setxattr(root / "d4", "user.some", b"thing"),
    "a link's target": lambda root: ((root / "d2/link").unlink(), (root / "d2/link").symlink_to("f201")),
    "the root's mode": lambda root: root.chmod(0o700),
    "more at the end": lambda root: replaced(root / "zzz", b"z" * CHUNK),
    "all of it": lambda root: [replaced(path, b"other") for path in root.glob("d*/f*")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tree_has_the_digest_that_hashing_it_whole_gives(first: Path, change: str) -> None:
    traces = Traces()
    assert traced(first, traces)[0] == plainly(first)
    second = copied(first, "second")
    CHANGES[change](second)
    assert traced(second, traces)[0] == plainly(second)
    third = copied(second, "third")
    replaced(third / "d4/f400", b"third")
    assert traced(third, traces)[0] == plainly(third)
    assert traced(first, traces)[0] == plainly(first)


def test_what_comes_before_a_change_is_not_read_again(first: Path) -> None:
    traces = Traces()
    _, whole = traced(first, traces)
    second = copied(first, "second")
    replaced(second / "d5/f550", b"x" * 8000)
    _, given = traced(second, traces)
    assert given < whole / 5


def test_random_changes(first: Path) -> None:
    source = random.Random(11)
    traces = Traces()
    traced(first, traces)
    earlier = first
    for number in range(12):
        tree = copied(earlier, f"tree{number}")
        files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
        for path in source.sample(files, source.choice((1, 1, 2, 30))):
            replaced(path, source.randbytes(source.choice((0, 10, 8000, CHUNK - 512, CHUNK, CHUNK + 1))))
        assert traced(tree, traces)[0] == plainly(tree)
        earlier = tree


def test_a_layer_that_is_forgotten_is_not_built_upon(first: Path) -> None:
    traces = Traces()
    traced(first, traces)
    traces.forget(LayerId(str(first)))
    assert traces.all() == ()
