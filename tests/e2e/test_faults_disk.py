"""Full disks: the message says so, nothing half done stays, the daemon lives on, and pruning makes it useful again."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e import traces
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

FULL = "No space left on device"


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A daemon whose root is on a disk of 48 MB, with the image `busybox`."""
    yard = Yard(tmp_path_factory.mktemp("cramped"))
    with small_disk(yard.data, "48m"):
        yard.start()
        yard.run("bootstrap", "busybox")
        yield yard
        assert yard.stop() == 0, yard.log


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 MB that nothing makes smaller."""
    path = tmp_path_factory.mktemp("random") / "big"
    path.write_bytes(os.urandom(60 << 20))
    return path


def free(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def context(directory: Path, dockerfile: str, big: Path | None = None) -> Path:
    write_files(directory, {"Dockerfile": dockerfile})
    if big:
        os.link(big, directory / "big")
    return directory


def bundle(big: Path, path: Path) -> Path:
    """A root file system that is too large."""
    with tarfile.open(path, "w") as tar:
        tar.add(big, "big")
    return path


def image_archive(yard: Yard, big: Path, directory: Path) -> Path:
    """An image that is too large, made by a daemon that has the room."""
    archive = directory / "image.tar"
    yard.run(
        "build",
        "-o",
        f"type=oci,dest={archive},name=large:1",
        context(directory / "c", "FROM scratch\nCOPY big /\n", big),
    )
    return archive


@pytest.fixture
def attempts(yard: Yard, random_file: Path, tmp_path: Path) -> dict[str, Callable[[], list[str]]]:
    def step() -> list[str]:
        return ["build", str(context(tmp_path / "a", "FROM busybox\nRUN cat /dev/zero > /big\n"))]

    def copy() -> list[str]:
        return ["build", str(context(tmp_path / "b", "FROM busybox\nCOPY big /\n", random_file))]

    def load() -> list[str]:
        return ["image", "load", "-i", str(image_archive(yard, random_file, tmp_path))]

    def import_() -> list[str]:
        return ["image", "import", str(bundle(random_file, tmp_path / "rootfs.tar")), "imported:1"]

    return {"a step": step, "a copy": copy, "loading": load, "importing": import_}


@pytest.mark.parametrize("attempt", ["a step", "a copy", "loading", "importing"])
def test_what_does_not_fit_fails_clearly_and_leaves_nothing(
    cramped: Yard, attempts: dict[str, Callable[[], list[str]]], attempt: str
) -> None:
    before = free(cramped.data)
    told = cramped.fails(*attempts[attempt]())
    assert FULL in told
    assert "fix:" in told and "boat builder prune" in told
    assert traces.on_disk(cramped) == []
    assert free(cramped.data) > before - (1 << 20)  # but for some rows and the history
    assert cramped.run("run", "--rm", "busybox", "echo", "alive").stdout == "alive\n"


def test_an_export_to_a_full_target_leaves_no_part_of_a_file(cramped: Yard, tmp_path: Path) -> None:
    made = context(tmp_path / "made", "FROM scratch\nCOPY --from=busybox /bin /bin\nCOPY big /\n")
    (made / "big").write_bytes(os.urandom(4 << 20))
    cramped.run("build", "-t", "exported:1", made)
    with small_disk(tmp_path / "target", "1m") as target:
        for output in (f"type=oci,dest={target}/o", f"type=docker,dest={target}/d", f"type=tar,dest={target}/t"):
            told = cramped.fails("build", "-o", output, made)
            assert FULL in told and "fix:" in told
            assert list(target.iterdir()) == []
        told = cramped.fails("image", "save", "-o", target / "s", "exported:1")
        assert FULL in told and "fix:" in told
        assert list(target.iterdir()) == []
        told = cramped.fails("build", "-o", f"type=local,dest={target}/l", made)
        assert FULL in told and "fix:" in told
        (target / "rest").write_bytes(bytes(free(target)))
        told = cramped.fails("build", "--iidfile", target / "id", made)
        assert f"can't write {target}/id: {FULL}" in told.replace("\n  why", "")
    cramped.run("image", "rm", "exported:1")


def test_on_a_disk_without_a_free_byte_images_can_be_removed_and_the_cache_pruned(
    own_yard: Yard, tmp_path: Path
) -> None:
    yard = own_yard
    assert yard.stop() == 0
    with small_disk(yard.data, "48m"):
        yard.start()
        yard.run("bootstrap", "busybox")
        made = context(tmp_path / "made", "FROM busybox\nARG N\nRUN head -c 5000000 /dev/urandom > /big; echo $N\n")
        for number in range(2):
            yard.run("build", "-t", f"made:{number}", "--build-arg", f"N={number}", made)
        assert yard.stop() == 0
        yard.start()  # what it kept for the worst case is still there
        with open(yard.data / "fill", "wb") as file, pytest.raises(OSError, match=FULL):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        assert free(yard.data) == 0
        told = yard.fails("build", "-t", "made:2", "--build-arg", "N=2", made)
        assert "full" in told or FULL in told
        assert "boat builder prune" in told
        assert FULL in yard.fails("bootstrap", "busybox")
        assert yard.run("run", "--rm", "made:0", "echo", "alive").stdout == "alive\n"
        yard.run("image", "rm", "made:0", "made:1")
        yard.run("builder", "prune", "-af")
        assert free(yard.data) > 8 << 20
        yard.run("build", "-t", "made:2", "--build-arg", "N=2", made)
        assert yard.run("run", "--rm", "made:2", "wc", "-c", "/big").stdout.startswith("5000000")
        assert traces.damage(yard) == []
        assert yard.stop() == 0
