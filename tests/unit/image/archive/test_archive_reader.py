from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import random
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import IntegrityError, InvalidError, NotFoundError, StorageError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.archive.contents import ArchivedImage, StoredLayers
from boatyard.image.archive.reader import read_archive
from boatyard.image.archive.writer import write_archive
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.content.memory import MemoryStore
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor
from fixtures.images import ARM64, compressed, layer_tar, make_attestation, make_config, make_image, make_index

ONE, TWO = "docker.io/library/tool:1", "example.org/tool:2"
LAYERS = [layer_tar({"a": b"a" * 2_000_000}), layer_tar({"b": b"b"})]


@dataclass(frozen=True)
class Link:
    """A symbolic or hard link in an archive."""

    target: str
    hard: bool = False


def pack(entries: Sequence[tuple[str, bytes | Link | None]]) -> bytes:
    """A tar of files, links and directories (None), in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, Link):
                entry.type = tarfile.LNKTYPE if content.hard else tarfile.SYMTYPE
                entry.linkname = content.target
            else:
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def unpack(data: bytes) -> list[tuple[str, bytes | Link | None]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(entry.name, file.read() if (file := tar.extractfile(entry)) else None) for entry in tar]


def load(data: bytes, store: MemoryStore) -> tuple[ArchivedImage, ...]:
    return read_archive(io.BytesIO(data), store)


def save(store: MemoryStore, *images: ArchivedImage, docker: bool = True) -> bytes:
    out = io.BytesIO()
    write_archive(out, images, store, StoredLayers(store), docker=docker)
    return out.getvalue()


def docker_save(
    layers: Sequence[bytes] = LAYERS, tags: Sequence[str] | None = ("tool:1",), **changes: bytes | Link | None
) -> list[tuple[str, bytes | Link | None]]:
    """What `docker save` before version 25 writes; `changes` replace entries, whose names have _ for / and .; None
    leaves one out."""
    config = spec.encode(make_config(layers))
    name = digests.encoded(digests.of_bytes(config)) + ".json"
    directories = [f"{number:064x}" for number in range(len(layers))]
    entries: list[tuple[str, bytes | Link | None]] = []
    for directory, layer in zip(directories, layers, strict=True):
        entries += [
            (directory, None),
            (f"{directory}/VERSION", b"1.0"),
            (f"{directory}/json", b"{}"),
            (f"{directory}/layer.tar", layer),
        ]
    listed = [{"Config": name, "RepoTags": tags, "Layers": [f"{each}/layer.tar" for each in directories]}]
    entries += [(name, config), ("manifest.json", json.dumps(listed).encode()), ("repositories", b"{}")]
    return [(name, changes.get(name.replace("/", "_").replace(".", "_"), content)) for name, content in entries]


@pytest.fixture
def source() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def image(source: MemoryStore) -> Descriptor:
    return make_image(source, LAYERS)


def digests_in(store: MemoryStore) -> set[Digest]:
    return {info.digest for info in store.walk()}


@pytest.mark.parametrize("docker", [True, False])
def test_what_was_written_is_read_back(
    source: MemoryStore, store: MemoryStore, image: Descriptor, docker: bool
) -> None:
    other = make_image(source, platform=ARM64)
    index = make_index(source, [image, other, make_attestation(source, image.digest)])
    images = (ArchivedImage(index, (ONE, TWO)), ArchivedImage(other))
    assert load(save(source, *images, docker=docker), store) == images
    assert digests_in(store) == digests_in(source)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bz2.compress])
def test_compressed_archives_are_read(
    source: MemoryStore, store: MemoryStore, image: Descriptor, compress: Callable[[bytes], bytes]
) -> None:
    assert load(compress(save(source, ArchivedImage(image, (ONE,)))), store) == (ArchivedImage(image, (ONE,)),)


def test_entries_may_come_in_any_order(source: MemoryStore, image: Descriptor) -> None:
    entries = [*unpack(save(source, ArchivedImage(image, (ONE,)))), ("./junk", b"junk")]
    for seed in range(5):
        random.Random(seed).shuffle(entries)
        store = MemoryStore()
        assert load(pack(entries), store) == (ArchivedImage(image, (ONE,)),)
        assert digests_in(store) == digests_in(source)


def test_a_pipe_is_enough(source: MemoryStore, store: MemoryStore, image: Descriptor) -> None:
    data = gzip.compress(save(source, ArchivedImage(image, (ONE,))), 1)
    reading, writing = os.pipe()

    def feed() -> None:
        with open(writing, "wb", buffering=0) as out:
            out.write(data[:1])
            out.write(data[1:5])
            view = memoryview(data)[5:]
            while view:
                view = view[out.write(view) :]

    thread = threading.Thread(target=feed)
    thread.start()
    with open(reading, "rb") as file:
        assert read_archive(file, store) == (ArchivedImage(image, (ONE,)),)
    thread.join()


def test_the_layout_of_old_dockers_is_read(store: MemoryStore) -> None:
    (image,) = load(pack(docker_save()), store)
    found = documents.read_image(store, image.target)
    assert image.names == (ONE,)
    assert found.descriptor.media_type == spec.DOCKER_MANIFEST
    assert found.config == make_config(LAYERS)
    assert [(layer.media_type, layer.digest) for layer in found.manifest.layers] == [
        (spec.DOCKER_LAYER, digests.of_bytes(layer)) for layer in LAYERS
    ]


def test_layers_that_are_links_to_others_are_found(store: MemoryStore) -> None:
    twice = [LAYERS[1], LAYERS[1]]
    second = f"{1:064x}_layer_tar"
    for link in (Link(f"../{0:064x}/layer.tar"), Link(f"{0:064x}/layer.tar", hard=True)):
        (image,) = load(pack(docker_save(twice, **{second: link})), store)
        layers = documents.read_manifest(store, image.target).layers
        assert [layer.digest for layer in layers] == [digests.of_bytes(LAYERS[1])] * 2


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [(spec.OCI_LAYER_GZIP, spec.DOCKER_LAYER_GZIP), (spec.OCI_LAYER_ZSTD, spec.DOCKER_LAYER_ZSTD)],
)
def test_compressed_layers_in_dockers_layout_are_kept_as_they_are(
    store: MemoryStore, kind: str, media_type: str
) -> None:
    data = compressed(LAYERS[0], kind)
    (image,) = load(pack(docker_save([LAYERS[0]], **{f"{0:064x}_layer_tar": data})), store)
    (layer,) = documents.read_manifest(store, image.target).layers
    assert (layer.media_type, layer.digest) == (media_type, digests.of_bytes(data))


def test_images_without_tags_or_layers_are_read(store: MemoryStore) -> None:
    (image,) = load(pack(docker_save([], None)), store)
    assert image.names == ()
    assert documents.read_image(store, image.target).manifest.layers == ()


def test_names_may_stand_in_dockers_list_only(source: MemoryStore, store: MemoryStore, image: Descriptor) -> None:
    entries = dict(unpack(save(source, ArchivedImage(image, (ONE, TWO)))))
    index = entries["index.json"]
    assert isinstance(index, bytes)
    document = json.loads(index)
    for entry in document["manifests"]:
        entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    entries["index.json"] = json.dumps(document).encode()
    assert load(pack(list(entries.items())), store) == (ArchivedImage(image, (ONE, TWO)),)


def test_a_bare_tag_names_nothing(source: MemoryStore, store: MemoryStore, image: Descriptor) -> None:
    data = save(source, ArchivedImage(image, (ONE,)), docker=False).replace(b"io.containerd.image.name", b"x" * 24)
    assert load(data, store) == (ArchivedImage(msgspec_annotated(image, {"x" * 24: ONE})),)


def msgspec_annotated(descriptor: Descriptor, annotations: Mapping[str, str]) -> Descriptor:
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        platform=descriptor.platform,
        annotations=dict(annotations),
    )


def test_every_digest_is_held(source: MemoryStore, store: MemoryStore, image: Descriptor) -> None:
    held: set[Digest] = set()
    read_archive(io.BytesIO(save(source, ArchivedImage(image))), store, hold=held.add)
    assert held == digests_in(store)
    held.clear()
    read_archive(io.BytesIO(save(source, ArchivedImage(image))), store, hold=held.add)
    assert held == digests_in(store)
    held.clear()
    other = MemoryStore()
    read_archive(io.BytesIO(pack(docker_save())), other, hold=held.add)
    assert held == digests_in(other)


def test_progress_counts_what_was_read(source: MemoryStore, store: MemoryStore, image: Descriptor) -> None:
    data = save(source, ArchivedImage(image))
    counts: list[int] = []
    read_archive(io.BytesIO(data), store, on_bytes=counts.append)
    assert sum(counts) == len(data)


def test_platforms_that_the_archive_lacks_are_no_error(
    source: MemoryStore, store: MemoryStore, image: Descriptor
) -> None:
    arm = make_image(source, [layer_tar({"arm": b""})], platform=ARM64)
    index = make_index(source, [image, arm])
    lacking = [(name, data) for name, data in unpack(save(source, ArchivedImage(index))) if arm.digest[7:] not in name]
    (found,) = load(pack(lacking), store)
    assert documents.read_image(store, found.target).descriptor.digest == image.digest


HOSTILE: list[tuple[str, list[tuple[str, bytes | Link | None]], str]] = [
    ("parent", [("../evil", b"x")], "leads out"),
    ("parent inside", [("a/../../evil", b"x")], "leads out"),
    ("absolute", [("/etc/passwd", b"x")], "leads out"),
    ("absolute link", [("a", Link("/etc/passwd"))], "leads out"),
    ("parent link", [("a/b", Link("../../etc/passwd"))], "leads out"),
    ("parent hard link", [("a/b", Link("../a", hard=True))], "leads out"),
    ("circle", [("manifest.json", Link("b")), ("b", Link("manifest.json"))], "circle"),
    ("bad blob name", [("blobs/sha256/abc", b"x")], "no digest"),
    ("list that is none", [("manifest.json", b"{}")], "not valid"),
    ("list of nothing", [("manifest.json", b"[1]")], "not valid"),
    ("index that is none", [("index.json", b"[]")], "not valid"),
    ("deep list", [("manifest.json", b"[" * 100_000)], "not valid"),
    ("config outside", [("manifest.json", b'[{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}]')], "lacks"),
    ("bad tag", docker_save(tags=["Not A Name"]), "invalid image name"),
    ("no such file", docker_save(tags=["a:1"])[4:], "lacks the layer"),
    ("wrong layer", docker_save(**{f"{1:064x}_layer_tar": LAYERS[0]}), "the config says"),
    ("not an archive", [("etc/passwd", b"x"), ("bin/sh", b"x"), ("usr", None)], "root file system"),
    ("nothing known", [("README", b"x")], "neither index.json nor manifest.json"),
    ("a directory too deep", [("x/index.json", b"{}"), ("x/oci-layout", b"{}")], "lies in a directory 'x'"),
    ("old docker", [("repositories", b"{}")], "older than 1.10"),
    ("no image", [("index.json", b'{"schemaVersion":2,"manifests":[]}')], "holds no image"),
    ("other layout", [("index.json", b"{}"), ("oci-layout", b'{"imageLayoutVersion":"9"}')], "version '9'"),
]


@pytest.mark.parametrize(("entries", "says"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_bad_archives_end_in_a_clear_error(
    store: MemoryStore, entries: list[tuple[str, bytes | Link | None]], says: str
) -> None:
    with pytest.raises((InvalidError, IntegrityError, UnsupportedError, NotFoundError), match=says) as caught:
        load(pack(entries), store)
    assert "\n" not in caught.value.message


def test_devices_are_refused(store: MemoryStore) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("dev/null")
        entry.type = tarfile.CHRTYPE
        tar.addfile(entry)
    with pytest.raises(InvalidError, match="device") as caught:
        load(out.getvalue(), store)
    assert "boat image import" in (caught.value.hint or "")


def test_a_blob_that_is_not_what_its_name_says_is_named(
    source: MemoryStore, store: MemoryStore, image: Descriptor
) -> None:
    data = bytearray(save(source, ArchivedImage(image)))
    blob = documents.read_manifest(source, image).layers[0].digest
    data[data.index(b"blobs/sha256/" + blob[7:].encode()) + 512] ^= 1
    with pytest.raises(IntegrityError, match=blob[7:]):
        load(bytes(data), store)
    assert blob not in digests_in(store)


def test_a_missing_blob_is_named(source: MemoryStore, store: MemoryStore, image: Descriptor) -> None:
    manifest = documents.read_manifest(source, image)
    entries = unpack(save(source, ArchivedImage(image)))
    for digest in (image.digest, manifest.config.digest, manifest.layers[0].digest):
        with pytest.raises(IntegrityError, match=digest):
            load(pack([entry for entry in entries if digest[7:] not in entry[0]]), MemoryStore())


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"x" * 5000, b"\x1f\x8b broken", b"PK\3\4" + b"x" * 600])
def test_what_is_no_tar_is_said_to_be_none(store: MemoryStore, data: bytes) -> None:
    with pytest.raises(InvalidError, match="image archive"):
        load(data, store)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_a_truncated_archive_is_an_error(
    source: MemoryStore, store: MemoryStore, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(save(source, ArchivedImage(make_image(source))).rstrip(b"\0"))
    for length in range(1, len(data), max(1, len(data) // 60)):
        with pytest.raises((InvalidError, IntegrityError)):
            load(data[:length], store)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_archive_with_any_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    source = MemoryStore()
    archive = bytearray(save(source, ArchivedImage(make_image(source), (ONE,))))
    for _ in range(data.draw(st.integers(1, 3))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    try:
        images = load(bytes(archive), MemoryStore())
    except (InvalidError, IntegrityError, UnsupportedError, NotFoundError) as error:
        assert "\n" not in error.message
    else:
        assert images


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "disk"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_while_loading_is_a_clear_error_and_the_store_stays_usable(
    source: MemoryStore, small_disk: Path
) -> None:
    full = DirectoryStore(small_disk)
    large = make_image(source, [layer_tar({"large": os.urandom(4_000_000)})])
    with pytest.raises(StorageError, match="No space left") as caught:
        read_archive(io.BytesIO(save(source, ArchivedImage(large))), full)
    assert caught.value.hint
    assert list((small_disk / "ingest").iterdir()) == []
    small = make_image(source)
    assert read_archive(io.BytesIO(save(source, ArchivedImage(small))), full) == (ArchivedImage(small),)
