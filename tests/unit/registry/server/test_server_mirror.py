"""The registry server as a mirror of another registry: what it hasn't, it fetches and keeps."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fixtures.registry import Handler, Registry, once, serve
from fixtures.registryserver import Served, serving


class Pair:
    """An origin and a mirror of it, whose clock is ours."""

    def __init__(self, directory: Path) -> None:
        self.now = [1e9]
        self._stack = ExitStack()
        self._upstream = ExitStack()
        self.origin = self._upstream.enter_context(serving(directory / "origin"))
        self.mirror = self._stack.enter_context(
            serving(directory / "mirror", clock=lambda: self.now[0], mirror_of=f"127.0.0.1:{self.origin.port}")
        )

    def end_origin(self) -> None:
        self._upstream.close()

    def close(self) -> None:
        self._stack.close()
        self._upstream.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with closing(Pair(tmp_path)) as pair:
        yield pair


def pull(server: Served, name: str, reference: str) -> list[bytes]:
    answer = server.call("GET", f"/v2/{name}/manifests/{reference}")
    assert answer.status == 200, answer
    document = answer.json()
    found = [answer.body]
    for child in document.get("manifests", []):
        found += pull(server, name, child["digest"])
    for blob in [*document.get("layers", []), *filter(None, [document.get("config")])]:
        data = server.call("GET", f"/v2/{name}/blobs/{blob['digest']}")
        assert data.status == 200 and f"sha256:{hashlib.sha256(data.body).hexdigest()}" == blob["digest"]
        found.append(data.body)
    return found


def test_what_was_pulled_once_is_there_without_the_origin(pair: Pair) -> None:
    children = [pair.origin.push_image("app", name, [os.urandom(2_500_000), b""]) for name in ("amd64", "arm64")]
    pair.origin.push_index("app", "v1", children)
    expected = pull(pair.origin, "app", "v1")
    assert pull(pair.mirror, "app", "v1") == expected
    assert pair.mirror.call("GET", "/v2/app/tags/list?n=2").json()["tags"] == ["amd64", "arm64"]
    pair.end_origin()
    pair.now[0] += 3600
    assert pull(pair.mirror, "app", "v1") == expected
    assert pair.mirror.call("GET", "/v2/app/tags/list").json()["tags"] == ["v1"]
    answer = pair.mirror.call("GET", "/v2/app/manifests/arm64")
    assert (answer.status, answer.codes) == (502, ["UNKNOWN"])


def test_a_tag_that_moves_is_noticed_after_a_minute(pair: Pair) -> None:
    first = pair.origin.push_image("app", "latest", [b"one"])
    assert pair.mirror.call("HEAD", "/v2/app/manifests/latest").headers["docker-content-digest"] == first
    second = pair.origin.push_image("app", "latest", [b"two"])
    pair.now[0] += 59
    assert pair.mirror.call("HEAD", "/v2/app/manifests/latest").headers["docker-content-digest"] == first
    pair.now[0] += 2
    assert pair.mirror.call("HEAD", "/v2/app/manifests/latest").headers["docker-content-digest"] == second
    pair.origin.push_manifest("app", "latest", pair.origin.call("GET", f"/v2/app/manifests/{first}").body)
    pair.now[0] += 61
    assert pair.mirror.call("HEAD", "/v2/app/manifests/latest").headers["docker-content-digest"] == first


def test_what_the_origin_has_not_is_not_there(pair: Pair) -> None:
    pair.origin.push_image("app", "v1")
    assert pair.mirror.call("GET", "/v2/app/manifests/v2").codes == ["MANIFEST_UNKNOWN"]
    assert pair.mirror.call("GET", "/v2/nosuch/tags/list").status == 404
    assert pair.mirror.call("GET", f"/v2/app/blobs/sha256:{'0' * 64}").codes == ["BLOB_UNKNOWN"]


def test_parts_and_heads_of_blobs_bring_them_whole(pair: Pair) -> None:
    data = os.urandom(3_000_000)
    digest = pair.origin.push_blob("app", data)
    answer = pair.mirror.call("GET", f"/v2/app/blobs/{digest}", Range="bytes=1000-1999")
    assert (answer.status, answer.body) == (206, data[1000:2000])
    other = pair.origin.push_blob("app", b"other")
    assert pair.mirror.call("HEAD", f"/v2/app/blobs/{other}").headers["content-length"] == "5"


def test_a_mirror_takes_nothing(pair: Pair) -> None:
    answer = pair.mirror.call("POST", "/v2/app/blobs/uploads/")
    assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])


def test_a_blob_that_many_want_at_once_is_fetched_once(tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with serve() as origin, serving(tmp_path / "root", mirror_of=origin.host) as mirror:
        origin.blobs[digest] = data
        results: list[bytes] = []

        def get() -> None:
            with closing(Served(mirror.port)) as client:
                results.append(client.call("GET", f"/v2/app/blobs/{digest}").body)

        threads = [threading.Thread(target=get) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [data] * 6
        assert origin.asked("GET", "/blobs/") == 1


def test_wrong_bytes_are_neither_kept_nor_given_whole(tmp_path: Path) -> None:
    digest = f"sha256:{'1' * 64}"
    with serve() as origin, serving(tmp_path / "root", mirror_of=origin.host) as mirror:
        origin.blobs[digest] = os.urandom(3_000_000)
        complete = True
        try:
            complete = mirror.call("GET", f"/v2/app/blobs/{digest}").status == 200
        except Exception as error:
            complete = False
            assert type(error).__module__ in ("http.client", "builtins")
            mirror.close()
        assert not complete
        origin.blobs.clear()
        assert mirror.call("GET", f"/v2/app/blobs/{digest}").status == 404
        assert mirror.registry is not None
        assert os.listdir(mirror.registry.blobs.content.root / "uploads") == []


def test_an_origin_that_fails_is_asked_again(tmp_path: Path) -> None:
    def fail(handler: Handler) -> bool:
        handler.answer(503, b"later", Retry_After="0")
        return True

    data = b"in the end"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    registry: Registry
    with serve() as registry, serving(tmp_path / "root", mirror_of=registry.host) as mirror:
        registry.blobs[digest] = data
        registry.faults.append(once(fail, "GET .*blobs"))
        assert mirror.call("GET", f"/v2/app/blobs/{digest}").body == data
