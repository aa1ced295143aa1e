"""Bytes change on disk behind the daemon's back: found out, named, and made good where that can be."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from e2e import traces
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


def flip(path: Path) -> None:
    """One byte in the middle."""
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


DAMAGES: dict[str, Callable[[Path], object]] = {"flipped": flip, "cut": cut, "deleted": Path.unlink}


def blob(yard: Yard, digest: str) -> Path:
    return yard.data / "blobs" / digest.replace(":", "/")


def digests(archive: Path) -> dict[str, str]:
    """Of the first image of an OCI archive: its manifest, its config, its last layer."""
    with tarfile.open(archive) as tar:

        def document(name: str) -> dict[str, object]:
            file = tar.extractfile(name)
            assert file
            return json.load(file)  # type: ignore[no-any-return]

        target = document("index.json")["manifests"][0]["digest"]  # type: ignore[index]
        manifest: dict[str, object] = document(f"blobs/{target.replace(':', '/')}")
    return {
        "manifest": target,
        "config": manifest["config"]["digest"],  # type: ignore[index]
        "layer": manifest["layers"][-1]["digest"],  # type: ignore[index]
    }


@pytest.fixture(scope="module")
def archive(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an image `hurt:1` whose /kept says `kept`."""
    directory = tmp_path_factory.mktemp("archive")
    context = write_files(directory, {"Dockerfile": "FROM busybox\nRUN echo kept > /kept\n"})
    path = directory / "hurt.tar"
    yard.run("build", "-o", f"type=oci,dest={path},name=hurt:1,compression=gzip,force-compression=true", context)
    return path


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_named_harms_no_other_and_is_whole_after_loading_it_again(
    yard: Yard, archive: Path, damage: str, part: str
) -> None:
    yard.run("image", "load", "-i", archive)
    digest = digests(archive)[part]
    DAMAGES[damage](blob(yard, digest))
    told = yard.fails("image", "save", "-o", os.devnull, "hurt:1")
    assert digest in told
    assert "fix:" in told
    listed = yard.run("image", "ls")
    assert "busybox" in listed.stdout and "hurt" in listed.stdout
    assert part == "layer" or digest in listed.stderr
    if part != "layer":
        assert digest in yard.fails("run", "--rm", "hurt:1", "true")
    yard.run("image", "load", "-i", archive)
    assert yard.run("run", "--rm", "hurt:1", "cat", "/kept").stdout == "kept\n"
    yard.run("image", "save", "-o", os.devnull, "hurt:1")
    yard.run("image", "rm", "hurt:1")


def test_a_damaged_image_can_be_removed(yard: Yard, archive: Path) -> None:
    yard.run("image", "load", "-i", archive)
    flip(blob(yard, digests(archive)["manifest"]))
    yard.run("image", "rm", "hurt:1")
    listed = yard.run("image", "ls")
    assert "hurt" not in listed.stdout + listed.stderr
    yard.run("image", "load", "-i", archive)
    yard.run("image", "rm", "hurt:1")


def test_a_snapshot_that_was_changed_is_found_out_by_saving_and_made_anew_by_building(
    yard: Yard, tmp_path: Path
) -> None:
    context = write_files(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo unharmed > /changed-behind\nRUN true\n"})
    yard.run("build", "-t", "changed:1", context)
    (found,) = (yard.data / "snapshots").glob("*/fs/changed-behind")
    found.write_text("tampered\n")
    told = yard.fails("image", "save", "-o", tmp_path / "saved.tar", "changed:1")
    assert str(found.parent) in told
    assert "build the image again" in told
    assert not (tmp_path / "saved.tar").exists()
    yard.run("build", "-t", "changed:1", context)
    yard.run("image", "save", "-o", tmp_path / "saved.tar", "changed:1")
    assert yard.run("run", "--rm", "changed:1", "cat", "/changed-behind").stdout == "unharmed\n"


def test_a_compressed_layer_that_was_damaged_is_made_again(yard: Yard, tmp_path: Path) -> None:
    context = write_files(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo packed > /packed\n"})
    out = tmp_path / "out.tar"
    build = ("build", "-o", f"type=oci,dest={out},compression=zstd,force-compression=true", context)
    yard.run(*build)
    first = out.read_bytes()
    yard.run(*build)  # kept in the store from the second time on
    assert out.read_bytes() == first
    layer = digests(out)["layer"]
    flip(blob(yard, layer))
    told = yard.fails(*build)
    assert layer in told
    assert out.read_bytes() == first  # what was there stays
    yard.run(*build)
    assert out.read_bytes() == first


def test_a_snapshot_that_vanished_is_built_anew(own_yard: Yard, tmp_path: Path) -> None:
    yard = own_yard  # its store no longer agrees with its rows: other tests look at that
    yard.run("bootstrap", "busybox")
    context = write_files(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo there > /vanishing\n"})
    yard.run("build", "-t", "vanishing:1", context)
    (found,) = (yard.data / "snapshots").glob("*/fs/vanishing")
    home = found.parent.parent
    home.rename(tmp_path / "elsewhere")
    told = yard.fails("run", "--rm", "vanishing:1", "true")
    assert str(found.parent) in told and "build or load the image again" in told
    yard.run("build", "-t", "vanishing:1", context)
    assert yard.run("run", "--rm", "vanishing:1", "cat", "/vanishing").stdout == "there\n"


def overwrite(path: Path) -> None:
    """From the middle on, as a failing disk or a wrong program does."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 3))


DATABASE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "overwritten": overwrite,
    "cut": cut,
    "emptied": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_a_damaged_cache_costs_a_rebuild_and_nothing_else(own_yard: Yard, tmp_path: Path, damage: str) -> None:
    yard = own_yard
    yard.run("bootstrap", "busybox")
    steps = "".join(f"RUN echo {number} > /f{number}\n" for number in range(10))
    context = write_files(tmp_path, {"Dockerfile": f"FROM busybox\n{steps}"})
    yard.run("build", "-t", "cached", context)
    assert yard.stop() == 0
    DATABASE_DAMAGES[damage](yard.data / "cache.db")
    yard.start()
    yard.run("build", "-t", "cached", context)
    told = yard.run("build", "--progress=plain", "-t", "cached", context).stderr
    assert told.count("CACHED") >= 10
    assert yard.run("run", "--rm", "cached", "cat", "/f9").stdout == "9\n"
    assert "cache.db is damaged" in yard.log
    assert "Traceback" not in yard.log
    assert traces.damage(yard) == []


@pytest.mark.parametrize("damage", ["overwritten", "emptied"])
def test_a_damaged_metadata_database_is_named_with_what_to_do(own_yard: Yard, tmp_path: Path, damage: str) -> None:
    yard = own_yard
    yard.run("bootstrap", "busybox")
    for number in range(3):
        yard.run("image", "tag", "busybox", f"named:{number}")
    assert yard.stop() == 0
    before = (yard.data / "meta.db").read_bytes()
    DATABASE_DAMAGES[damage](yard.data / "meta.db")
    with pytest.raises(AssertionError, match=r"meta\.db is damaged"):
        yard.start()
    assert "Traceback" not in yard.log
    assert "move it away" in yard.log
    # Nothing was touched: who has a copy loses nothing.
    (yard.data / "meta.db").write_bytes(before)
    yard.start()
    assert yard.run("image", "ls").stdout.count("named") == 3
    assert yard.run("run", "--rm", "named:1", "echo", "back").stdout == "back\n"
    # Who has none begins again.
    assert yard.stop() == 0
    (yard.data / "meta.db").rename(tmp_path / "meta.db")
    for rest in yard.data.glob("meta.db-*"):
        rest.unlink()
    yard.start()
    yard.run("bootstrap", "busybox")
    assert yard.run("run", "--rm", "busybox", "echo", "again").stdout == "again\n"


def test_a_damaged_record_of_the_history_is_named_and_hides_no_other(yard: Yard, tmp_path: Path) -> None:
    context = write_files(tmp_path / "history-one", {"Dockerfile": "FROM busybox\nRUN echo one\n"})
    other = write_files(tmp_path / "history-two", {"Dockerfile": "FROM busybox\nRUN echo two\n"})
    yard.run("build", context)
    newest = max((yard.data / "history").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    yard.run("build", other)
    flip_all(newest / "record.json")
    listed = yard.run("builder", "history").stdout
    assert "history-two" in listed and "history-one" not in listed
    told = yard.fails("builder", "logs", newest.name)
    assert newest.name in told and "damaged" in told and "fix:" in told
    yard.run("builder", "history", "--rm", newest.name)
    assert not newest.exists()


def flip_all(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 0xFF for byte in path.read_bytes()))


def test_a_cache_record_with_other_bytes_is_dropped(own_yard: Yard, tmp_path: Path) -> None:
    yard = own_yard
    yard.run("bootstrap", "busybox")
    context = write_files(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo 1 > /f\nRUN echo 2 > /g\n"})
    yard.run("build", "-t", "cached", context)
    assert yard.stop() == 0
    with closing(sqlite3.connect(yard.data / "cache.db")) as connection, connection:
        connection.execute("UPDATE records SET components = x'ff', results = '[\"nothing\"]'")
    yard.start()
    yard.run("build", "-t", "cached", context)
    assert yard.run("run", "--rm", "cached", "cat", "/f", "/g").stdout == "1\n2\n"
