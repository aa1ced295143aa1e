from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnsupportedError
from boatyard.image import documents, platform, spec
from boatyard.image.content.memory import MemoryStore
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, ImageConfig, Manifest
from fixtures.images import AMD64, ARM64, layer_tar, make_attestation, make_image, make_index

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def stored(store: MemoryStore, document: object, media_type: str) -> Descriptor:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return documents.write(store, data, media_type)


def manifest_json(**changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": spec.OCI_MANIFEST,
        "config": {"mediaType": spec.OCI_CONFIG, "digest": DIGEST, "size": 2},
        "layers": [{"mediaType": spec.OCI_LAYER, "digest": DIGEST, "size": 2}],
    } | changes


def test_an_image_is_read_whole(store: MemoryStore) -> None:
    image = documents.read_image(store, make_image(store))
    assert image.platform == AMD64
    assert image.config.config.cmd == ("/bin/sh",)
    assert len(image.manifest.layers) == 1


def test_the_platform_that_was_asked_for_is_chosen(store: MemoryStore) -> None:
    amd, arm = make_image(store), make_image(store, platform=ARM64)
    index = make_index(store, [make_attestation(store, amd.digest), arm, amd])
    assert documents.resolve_platform(store, index, AMD64).digest == amd.digest
    assert documents.resolve_platform(store, index, ARM64).digest == arm.digest
    assert documents.read_image(store, index, ARM64).platform == ARM64
    assert documents.read_manifest(store, index, AMD64) == documents.read_manifest(store, amd)


def test_the_hosts_platform_is_the_default(store: MemoryStore) -> None:
    mine = make_image(store, platform=platform.host_platform())
    other = make_image(store, platform=Platform(os="plan9", architecture="mips"))
    assert documents.resolve_platform(store, make_index(store, [other, mine])).digest == mine.digest


def test_variants_fall_back_to_older_ones(store: MemoryStore) -> None:
    v6 = make_image(store, platform=Platform(os="linux", architecture="arm", variant="v6"))
    v7 = make_image(store, platform=Platform(os="linux", architecture="arm", variant="v7"))
    index = make_index(store, [v7, v6])
    assert documents.resolve_platform(store, index, platform.parse("linux/arm/v8")).digest == v7.digest
    assert documents.resolve_platform(store, index, platform.parse("linux/arm/v6")).digest == v6.digest


def test_an_image_without_the_platform_says_what_it_has(store: MemoryStore) -> None:
    index = make_index(store, [make_image(store), make_image(store, platform=ARM64)])
    with pytest.raises(NotFoundError, match=r"no variant for linux/s390x; it has linux/amd64, linux/arm64"):
        documents.resolve_platform(store, index, platform.parse("linux/s390x"))


def test_platforms_missing_in_an_index_come_from_the_configs(store: MemoryStore) -> None:
    entries = [msgspec.structs.replace(make_image(store, platform=each), platform=None) for each in (ARM64, AMD64)]
    index = make_index(store, entries)
    assert documents.resolve_platform(store, index, AMD64).digest == entries[1].digest
    assert [entry.platform for entry in documents.image_manifests(store, index)] == [ARM64, AMD64]


def test_indexes_in_indexes_are_followed(store: MemoryStore) -> None:
    image = make_image(store)
    index = make_index(store, [make_index(store, [make_index(store, [image])])])
    assert documents.resolve_platform(store, index, AMD64).digest == image.digest
    for _ in range(10):
        index = make_index(store, [index])
    with pytest.raises(InvalidError, match="deep"):
        documents.resolve_platform(store, index, AMD64)


def test_an_index_that_repeats_itself_is_read_once(store: MemoryStore) -> None:
    index = make_image(store)
    for _ in range(7):
        index = make_index(store, [index] * 100)
    assert len(list(documents.image_manifests(store, index))) == 1


def test_go_writes_null_for_empty(store: MemoryStore) -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": None,
        "config": {"Env": None, "Cmd": None, "Entrypoint": None, "Volumes": None, "Labels": None, "OnBuild": None},
        "container_config": {"Cmd": ["x"], "Tty": False},
        "rootfs": {"type": "layers", "diff_ids": None},
        "history": None,
        "docker_version": "20.10",
    }
    assert documents.parse_config(json.dumps(config).encode()) == ImageConfig(architecture="amd64", os="linux")
    assert documents.parse_manifest(json.dumps(manifest_json(layers=None, manifests=None) | {"layers": []}).encode())


def test_unknown_fields_are_tolerated() -> None:
    data = json.dumps(manifest_json(extra={"a": [1, None]})).encode()
    assert isinstance(documents.parse_manifest(data), Manifest)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "not valid"),
        (b"{", "not valid"),
        (b"[]", "not valid"),
        (b"null", "not valid"),
        (b"\xff\xfe", "not valid"),
        (b"[" * 100_000, "not valid"),
        (b'{"a":' * 100_000, "not valid"),
        (manifest_json(config=None), "config"),
        (manifest_json(layers="x"), "layers"),
        (manifest_json(layers=[{"mediaType": "x", "digest": "sha256:../../etc/passwd", "size": 1}]), "not a digest"),
        (manifest_json(layers=[{"mediaType": "x", "digest": DIGEST, "size": -1}]), "size -1"),
        (manifest_json(layers=[{"mediaType": "x", "digest": DIGEST, "size": 1e300}]), "not valid"),
        (manifest_json(layers=[{"mediaType": "x", "digest": DIGEST, "size": 10**30}]), "not valid"),
        (manifest_json(subject={"mediaType": "x", "digest": "x", "size": 1}), "not a digest"),
        (manifest_json(manifests=[]), "taken for something else"),
    ],
)
def test_manifests_that_cannot_be_right_are_refused(document: object, says: str) -> None:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidError, match=says):
        documents.parse_manifest(data)


def test_a_config_with_a_bad_diff_id_is_refused() -> None:
    with pytest.raises(InvalidError, match="not a diff ID"):
        documents.parse_config(b'{"os":"linux","architecture":"arm","rootfs":{"type":"layers","diff_ids":["../x"]}}')


def test_an_index_with_layers_is_refused() -> None:
    with pytest.raises(InvalidError, match="taken for something else"):
        documents.parse_index(b'{"schemaVersion":2,"manifests":[],"layers":[]}')


def test_schema_1_is_named_as_such() -> None:
    with pytest.raises(UnsupportedError, match="schema 1"):
        documents.parse_manifest(b'{"schemaVersion":1,"fsLayers":[{"blobSum":"x"}]}')


def test_errors_name_the_document(store: MemoryStore) -> None:
    descriptor = stored(store, {"schemaVersion": 2}, spec.OCI_MANIFEST)
    with pytest.raises(InvalidError, match=descriptor.digest):
        documents.read_manifest(store, descriptor)


def test_an_artifact_is_not_an_image(store: MemoryStore) -> None:
    empty = {"mediaType": spec.OCI_EMPTY, "digest": DIGEST, "size": 2}
    descriptor = stored(store, manifest_json(config=empty, artifactType="application/x-sbom"), spec.OCI_MANIFEST)
    with pytest.raises(UnsupportedError, match="artifact of type 'application/x-sbom'"):
        documents.read_image(store, descriptor)
    with pytest.raises(UnsupportedError, match="neither a manifest nor an index"):
        documents.resolve_platform(store, stored(store, b"x", "text/plain"))


def test_layers_and_diff_ids_must_agree_in_number(store: MemoryStore) -> None:
    config = stored(store, {"os": "linux", "architecture": "amd64"}, spec.OCI_CONFIG)
    encoded = {"mediaType": config.media_type, "digest": config.digest, "size": config.size}
    with pytest.raises(InvalidError, match="1 layers but its config names 0"):
        documents.read_image(store, stored(store, manifest_json(config=encoded), spec.OCI_MANIFEST))


def test_documents_that_are_too_large_are_not_read(store: MemoryStore) -> None:
    descriptor = stored(store, b" " * (documents.LARGEST + 1), spec.OCI_MANIFEST)
    with pytest.raises(InvalidError, match="at most"):
        documents.read_manifest(store, descriptor)


def test_a_document_that_is_another_is_refused(store: MemoryStore) -> None:
    good = make_image(store)
    with pytest.raises(IntegrityError):
        documents.read_manifest(store, msgspec.structs.replace(good, size=good.size - 1))


def test_children_are_what_a_document_names(store: MemoryStore) -> None:
    image = make_image(store, [layer_tar({"a": b"a"}), layer_tar({"b": b"b"})])
    attestation = make_attestation(store, image.digest)
    index = make_index(store, [image, attestation])
    assert documents.children(store, index) == (image, attestation)
    assert len(documents.children(store, image)) == 3
    assert documents.children(store, documents.children(store, image)[1]) == ()


def test_chain_ids_follow_the_specification() -> None:
    first, second, third = (Digest("sha256:" + hashlib.sha256(bytes([n])).hexdigest()) for n in range(3))
    two = Digest("sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest())
    three = Digest("sha256:" + hashlib.sha256(f"{two} {third}".encode()).hexdigest())
    assert documents.chain_id([first]) == first
    assert documents.chain_id([first, second]) == two
    assert documents.chain_ids([first, second, third]) == [first, two, three]
    assert documents.chain_id([]) == "sha256:" + hashlib.sha256(b"").hexdigest()


def test_writing_a_document_twice_gives_the_same_descriptor(store: MemoryStore) -> None:
    assert make_image(store) == make_image(store)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(DIGEST),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "platform", "digest",
     "size", "os", "architecture", "rootfs", "diff_ids", "history", "Env", "Labels", "Healthcheck", "ExposedPorts"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        JSON, lambda inner: st.dictionaries(FIELDS, inner, max_size=6) | st.lists(inner, max_size=3), max_leaves=20
    )
)
def test_any_json_is_a_document_or_refused(value: object) -> None:
    data = json.dumps(value).encode()
    for decode in (documents.parse_manifest, documents.parse_index, documents.parse_config):
        try:
            decode(data)
        except (InvalidError, IntegrityError, UnsupportedError) as error:
            assert "\n" not in error.message


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_document_with_any_one_field_replaced_is_read_or_refused(data: st.DataObject) -> None:
    document: Any = manifest_json(
        annotations={"a": "b"}, subject={"mediaType": "x", "digest": DIGEST, "size": 1, "platform": {"os": "a"}}
    )
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JSON)
        break
    try:
        documents.parse_manifest(json.dumps(document).encode())
    except (InvalidError, IntegrityError):
        pass


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    for decode in (documents.parse_manifest, documents.parse_index, documents.parse_config):
        with pytest.raises(InvalidError):
            decode(data)
