from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from boatyard.image import digest as digests
from boatyard.image import documents, mutate, spec
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.content.memory import MemoryStore
from boatyard.image.digest import Digest
from boatyard.image.mutate import ImageView
from boatyard.image.spec import Descriptor, History, ImageConfig, Manifest
from boatyard.image.validate import validate_image
from fixtures.images import AMD64, ARM64, layer_tar, make_attestation, make_config, make_image, make_index

LAYER = layer_tar({"a": b"a" * 100_000})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def stored(store: MemoryStore, config: ImageConfig, *layers: Descriptor, **changes: object) -> Descriptor:
    """An image with whatever documents, consistent or not."""
    described = documents.write_document(store, config)
    manifest = Manifest(schema_version=2, media_type=spec.OCI_MANIFEST, config=described, layers=layers)
    return documents.write_document(store, msgspec.structs.replace(manifest, **changes), spec.OCI_MANIFEST)


def problems(store: MemoryStore, target: Descriptor, **options: bool) -> str:
    return "\n".join(map(str, validate_image(store, target, **options)))


@pytest.mark.parametrize("layer_type", [spec.OCI_LAYER, spec.OCI_LAYER_GZIP, spec.OCI_LAYER_ZSTD])
def test_a_good_image_has_no_problems(store: MemoryStore, layer_type: str) -> None:
    image = make_image(store, [LAYER, layer_tar({"b": b""})], layer_type=layer_type)
    assert validate_image(store, image) == []
    view = documents.read_image(store, image)
    docker = mutate.store(store, mutate.to_docker(ImageView(view.manifest, view.config)))
    assert validate_image(store, docker) == []


def test_a_good_index_has_no_problems(store: MemoryStore) -> None:
    image = make_image(store)
    index = make_index(store, [image, make_image(store, platform=ARM64), make_attestation(store, image.digest)])
    assert validate_image(store, index, all_platforms=True) == []


def test_a_damaged_layer_is_named_and_the_others_are_checked_too(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    image = make_image(store, [LAYER, layer_tar({"b": b""}), layer_tar({"c": b""})])
    layers = documents.read_manifest(store, image).layers
    for layer in layers[::2]:
        path = store.path(layer.digest)
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:50])
    found = validate_image(store, image)
    assert [problem.digest for problem in found] == [layers[0].digest, layers[2].digest]
    assert validate_image(store, image, contents=False) == []


def test_missing_content_is_found(store: MemoryStore) -> None:
    image = make_image(store)
    manifest = documents.read_manifest(store, image)
    for digest in (manifest.layers[0].digest, manifest.config.digest, image.digest):
        store.delete(digest)
        assert digest in problems(store, image)


def test_a_wrong_diff_id_is_found(store: MemoryStore) -> None:
    layer = documents.write(store, LAYER, spec.OCI_LAYER)
    image = stored(store, make_config([layer_tar({"other": b""})]), layer)
    assert "the layer's diff ID is " + digests.of_bytes(LAYER) in problems(store, image)


def test_a_layer_that_is_no_tar_is_found(store: MemoryStore) -> None:
    data = b"not a tar" * 1000
    image = stored(store, make_config([data]), documents.write(store, data, spec.OCI_LAYER))
    assert digests.of_bytes(data) in problems(store, image)


def test_history_and_layers_must_agree(store: MemoryStore) -> None:
    layer = documents.write(store, LAYER, spec.OCI_LAYER)
    config = msgspec.structs.replace(make_config([LAYER]), history=(History(), History(), History(empty_layer=True)))
    assert "the history tells of 2 layers, the manifest of 1" in problems(store, stored(store, config, layer))
    assert "diff IDs" in problems(store, stored(store, make_config([LAYER, LAYER]), layer))


def test_the_platform_of_index_and_config_must_agree(store: MemoryStore) -> None:
    image = msgspec.structs.replace(make_image(store, platform=ARM64), platform=AMD64)
    assert "the config is for linux/arm64, the index says linux/amd64" in problems(store, make_index(store, [image]))
    spelled = msgspec.structs.replace(image, platform=msgspec.structs.replace(ARM64, variant="v8"))
    assert problems(store, make_index(store, [spelled])) == ""


def test_media_types_must_belong_together(store: MemoryStore) -> None:
    layer = documents.write(store, LAYER, spec.DOCKER_LAYER)
    image = stored(store, make_config([LAYER]), layer, media_type=spec.DOCKER_MANIFEST, schema_version=1)
    found = problems(store, image)
    assert "doesn't belong into" in found
    assert "it calls itself" in found
    assert "schema version is 1" in found


def test_platforms_that_are_missing_count_when_asked_for(store: MemoryStore) -> None:
    absent = Descriptor(media_type=spec.OCI_MANIFEST, digest=digests.of_bytes(b"x"), size=1, platform=ARM64)
    index = make_index(store, [make_image(store), absent])
    assert problems(store, index) == ""
    assert "the manifest for linux/arm64 is missing" in problems(store, index, all_platforms=True)
    assert "linux/arm64 is missing" in problems(store, make_index(store, [absent]))
    assert "names no image" in problems(store, make_index(store, []))


class Remade:
    @contextmanager
    def open_layer(self, descriptor: Descriptor, diff_id: Digest | None) -> Iterator[BinaryIO]:
        yield io.BytesIO(LAYER)


def test_virtual_layers_are_read_from_whoever_makes_them(store: MemoryStore) -> None:
    image = make_image(store, [LAYER], layer_type=spec.OCI_LAYER, virtual=True)
    assert validate_image(store, image, layers=Remade()) == []
    other = make_image(store, [layer_tar({"b": b""})], layer_type=spec.OCI_LAYER, virtual=True)
    assert len(validate_image(store, other, layers=Remade())) == 1
