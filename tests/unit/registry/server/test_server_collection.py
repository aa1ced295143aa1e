"""The registry server: online garbage collection."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.registry.server.collection import Collected, collect
from fixtures.registryserver import Served, serving

HOUR = 3600.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "root") as served:
        yield served


def collected(server: Served, *, later: float = 2 * HOUR, untagged: bool = False) -> Collected:
    """As if so many seconds had passed."""
    registry = server.registry
    assert registry is not None
    now = registry.clock() + later
    return collect(registry.records, registry.blobs, now=now, grace=HOUR, untagged=untagged)


def everything(server: Served, name: str, reference: str) -> list[int]:
    """Statuses of all that an image is made of."""
    answer = server.call("GET", f"/v2/{name}/manifests/{reference}")
    document = answer.json()
    found = [answer.status]
    for child in document.get("manifests", []):
        found += everything(server, name, child["digest"])
    for blob in [*document.get("layers", []), *filter(None, [document.get("config")])]:
        found.append(server.call("GET", f"/v2/{name}/blobs/{blob['digest']}").status)
    return found


def test_what_a_manifest_needs_stays_and_what_none_needs_goes(server: Served) -> None:
    server.push_image("app", "v1", [b"one", b"two"])
    loose = server.push_blob("app", b"x" * 1000)
    done = collected(server)
    assert (done.blobs, done.files, done.freed) == (1, 1, 1000)
    assert server.call("GET", f"/v2/app/blobs/{loose}").status == 404
    assert set(everything(server, "app", "v1")) == {200}
    assert collected(server) == Collected(0, 0, 0, 0)


def test_an_image_for_several_platforms_stays_whole_when_only_its_index_has_a_tag(server: Served) -> None:
    children = [server.push_image("app", name, [name.encode()]) for name in ("amd64", "arm64")]
    server.push_index("app", "all", children)
    sbom = {"mediaType": "x/y", "digest": children[0], "size": 3}
    server.push_image("app", "sbom", [b"sbom"], subject=sbom)
    for tag in ("amd64", "arm64", "sbom"):
        assert server.call("DELETE", f"/v2/app/manifests/{tag}").status == 202
    assert collected(server, untagged=True) == Collected(0, 0, 0, 0)
    assert set(everything(server, "app", "all")) == {200}
    assert len(server.call("GET", f"/v2/app/referrers/{children[0]}").json()["manifests"]) == 1
    server.call("DELETE", "/v2/app/manifests/all")
    assert collected(server).manifests == 0
    done = collected(server, untagged=True)
    assert done.manifests == 4
    assert server.registry is not None
    assert list(server.registry.blobs.content.walk()) == []


def test_what_is_young_stays(server: Served) -> None:
    digest = server.push_blob("app", b"young")
    assert collected(server, later=HOUR - 60).files == 0
    assert server.call("GET", f"/v2/app/blobs/{digest}").status == 200


def test_a_blob_that_a_client_was_told_of_is_young_again(tmp_path: Path) -> None:
    """It goes on without sending it, and pushes a manifest of it."""
    now = [1e9]
    with serving(tmp_path / "root", clock=lambda: now[0], grace=HOUR) as server:
        digest = server.push_blob("app", b"known")
        assert server.registry is not None
        path = server.registry.blobs.content.path(digest)  # type: ignore[arg-type]
        now[0] += 5 * HOUR
        os.utime(path, (now[0] - 5 * HOUR,) * 2)
        assert server.call("HEAD", f"/v2/app/blobs/{digest}").status == 200
        assert collected(server, later=0.0).files == 0
        assert collected(server, later=2 * HOUR).files == 1


def test_bytes_stay_as_long_as_one_repository_has_them(server: Served) -> None:
    server.push_image("first", "v1", [b"shared"])
    server.push_image("second", "v1", [b"shared"])
    digest = server.push_blob("first", b"shared")
    server.call("DELETE", "/v2/first/manifests/v1")
    collected(server, untagged=True)
    assert server.call("GET", f"/v2/first/blobs/{digest}").status == 404
    assert set(everything(server, "second", "v1")) == {200}


def test_bytes_without_a_row_are_debris(server: Served) -> None:
    """A process was killed between renaming and recording."""
    assert server.registry is not None
    content = server.registry.blobs.content
    with content.ingest("x") as writer:
        writer.write(b"debris")
        digest = writer.commit()
    assert collected(server).files == 1
    assert content.info(digest) is None


def test_a_push_beside_collections_without_any_grace_succeeds_or_says_what_is_missing(server: Served) -> None:
    """What it never does is to end with an image that isn't whole."""
    registry = server.registry
    assert registry is not None
    over = threading.Event()

    def keep_collecting() -> None:
        while not over.is_set():
            collect(registry.records, registry.blobs, now=registry.clock() + HOUR, grace=0.0)

    thread = threading.Thread(target=keep_collecting)
    thread.start()
    whole = refused = 0
    try:
        for number in range(30):
            try:
                server.push_image(f"app{number % 3}", f"v{number}", [b"same", str(number).encode()])
            except AssertionError as error:
                assert "MANIFEST_BLOB_UNKNOWN" in str(error)
                refused += 1
                continue
            whole += 1
            assert set(everything(server, f"app{number % 3}", f"v{number}")) == {200}
    finally:
        over.set()
        thread.join()
    assert whole + refused == 30
