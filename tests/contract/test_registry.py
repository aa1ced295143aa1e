"""Our client on registries that are real: our own server, and Debian's docker-registry where it is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from boatyard.errors import NotFoundError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.content.memory import MemoryStore
from boatyard.image.interruption import Stop
from boatyard.image.spec import Descriptor
from boatyard.registry.copy import copy
from boatyard.registry.credential import Anonymous
from boatyard.registry.hosts import Hosts
from boatyard.registry.repository import Registries, Repository
from boatyard.registry.tokens import Tokens
from boatyard.registry.transport import Transport
from e2e.test_registries import Peer
from fixtures.images import AMD64, ARM64, layer_tar, make_image, make_index
from fixtures.registryclient import pulled, push
from fixtures.registryserver import serving

Open = Callable[[str], Repository]


@pytest.fixture(scope="module", params=["boatyard", "docker-registry"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory: Path = tmp_path_factory.mktemp("registry")
    with ExitStack() as stack:
        if request.param == "boatyard":
            yield stack.enter_context(serving(directory / "root")).host
        else:
            peer = Peer(directory / "peer")
            stack.callback(peer.stop)
            yield peer.host


@pytest.fixture
def opened(host: str) -> Iterator[Open]:
    transport = Transport()
    registries = Registries(transport, Hosts(), Tokens(transport, Anonymous()))
    yield lambda name: registries.repository(references.parse(f"{host}/{name}"), Stop())
    transport.close()


@pytest.fixture
def image() -> tuple[MemoryStore, Descriptor]:
    store = MemoryStore()
    return store, make_image(store, [layer_tar({"a": os.urandom(2_000_000)}), layer_tar({"b": b"b"})])


def test_an_image_comes_back_byte_for_byte(opened: Open, image: tuple[MemoryStore, Descriptor]) -> None:
    store, target = image
    push(opened("round/trip"), store, target, "v1")
    found, named = pulled(opened("round/trip"))
    assert named.digest == target.digest
    assert {blob.digest for blob in found.walk()} == {blob.digest for blob in store.walk()}


def test_an_image_for_several_platforms_is_copied_whole(opened: Open) -> None:
    store = MemoryStore()
    layers = [layer_tar({"a": os.urandom(1000)})]
    entries = [make_image(store, layers, platform=platform) for platform in (AMD64, ARM64)]
    index = make_index(store, entries)
    push(opened("from/here"), store, index, "v1")
    copied = copy(opened("from/here"), "v1", opened("to/there"), ("v2",))
    assert copied.digest == index.digest
    document = opened("to/there").manifest("v2")
    assert document.descriptor.media_type == spec.OCI_INDEX
    for entry in documents.parse_index(document.data).manifests:
        assert opened("to/there").manifest(entry.digest).descriptor.size == entry.size


def test_a_blob_is_mounted_and_an_upload_goes_on_in_pieces(opened: Open) -> None:
    repository, data = opened("pieces/here"), os.urandom(300_000)
    digest = digests.of_bytes(data)
    upload = repository.mount(digest, None)
    assert upload is not None
    upload = repository.upload_piece(upload, data[:100_000], 100_000)
    upload = repository.upload_status(upload)
    assert upload.offset == 100_000
    upload = repository.upload_piece(upload, data[100_000:], 200_000)
    repository.finish_upload(upload, digest, b"", 0)
    assert repository.has_blob(digest)
    assert opened("pieces/there").mount(digest, repository.name) is None
    with opened("pieces/there").open_blob(Descriptor(media_type="", digest=digest, size=len(data)), 1000) as found:
        response, begin = found
        assert data[begin:] == b"".join(response.stream(1 << 16))


def test_what_is_not_there_is_told(opened: Open, image: tuple[MemoryStore, Descriptor]) -> None:
    store, target = image
    push(opened("here"), store, target, "v1")
    for ask in (
        lambda: opened("here").manifest("v2"),
        lambda: opened("nosuch").manifest("v1"),
        lambda: opened("nosuch").tags(),
    ):
        with pytest.raises(NotFoundError):
            ask()
    assert opened("here").tags() == ["v1"]
