from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from boatyard.errors import IntegrityError, NotFoundError, StorageError, UnavailableError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.archive.contents import ArchivedImage, StoredLayers
from boatyard.image.archive.writer import ArchiveWriter, Sink, TarWriter, write_archive
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.content.memory import MemoryStore
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor
from fixtures.images import AMD64, ARM64, layer_tar, make_attestation, make_image, make_index


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def image(store: MemoryStore) -> Descriptor:
    return make_image(store, [layer_tar({"a": b"a" * 3_000_000}), layer_tar({"b": b"b"})])


def written(store: MemoryStore, *images: ArchivedImage, **options: Any) -> bytes:
    out = io.BytesIO()
    assert write_archive(out, images, store, StoredLayers(store), **options) == len(out.getvalue())
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: file.read() if (file := tar.extractfile(entry)) else b"" for entry in tar}


def test_every_blob_lies_under_its_digest(store: MemoryStore, image: Descriptor) -> None:
    files = members(written(store, ArchivedImage(image)))
    blobs = {name: data for name, data in files.items() if name.startswith("blobs/sha256/")}
    assert len(blobs) == 4
    assert all("blobs/" + digests.of_bytes(data).replace(":", "/") == name for name, data in blobs.items())
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_names_stand_in_both_lists(store: MemoryStore, image: Descriptor) -> None:
    names = ("docker.io/library/tool:1", "example.org/tool:latest", f"docker.io/library/tool@{image.digest}")
    files = members(written(store, ArchivedImage(image, names)))
    index = json.loads(files["index.json"])
    assert [entry["annotations"] for entry in index["manifests"]] == [
        {"io.containerd.image.name": "docker.io/library/tool:1", "org.opencontainers.image.ref.name": "1"},
        {"io.containerd.image.name": f"docker.io/library/tool@{image.digest}"},
        {"io.containerd.image.name": "example.org/tool:latest", "org.opencontainers.image.ref.name": "latest"},
    ]
    (docker,) = json.loads(files["manifest.json"])
    manifest = documents.read_manifest(store, image)
    assert docker["RepoTags"] == ["tool:1", "example.org/tool:latest"]
    assert docker["Config"] == "blobs/" + manifest.config.digest.replace(":", "/")
    assert docker["Layers"] == ["blobs/" + layer.digest.replace(":", "/") for layer in manifest.layers]


def test_the_same_images_give_the_same_bytes(store: MemoryStore, image: Descriptor) -> None:
    other = make_image(store, platform=ARM64)
    once = written(
        store, ArchivedImage(image, ("docker.io/library/b:1", "docker.io/library/a:1")), ArchivedImage(other)
    )
    again = written(
        store, ArchivedImage(image, ("docker.io/library/a:1", "docker.io/library/b:1")), ArchivedImage(other)
    )
    assert once == again
    with tarfile.open(fileobj=io.BytesIO(once)) as tar:
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in tar} == {(0, 0, 0, "")}
    with tarfile.open(fileobj=io.BytesIO(written(store, ArchivedImage(image), epoch=1_700_000_000))) as tar:
        assert {entry.mtime for entry in tar} == {1_700_000_000}


def test_layers_come_first_and_lists_last(store: MemoryStore, image: Descriptor) -> None:
    names = list(members(written(store, ArchivedImage(image))))
    layers = [f"blobs/{layer.digest.replace(':', '/')}" for layer in documents.read_manifest(store, image).layers]
    assert names[:4] == ["blobs", "blobs/sha256", *layers]
    assert names[-3:] == ["index.json", "manifest.json", "oci-layout"]


def test_the_docker_list_can_be_left_out(store: MemoryStore, image: Descriptor) -> None:
    assert "manifest.json" not in members(written(store, ArchivedImage(image), docker=False))


def test_an_index_is_written_with_all_its_platforms_and_attestations(store: MemoryStore, image: Descriptor) -> None:
    arm = make_image(store, platform=ARM64)
    attestation = make_attestation(store, image.digest)
    index = make_index(store, [image, arm, attestation])
    files = members(written(store, ArchivedImage(index), platform=ARM64))
    for descriptor in (index, image, arm, attestation):
        assert "blobs/" + descriptor.digest.replace(":", "/") in files
    (docker,) = json.loads(files["manifest.json"])
    assert docker["Config"].endswith(digests.encoded(documents.read_manifest(store, arm).config.digest))


def test_platforms_that_were_never_fetched_are_left_out(store: MemoryStore, image: Descriptor) -> None:
    absent = Descriptor(media_type=spec.OCI_MANIFEST, digest=digests.of_bytes(b"x"), size=1, platform=ARM64)
    files = members(written(store, ArchivedImage(make_index(store, [absent, image]))))
    assert len([name for name in files if name.startswith("blobs/sha256/")]) == 5
    with pytest.raises(NotFoundError, match="no manifest of sha256"):
        written(store, ArchivedImage(make_index(store, [absent])))


def test_shared_layers_are_written_once(store: MemoryStore) -> None:
    layers = [layer_tar({"base": b""})]
    one, two = make_image(store, layers, labels={"n": "1"}), make_image(store, layers, labels={"n": "2"})
    files = members(written(store, ArchivedImage(one), ArchivedImage(two)))
    assert len([name for name in files if name.startswith("blobs/sha256/")]) == 5


class Remade:
    """Layers that are in no content store."""

    def __init__(self, layers: dict[Digest, bytes]) -> None:
        self.layers = layers
        self.asked: list[Digest | None] = []

    @contextmanager
    def open_layer(self, descriptor: Descriptor, diff_id: Digest | None) -> Iterator[BinaryIO]:
        self.asked.append(diff_id)
        yield io.BytesIO(self.layers[descriptor.digest])


def test_virtual_layers_come_from_whoever_makes_them(store: MemoryStore) -> None:
    layer = layer_tar({"a": b"a"})
    digest = digests.of_bytes(layer)
    image = make_image(store, [layer], layer_type=spec.OCI_LAYER, virtual=True)
    source = Remade({digest: layer})
    out = io.BytesIO()
    write_archive(out, [ArchivedImage(image)], store, source)
    assert members(out.getvalue())["blobs/" + digest.replace(":", "/")] == layer
    assert source.asked == [digest]


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"!"])
def test_a_layer_of_another_size_is_an_error(store: MemoryStore, change: Any) -> None:
    layer = layer_tar({"a": b"a"})
    image = make_image(store, [layer], layer_type=spec.OCI_LAYER, virtual=True)
    with pytest.raises(IntegrityError, match="bytes"):
        write_archive(io.BytesIO(), [ArchivedImage(image)], store, Remade({digests.of_bytes(layer): change(layer)}))


def test_a_damaged_layer_is_named(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    image = make_image(store)
    path = store.path(documents.read_manifest(store, image).layers[0].digest)
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=str(path)):
        write_archive(io.BytesIO(), [ArchivedImage(image)], store, StoredLayers(store))


def test_a_pipe_can_be_written_to(store: MemoryStore, image: Descriptor) -> None:
    reading, writing = os.pipe()
    received = bytearray()

    def drain() -> None:
        with open(reading, "rb") as file:
            received.extend(file.read())

    thread = threading.Thread(target=drain)
    thread.start()
    with open(writing, "wb", buffering=0) as out:
        write_archive(out, [ArchivedImage(image)], store, StoredLayers(store))
    thread.join()
    assert bytes(received) == written(store, ArchivedImage(image))


def test_a_reader_that_goes_away_is_a_clear_error(store: MemoryStore, image: Descriptor) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as out, pytest.raises(UnavailableError, match="went away"):
        write_archive(out, [ArchivedImage(image)], store, StoredLayers(store))


def test_a_full_disk_is_a_clear_error(store: MemoryStore, image: Descriptor) -> None:
    with open("/dev/full", "wb", buffering=0) as out, pytest.raises(StorageError, match="No space left") as caught:
        write_archive(out, [ArchivedImage(image)], store, StoredLayers(store))
    assert caught.value.hint


def test_progress_counts_every_byte(store: MemoryStore, image: Descriptor) -> None:
    counts: list[int] = []
    data = written(store, ArchivedImage(image), on_bytes=counts.append)
    assert sum(counts) == len(data)
    assert documents.read_image(store, image, AMD64).platform == AMD64


def made(store: MemoryStore, image: Descriptor, out: BinaryIO) -> ArchiveWriter:
    """An archive whose layers are written before their digests are known."""
    archive = ArchiveWriter(out, 0)
    for layer in documents.read_manifest(store, image).layers:
        data = store.open(layer.digest).read()

        def produce(sink: Sink, data: bytes = data, layer: Descriptor = layer) -> Descriptor:
            for start in range(0, len(data), 1000):
                sink.write(data[start : start + 1000])
            return layer

        archive.make(produce)
    archive.finish([ArchivedImage(image)], store, StoredLayers(store))
    return archive


def test_layers_that_are_made_into_the_archive_give_the_same_bytes(store: MemoryStore, tmp_path: Path) -> None:
    image = make_image(store, [layer_tar({"a": os.urandom(30_000)}), layer_tar({"b": b"b"})])
    with open(tmp_path / "made", "wb", buffering=0) as out:
        archive = made(store, image, out)
        assert archive.size == out.tell()
    assert (tmp_path / "made").read_bytes() == written(store, ArchivedImage(image))


def test_a_layer_that_is_made_twice_is_in_the_archive_once(store: MemoryStore, tmp_path: Path) -> None:
    layer = layer_tar({"a": os.urandom(30_000)})
    image = make_image(store, [layer, layer])
    with open(tmp_path / "made", "wb", buffering=0) as out:
        made(store, image, out)
    assert (tmp_path / "made").read_bytes() == written(store, ArchivedImage(image))


def test_an_entry_of_more_than_eight_gib_can_be_read(tmp_path: Path) -> None:
    huge = (8 << 30) + 5
    with open(tmp_path / "sparse", "wb", buffering=0) as out:
        tar = TarWriter(out, 0)
        with tar.reserved() as entry:
            out.seek(huge, os.SEEK_CUR)
            entry.name, entry.size = "blobs/sha256/" + "0" * 64, huge
            tar.size += huge
        tar.file("after", b"it")
        tar.end()
    with tarfile.open(tmp_path / "sparse") as read:
        assert [(member.name[-5:], member.size) for member in read] == [("00000", huge), ("after", 2)]
