from __future__ import annotations

import msgspec
import pytest

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image import documents, mutate, spec
from boatyard.image.content.memory import MemoryStore
from boatyard.image.mutate import AddedLayer, ImageView
from boatyard.image.spec import Descriptor, History, ImageConfig, RunConfig
from fixtures.images import AMD64, ARM64, layer_tar, make_image


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def view(store: MemoryStore) -> ImageView:
    image = documents.read_image(store, make_image(store))
    return ImageView(image.manifest, image.config)


def added(store: MemoryStore, name: str) -> AddedLayer:
    data = layer_tar({name: b""})
    descriptor = documents.write(store, data, spec.DOCKER_LAYER)
    return AddedLayer(descriptor, digests.of_bytes(data), History(created_by=f"add {name}"))


def consistent(view: ImageView) -> bool:
    data = spec.encode(view.config)
    return (view.manifest.config.digest, view.manifest.config.size) == (digests.of_bytes(data), len(data)) and len(
        view.manifest.layers
    ) == len(view.config.rootfs.diff_ids)


def test_an_image_is_made_from_nothing_but_layers(store: MemoryStore) -> None:
    layers = [added(store, "a"), added(store, "b")]
    image = mutate.append(
        mutate.new(ImageConfig(architecture="amd64", os="linux")), layers, created="2024-01-01T00:00:00Z"
    )
    stored = mutate.store(store, image)
    read = documents.read_image(store, stored)
    assert consistent(image)
    assert stored.platform == AMD64
    assert read.config.rootfs.diff_ids == tuple(layer.diff_id for layer in layers)
    assert [entry.created_by for entry in read.config.history] == ["add a", "add b"]
    assert read.config.created == "2024-01-01T00:00:00Z"
    assert {layer.media_type for layer in read.manifest.layers} == {spec.OCI_LAYER}


def test_layers_go_on_top_of_an_image(store: MemoryStore, view: ImageView) -> None:
    image = mutate.append(view, [added(store, "new")])
    assert image.manifest.layers[:-1] == view.manifest.layers
    assert image.config.created == view.config.created
    assert consistent(image)
    assert consistent(view)


def test_a_changed_run_config_is_told_in_the_history(view: ImageView) -> None:
    image = mutate.change_run_config(
        view, lambda config: msgspec.structs.replace(config, user="me"), History(created_by="USER me")
    )
    assert image.config.config == msgspec.structs.replace(view.config.config, user="me")
    assert image.config.history[-1] == History(created_by="USER me", empty_layer=True)
    assert consistent(image)


def test_a_config_must_count_the_same_layers(view: ImageView) -> None:
    with pytest.raises(InvalidError, match="names 0 layers, the manifest 1"):
        mutate.with_config(view, ImageConfig(architecture="amd64", os="linux", config=RunConfig()))


def test_annotations_are_added_changed_and_taken_away(view: ImageView) -> None:
    once = mutate.annotate(view, {"b": "1", "a": "1"})
    assert list(once.manifest.annotations.items()) == [("a", "1"), ("b", "1")]
    assert mutate.annotate(once, {"a": "", "b": "2"}).manifest.annotations == {"b": "2"}
    assert consistent(once)


def test_media_types_convert_to_dockers_and_back(store: MemoryStore, view: ImageView) -> None:
    docker = mutate.to_docker(view)
    assert docker.manifest.media_type == spec.DOCKER_MANIFEST
    assert docker.manifest.config.media_type == spec.DOCKER_CONFIG
    assert docker.manifest.layers[0].media_type == spec.DOCKER_LAYER_GZIP
    assert mutate.to_oci(docker) == view
    top = mutate.append(docker, [added(store, "new")])
    assert mutate.to_oci(top).manifest.layers[-1].media_type == spec.OCI_LAYER


def test_dockers_format_holds_no_annotations(view: ImageView) -> None:
    annotated = mutate.annotate(view, {"a": "b"})
    with pytest.raises(UnsupportedError, match="annotations"):
        mutate.to_docker(annotated)
    with pytest.raises(UnsupportedError):
        mutate.annotate(mutate.to_docker(view), {"a": "b"})
    with pytest.raises(UnsupportedError):
        mutate.make_index([], annotations={"a": "b"}, docker=True)


def test_an_index_is_made_of_stored_images(store: MemoryStore) -> None:
    entries = [make_image(store), make_image(store, platform=ARM64)]
    index = documents.write_document(store, mutate.make_index(entries, annotations={"b": "1", "a": "2"}))
    assert documents.resolve_platform(store, index, ARM64) == entries[1]


def test_a_fetched_config_keeps_its_bytes(store: MemoryStore) -> None:
    foreign = (
        b'{ "os":"linux", "architecture":"amd64", "docker_version":"1", "rootfs":{"type":"layers","diff_ids":[]} }'
    )
    config = documents.write(store, foreign, spec.OCI_CONFIG)
    manifest = spec.Manifest(schema_version=2, media_type=spec.OCI_MANIFEST, config=config, layers=())
    view = ImageView(manifest, documents.parse_config(foreign))
    stored: Descriptor = mutate.store(store, mutate.to_docker(view))
    assert documents.read_manifest(store, stored).config.digest == config.digest
