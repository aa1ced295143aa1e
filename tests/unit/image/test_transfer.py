"""Images into and out of the store, through descriptors."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.errors import BoatyardError, LayerError
from boatyard.image import gc
from boatyard.image import reference as references
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.layer.store import LayerStore
from boatyard.image.lease import Leases
from boatyard.image.platform import parse as parse_platform
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.spec import RunConfig
from boatyard.image.store import Image, ImageStore
from boatyard.image.transfer import ImageTransfer, Loaded, Saved

AMD64 = parse_platform("linux/amd64")


class Dock:
    """A store, and files to load from and save to."""

    def __init__(self, root: Path) -> None:
        database = Database(":memory:")
        self.root = root
        self.content = MemoryStore()
        self.snapshots = CopyingSnapshotter(root / "snapshots")
        self.layers = LayerStore(database, self.content, self.snapshots)
        self.images = ImageStore(database, self.content)
        self.leases = Leases(database)
        self.transfer = ImageTransfer(self.images, self.layers, self.leases)

    def import_tar(self, data: bytes, name: str | None = None) -> Loaded:
        path = self.root / "import.tar"
        path.write_bytes(data)
        reference = references.parse(name).with_default_tag() if name else None
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return self.transfer.import_rootfs(descriptor, reference, AMD64, RunConfig(), "", 1000.0)
        finally:
            os.close(descriptor)

    def save(self, *texts: str, on_progress: object = None) -> Saved:
        def told(what: str, current: int, total: int) -> None:
            if callable(on_progress):
                on_progress()

        with open(self.root / "saved.tar", "wb") as file:
            return self.transfer.save(
                [(text, self.images.resolve(text)) for text in texts],
                file.fileno(),
                docker=True,
                wanted_platforms=(),
                compression="",
                level=None,
                told=told,
            )

    def load(self) -> Loaded:
        with open(self.root / "saved.tar", "rb") as file:
            return self.transfer.load(file.fileno(), lambda what, current, total: None)

    def empty(self) -> None:
        for image in self.images.list():
            self.images.remove(image.name)
        self.sweep()

    def sweep(self) -> None:
        gc.collect(self.content, self.layers, self.images, self.leases, grace=0.0, now=2e9)


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def dock(tmp_path: Path) -> Iterator[Dock]:
    dock = Dock(tmp_path)
    yield dock
    assert os.listdir(tmp_path / "snapshots/.active") == []
    assert dock.leases.held().blobs == frozenset()


def named(images: list[Image]) -> list[str]:
    return sorted(image.reference.familiar() for image in images if image.reference)


def test_an_imported_tar_comes_back_from_its_archive(dock: Dock) -> None:
    (id,) = dock.import_tar(tar(hello=b"world"), "app").ids
    dock.save("app")
    dock.empty()
    assert list(dock.layers.walk()) == []
    loaded = dock.load()
    assert (loaded.names, loaded.ids) == (("app:latest",), (id,))


def test_a_name_that_could_begin_an_id_is_saved_under_that_name_alone(dock: Dock) -> None:
    dock.import_tar(tar(hello=b"world"), "other")
    (target,) = [image.target for image in dock.images.list()]
    for letter in "0123456789abcdef":
        dock.images.put(references.parse(letter).with_default_tag(), target)
    dock.save("a")
    dock.empty()
    assert dock.load().names == ("a:latest",)


def test_an_id_is_saved_under_all_of_its_names(dock: Dock) -> None:
    (id,) = dock.import_tar(tar(hello=b"world"), "one").ids
    dock.images.put(references.parse("two").with_default_tag(), dock.images.list()[0].target)
    dock.save(id)
    dock.empty()
    dock.load()
    assert named(dock.images.list()) == ["one:latest", "two:latest"]


def test_an_image_that_is_removed_while_it_is_saved_is_saved_whole(dock: Dock) -> None:
    dock.import_tar(tar(hello=os.urandom(3 << 20)), "app")
    saved = dock.save("app", on_progress=dock.empty)
    dock.empty()
    assert list(dock.layers.walk()) == []
    assert saved.bytes > 3 << 20
    assert dock.load().names == ("app:latest",)


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, tar(hello=b"world")[:600]])
def test_a_tar_that_is_none_leaves_nothing(dock: Dock, data: bytes) -> None:
    try:
        dock.import_tar(data, "app")
    except LayerError as error:
        assert error.hint
    except BoatyardError:
        pass
    else:
        dock.empty()
    assert dock.images.list() == []
    assert list(dock.layers.walk()) == []
    assert list(dock.snapshots.walk()) == []
