"""The registry server with its blobs in an S3-compatible store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.errors import InvalidError
from boatyard.registry.server import objects, signature
from boatyard.registry.server.collection import collect
from boatyard.registry.server.signature import Key
from fixtures.bucket import ENVIRONMENT, Store, serve_bucket
from fixtures.registryserver import Served, serving


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with serve_bucket() as store:
        yield store


@pytest.fixture
def server(store: Store, tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "root", objects=store.url) as served:
        yield served


def test_the_signature_is_that_of_amazons_example() -> None:
    """ "GET Object" of "Signature Calculations for the Authorization Header"."""
    key = Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
    empty = hashlib.sha256(b"").hexdigest()
    sent = signature.headers(
        *(key, "GET", "examplebucket.s3.amazonaws.com", "/test.txt", [], 1369353600.0),
        payload=empty,
        more={"Range": "bytes=0-9"},
    )
    expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert sent["Authorization"].endswith(f"Signature={expected}")
    assert sent["x-amz-date"] == "20130524T000000Z"


def test_images_are_kept_in_the_bucket_and_nowhere_else(server: Served, store: Store) -> None:
    data = os.urandom(3_000_000)
    server.push_image("app", "v1", [data, b""])
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert store.objects[f"/harbour/deep/blobs/{digest.replace(':', '/')}"][0] == data
    assert server.registry is not None
    assert list(server.registry.blobs.content.walk()) == []
    assert os.listdir(server.registry.blobs.content.root / "uploads") == []
    assert server.call("GET", f"/v2/app/blobs/{digest}").body == data
    answer = server.call("GET", f"/v2/app/blobs/{digest}", Range="bytes=-1000")
    assert (answer.status, answer.body) == (206, data[-1000:])
    empty = hashlib.sha256(b"").hexdigest()
    assert server.call("GET", f"/v2/app/blobs/sha256:{empty}").body == b""
    assert server.call("GET", "/v2/app/manifests/v1").status == 200
    assert server.call("GET", "/boat/registry/v1/images/app/v1").json()["platforms"] == ["linux/amd64"]


def test_what_is_large_goes_in_parts(server: Served, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PART", 1 << 20)
    data = os.urandom((3 << 20) + 5)
    digest = server.push_blob("app", data)
    assert server.call("GET", f"/v2/app/blobs/{digest}").body == data
    assert store.parts == {}
    store.fail_completion = True
    location = server.begin("app")
    other = os.urandom(2 << 20)
    answer = server.call("PUT", f"{location}?digest=sha256:{hashlib.sha256(other).hexdigest()}", other)
    assert answer.status == 507
    assert server.call("HEAD", f"/v2/app/blobs/sha256:{hashlib.sha256(other).hexdigest()}").status == 404


def test_a_store_that_is_busy_is_asked_again(server: Served, store: Store) -> None:
    store.failures = 1
    digest = server.push_blob("app", b"patience")
    store.failures = 1
    assert server.call("GET", f"/v2/app/blobs/{digest}").body == b"patience"


def test_a_blob_that_the_store_lost_is_unknown(server: Served, store: Store) -> None:
    digest = server.push_blob("app", b"lost")
    store.objects.clear()
    assert server.call("GET", f"/v2/app/blobs/{digest}").codes == ["BLOB_UNKNOWN"]


def test_garbage_is_collected_from_the_bucket(server: Served, store: Store) -> None:
    server.push_image("app", "v1", [b"kept"])
    for number in range(5):
        server.push_blob("app", str(number).encode())
    registry = server.registry
    assert registry is not None
    assert len(store.objects) == 8
    done = collect(registry.records, registry.blobs, now=registry.clock() + 7200, grace=3600)
    assert (done.blobs, done.files) == (5, 5)
    assert len(store.objects) == 3


@pytest.mark.parametrize("url", ["", "s3://x/y", "s3+https://host", "s3+https:///bucket", "https://host/bucket"])
def test_what_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InvalidError):
        objects.bucket_of(url, ENVIRONMENT)


def test_keys_are_needed() -> None:
    with pytest.raises(InvalidError, match="no keys"):
        objects.bucket_of("s3+https://host/bucket", {})
