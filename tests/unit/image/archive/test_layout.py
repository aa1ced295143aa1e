from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.archive import layout
from boatyard.image.archive.contents import ArchivedImage, StoredLayers
from boatyard.image.content.memory import MemoryStore
from boatyard.image.spec import Descriptor
from fixtures.images import AMD64, ARM64, layer_tar, make_attestation, make_image, make_index

ONE, TWO = "docker.io/library/tool:1", "docker.io/library/tool:2"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def taken() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def image(store: MemoryStore) -> Descriptor:
    return make_image(store)


def write(directory: Path, store: MemoryStore, *images: ArchivedImage) -> None:
    layout.write_layout(directory, images, store, StoredLayers(store))


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_an_image_goes_into_a_layout_and_out_again(
    tmp_path: Path, store: MemoryStore, taken: MemoryStore, image: Descriptor
) -> None:
    write(tmp_path / "new", store, ArchivedImage(image, (ONE,)))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["blobs", "index.json", "oci-layout"]
    with opened(tmp_path / "new") as fd:
        assert layout.images(fd) == (ArchivedImage(image, (ONE,)),)
        assert layout.take(fd, taken) == image
    assert {info.digest for info in taken.walk()} == {info.digest for info in store.walk()}


def test_images_are_added_to_a_layout_and_names_are_replaced(tmp_path: Path, store: MemoryStore) -> None:
    first, second, third = (make_image(store, labels={"n": str(n)}) for n in range(3))
    write(tmp_path, store, ArchivedImage(first, (ONE,)))
    write(tmp_path, store, ArchivedImage(second, (TWO,)))
    write(tmp_path, store, ArchivedImage(third, (ONE,)))
    write(tmp_path, store, ArchivedImage(first))
    write(tmp_path, store, ArchivedImage(first))
    with opened(tmp_path) as fd:
        assert {image.names: image.target.digest for image in layout.images(fd)} == {
            (TWO,): second.digest,
            (ONE,): third.digest,
            (): first.digest,
        }


def test_an_image_is_chosen_by_tag_or_digest(tmp_path: Path, store: MemoryStore, taken: MemoryStore) -> None:
    first, second = (make_image(store, labels={"n": str(n)}) for n in range(2))
    write(tmp_path, store, ArchivedImage(first, (ONE,)), ArchivedImage(second, (TWO,)))
    with opened(tmp_path) as fd:
        assert layout.take(fd, taken, tag="2") == second
        assert layout.take(fd, taken, digest=first.digest) == first
        with pytest.raises(NotFoundError, match="no image tagged latest; it has 1, 2"):
            layout.take(fd, taken)
        with pytest.raises(NotFoundError, match="no image tagged 3"):
            layout.take(fd, taken, tag="3")
        with pytest.raises(NotFoundError, match="no blob"):
            layout.take(fd, taken, digest=digests.of_bytes(b"absent"))


def test_a_bare_reference_name_is_a_tag(tmp_path: Path, store: MemoryStore, taken: MemoryStore) -> None:
    first, second = (make_image(store, labels={"n": str(n)}) for n in range(2))
    write(tmp_path, store, ArchivedImage(first, (ONE,)), ArchivedImage(second, (TWO,)))
    index = json.loads((tmp_path / "index.json").read_bytes())
    for entry in index["manifests"]:
        del entry["annotations"]["io.containerd.image.name"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    with opened(tmp_path) as fd:
        assert layout.take(fd, taken, tag="2") == second


def test_any_document_of_a_layout_can_be_taken_by_digest(
    tmp_path: Path, store: MemoryStore, taken: MemoryStore, image: Descriptor
) -> None:
    write(tmp_path, store, ArchivedImage(make_index(store, [image, make_image(store, platform=ARM64)]), (ONE,)))
    with opened(tmp_path) as fd:
        found = layout.take(fd, taken, digest=image.digest)
        assert (found.digest, found.media_type) == (image.digest, spec.OCI_MANIFEST)
        with pytest.raises(InvalidError):
            layout.take(fd, taken, digest=documents.read_manifest(store, image).layers[0].digest)


def test_only_the_wanted_platform_is_copied(
    tmp_path: Path, store: MemoryStore, taken: MemoryStore, image: Descriptor
) -> None:
    arm = make_image(store, [layer_tar({"arm": b""})], platform=ARM64)
    index = make_index(store, [make_index(store, [image]), arm, make_attestation(store, arm.digest)])
    write(tmp_path, store, ArchivedImage(index, (ONE,)))
    with opened(tmp_path) as fd:
        assert layout.take(fd, taken, platform=AMD64) == index
    assert documents.read_image(taken, index, AMD64).descriptor.digest == image.digest
    assert taken.info(arm.digest) is None
    assert len(list(taken.walk())) == 5


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_layer_is_not_taken(
    tmp_path: Path, store: MemoryStore, taken: MemoryStore, image: Descriptor, damage: str
) -> None:
    write(tmp_path, store, ArchivedImage(image, (ONE,)))
    digest = documents.read_manifest(store, image).layers[0].digest
    path = tmp_path / "blobs/sha256" / digests.encoded(digest)
    data = path.read_bytes()
    path.unlink()
    if damage != "remove":
        path.write_bytes(data[:-1] + (bytes([data[-1] ^ 1]) if damage == "flip" else b""))
    with opened(tmp_path) as fd, pytest.raises((IntegrityError, NotFoundError), match=digest):
        layout.take(fd, taken)
    assert list(taken.walk()) == []


def test_what_is_no_layout_is_said_to_be_none(tmp_path: Path, taken: MemoryStore) -> None:
    with opened(tmp_path) as fd, pytest.raises(NotFoundError, match="no OCI image layout: it has no oci-layout"):
        layout.take(fd, taken)
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    (tmp_path / "index.json").write_text("{}")
    with opened(tmp_path) as fd, pytest.raises(UnsupportedError, match=r"2\.0\.0"):
        layout.take(fd, taken)
    (tmp_path / "oci-layout").write_text("nonsense")
    with opened(tmp_path) as fd, pytest.raises(InvalidError):
        layout.take(fd, taken)


def test_a_pipe_in_a_layout_does_not_block(tmp_path: Path, taken: MemoryStore) -> None:
    os.mkfifo(tmp_path / "oci-layout")
    with opened(tmp_path) as fd, pytest.raises(InvalidError, match="not a regular file"):
        layout.take(fd, taken)


def test_a_failed_export_leaves_the_index_as_it_was(tmp_path: Path, store: MemoryStore, image: Descriptor) -> None:
    write(tmp_path, store, ArchivedImage(image, (ONE,)))
    before = (tmp_path / "index.json").read_bytes()
    broken = make_image(store, [layer_tar({"x": b""})], virtual=True)
    with pytest.raises(NotFoundError):
        write(tmp_path, store, ArchivedImage(broken, (ONE,)))
    assert (tmp_path / "index.json").read_bytes() == before
    assert not (tmp_path / "ingest").exists()
