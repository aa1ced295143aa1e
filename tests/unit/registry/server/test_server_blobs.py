"""The registry server: blobs and how they are pushed, call by call (distribution-spec 1.1)."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.registryserver import Served, serving

NOTHING = "sha256:" + "0" * 64


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("registry") / "root") as served:
        yield served


def uploads(server: Served) -> list[str]:
    assert server.registry is not None
    return os.listdir(server.registry.blobs.content.root / "uploads")


def test_the_root_answers(server: Served) -> None:
    answer = server.call("GET", "/v2/")
    assert answer.status == 200
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, 70_000, 3 << 20])
def test_a_blob_pushed_in_two_requests_comes_back(server: Served, size: int, algorithm: str) -> None:
    data = os.urandom(size)
    digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    location = server.begin("two/requests")
    answer = server.call("PUT", f"{location}?digest={digest}", data)
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/two/requests/blobs/{digest}")
    assert answer.headers["docker-content-digest"] == digest
    answer = server.call("GET", answer.headers["location"])
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["docker-content-digest"] == digest
    answer = server.call("HEAD", f"/v2/two/requests/blobs/{digest}")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(size), b"")


def test_a_blob_is_pushed_in_one_request(server: Served) -> None:
    data = b"all at once"
    answer = server.call("POST", f"/v2/one/blobs/uploads/?digest={sha256(data)}", data)
    assert answer.status == 201
    assert server.call("GET", answer.headers["location"]).body == data


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("last_in_put", [False, True])
def test_a_blob_is_pushed_in_chunks(server: Served, algorithm: str, last_in_put: bool) -> None:
    data = os.urandom(2_500_000)
    digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    location = server.begin("chunks", f"?digest-algorithm={algorithm}")
    offsets = range(0, len(data), 1_000_000)
    for offset in offsets if not last_in_put else offsets[:-1]:
        piece = data[offset : offset + 1_000_000]
        range_ = f"{offset}-{offset + len(piece) - 1}"
        answer = server.call("PATCH", location, piece, Content_Range=range_)
        assert (answer.status, answer.headers["range"]) == (202, f"0-{offset + len(piece) - 1}")
        location = answer.headers["location"]
    last = data[2_000_000:] if last_in_put else b""
    extra = {"Content_Range": f"2000000-{len(data) - 1}"} if last_in_put else {}
    assert server.call("PUT", f"{location}?digest={digest}", last, **extra).status == 201
    assert server.call("GET", f"/v2/chunks/blobs/{digest}").body == data


def test_a_blob_is_pushed_as_a_stream_of_unknown_length(server: Served) -> None:
    pieces = [os.urandom(size) for size in (1, 32_768, 32_768, 900_000, 5, 300_000)]
    location = server.begin("stream")
    answer = server.call("PATCH", location, iter(pieces))
    data = b"".join(pieces)
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(data) - 1}")
    assert server.call("PUT", f"{answer.headers['location']}?digest={sha256(data)}").status == 201
    assert server.call("GET", f"/v2/stream/blobs/{sha256(data)}").body == data


def test_a_chunk_that_is_out_of_order_is_refused_and_told_where_to_go_on(server: Served) -> None:
    location = server.begin("order")
    assert server.call("PATCH", location, b"0123456789", Content_Range="0-9").status == 202
    for range_ in ("5-14", "20-29", "0-9"):
        answer = server.call("PATCH", location, b"abcdefghij", Content_Range=range_)
        assert (answer.status, answer.headers["range"], answer.headers["location"]) == (416, "0-9", location)
        assert answer.codes == ["BLOB_UPLOAD_INVALID"]
    answer = server.call("GET", location)
    assert (answer.status, answer.headers["range"], answer.headers["location"]) == (204, "0-9", location)
    answer = server.call("PUT", f"{location}?digest={NOTHING}", b"x", Content_Range="11-11")
    assert answer.status == 416
    assert (
        server.call("PUT", f"{location}?digest={sha256(b'0123456789ab')}", b"ab", Content_Range="10-11").status == 201
    )


@pytest.mark.parametrize(
    ("range_", "code"), [("0-3", "SIZE_INVALID"), ("x", "BLOB_UPLOAD_INVALID"), ("5-2", "BLOB_UPLOAD_INVALID")]
)
def test_a_range_that_contradicts_the_chunk_is_refused(server: Served, range_: str, code: str) -> None:
    location = server.begin("contradicts")
    answer = server.call("PATCH", location, b"0123456789", Content_Range=range_)
    assert (answer.status, answer.codes) == (400, [code])


def test_a_stream_that_contradicts_its_range_leaves_nothing_behind(server: Served) -> None:
    location = server.begin("contradicts")
    assert server.call("PATCH", location, b"abc", Content_Range="0-2").status == 202
    answer = server.call("PATCH", location, iter([b"0123456789"]), Content_Range="3-5")
    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    assert server.call("PUT", f"{location}?digest={sha256(b'abcd')}", b"d").status == 201


def test_an_upload_is_cancelled(server: Served) -> None:
    location = server.begin("cancelled")
    assert server.call("PATCH", location, b"some").status == 202
    assert server.call("DELETE", location).status == 204
    for method in ("GET", "DELETE", "PATCH"):
        answer = server.call(method, location)
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert location.rpartition("/")[2] not in "".join(uploads(server))


def test_an_upload_belongs_to_its_repository(server: Served) -> None:
    location = server.begin("mine")
    assert server.call("PATCH", location.replace("/mine/", "/yours/"), b"x").status == 404


@pytest.mark.parametrize("id", ["..", "x", "%2e%2e", "0" * 32 + "/../x", "{0}", "00000000-0000-0000-0000-000000000000"])
def test_ids_that_nobody_was_given_are_unknown(server: Served, id: str) -> None:
    assert server.call("PATCH", f"/v2/mine/blobs/uploads/{id}", b"x").status in (400, 404)


def test_a_wrong_digest_is_refused_and_nothing_is_kept(server: Served) -> None:
    location = server.begin("wrong")
    before = set(uploads(server))
    answer = server.call("PUT", f"{location}?digest={NOTHING}", b"something else")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert server.call("GET", f"/v2/wrong/blobs/{NOTHING}").status == 404
    assert server.call("GET", location).status == 404
    assert len(set(uploads(server))) == len(before) - 1


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:xyz", "md5:" + "0" * 32, "sha512:" + "0" * 64, "SHA256:" + "0" * 64]
)
def test_a_malformed_digest_is_refused(server: Served, digest: str) -> None:
    location = server.begin("malformed")
    answer = server.call("PUT", f"{location}?digest={digest}", b"x")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    answer = server.call("POST", f"/v2/malformed/blobs/uploads/?digest={digest}", b"x")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    if digest:
        assert server.call("GET", f"/v2/malformed/blobs/{digest}").status == 400


def test_an_unknown_algorithm_is_refused_at_once(server: Served) -> None:
    answer = server.call("POST", "/v2/malformed/blobs/uploads/?digest-algorithm=md5")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_a_blob_is_mounted_from_where_it_is(server: Served) -> None:
    digest = server.push_blob("origin", b"mounted")
    answer = server.call("POST", f"/v2/target/one/blobs/uploads/?mount={digest}&from=origin")
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/target/one/blobs/{digest}")
    assert server.call("GET", f"/v2/target/one/blobs/{digest}").body == b"mounted"
    assert server.call("POST", f"/v2/target/two/blobs/uploads/?mount={digest}").status == 201
    for query in (f"?mount={digest}&from=elsewhere", f"?mount={NOTHING}&from=origin", f"?mount={digest}&from=../x"):
        answer = server.call("POST", f"/v2/target/three/blobs/uploads/{query}")
        assert answer.status == 202
        assert "/v2/target/three/blobs/uploads/" in answer.headers["location"]


def test_a_blob_belongs_to_the_repositories_it_was_pushed_to(server: Served) -> None:
    digest = server.push_blob("owner", b"only here")
    answer = server.call("GET", f"/v2/origin/blobs/{digest}")
    assert answer.status == 404
    assert server.call("HEAD", f"/v2/nosuch/blobs/{digest}").status == 404


def test_a_deleted_blob_is_gone_from_its_repository_only(server: Served) -> None:
    digest = server.push_blob("first", b"deleted")
    server.push_blob("second", b"deleted")
    assert server.call("DELETE", f"/v2/first/blobs/{digest}").status == 202
    answer = server.call("DELETE", f"/v2/first/blobs/{digest}")
    assert (answer.status, answer.codes) == (404, ["BLOB_UNKNOWN"])
    assert server.call("HEAD", f"/v2/first/blobs/{digest}").status == 404
    assert server.call("GET", f"/v2/second/blobs/{digest}").body == b"deleted"


@pytest.mark.parametrize(
    ("asked", "status", "begin", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=90-", 206, 90, 100),
        ("bytes=-10", 206, 90, 100),
        ("bytes=-1000", 200, 0, 100),
        ("bytes=90-500", 206, 90, 100),
        ("bytes=0-", 200, 0, 100),
        ("bytes=0-1,5-6", 200, 0, 100),
        ("items=0-1", 200, 0, 100),
        ("bytes=-", 200, 0, 100),
        ("bytes=100-", 416, 0, 0),
        ("bytes=500-0", 416, 0, 0),
        ("bytes=1000-2000", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
def test_parts_of_a_blob(server: Served, asked: str, status: int, begin: int, end: int) -> None:
    data = bytes(range(100))
    digest = server.push_blob("ranges", data)
    answer = server.call("GET", f"/v2/ranges/blobs/{digest}", Range=asked)
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */100"
        return
    assert answer.body == data[begin:end]
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/100"


def test_who_has_a_blob_already_is_not_sent_it_again(server: Served) -> None:
    digest = server.push_blob("etags", b"known")
    answer = server.call("GET", f"/v2/etags/blobs/{digest}", If_None_Match=f'"{digest}"')
    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/UPPER/blobs/uploads/",
        "/v2/../etc/blobs/uploads/",
        "/v2/%2e%2e/%2e%2e/blobs/uploads/",
        "/v2/a//b/blobs/uploads/",
        "/v2/a%00b/blobs/uploads/",
        "/v2/-a/blobs/uploads/",
        "/v2/a_-b/blobs/uploads/",
        "/v2/a%2f..%2fb/blobs/uploads/",
        "/v2/" + "a" * 300 + "/blobs/uploads/",
    ],
)
def test_names_that_break_the_grammar_are_refused(server: Served, path: str) -> None:
    answer = server.call("POST", path)
    assert (answer.status, answer.codes) == (400, ["NAME_INVALID"])


@pytest.mark.parametrize(
    "name", ["a", "a/b/c/d/e", "a.b", "a__b", "a---b", "blobs/uploads", "a/manifests/b", "tags/list"]
)
def test_names_within_the_grammar_are_taken(server: Served, name: str) -> None:
    digest = server.push_blob(name, b"x")
    assert server.call("GET", f"/v2/{name}/blobs/{digest}").body == b"x"


def test_what_is_no_endpoint_is_not_found_and_wrong_methods_are_told_the_right_ones(server: Served) -> None:
    assert server.call("GET", "/").status == 404
    assert server.call("GET", "/v2/a/b").status == 404
    answer = server.call("PUT", "/v2/a/tags/list")
    assert (answer.status, answer.codes, answer.headers["allow"]) == (405, ["UNSUPPORTED"], "GET")


def test_a_truncated_body_is_kept_for_going_on(server: Served) -> None:
    data = os.urandom(300_000)
    location = server.begin("cut")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(data[:100_000])
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    # Until the server has let go of it, another writer is told to come back.
    while (answer := server.call("PATCH", location, b"")).status == 409:
        pass
    assert answer.status == 202
    offset = int(answer.headers["range"].partition("-")[2]) + 1
    assert offset == 100_000
    assert server.call("PUT", f"{location}?digest={sha256(data)}", data[offset:]).status == 201


def test_a_truncated_push_leaves_no_blob(server: Served) -> None:
    data = os.urandom(100_000)
    location = server.begin("cut")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        head = f"PUT {location}?digest={sha256(data)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        sock.sendall(head.encode() + data[:99_999])
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert server.call("HEAD", f"/v2/cut/blobs/{sha256(data)}").status == 404


def test_a_length_that_is_too_short_makes_another_blob_of_it(server: Served) -> None:
    """What comes behind it is no request."""
    data = b"0123456789\r\n\r\n"
    location = server.begin("lying")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        head = f"PUT {location}?digest={sha256(data)} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        sock.sendall(head.encode() + data)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"DIGEST_INVALID" in answer
    assert server.call("HEAD", f"/v2/lying/blobs/{sha256(data)}").status == 404


@pytest.mark.parametrize(
    "body", [b"zz\r\nabc\r\n0\r\n\r\n", b"2\r\nabc\r\n0\r\n\r\n", b"-1\r\n", b";\r\n", b"f" * 5000]
)
def test_a_malformed_stream_is_refused(server: Served, body: bytes) -> None:
    location = server.begin("malformed")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_client_may_ask_before_it_sends_and_send_the_next_request_at_once(server: Served) -> None:
    data = b"expected"
    location = server.begin("expect")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        head = f"PUT {location}?digest={sha256(data)} HTTP/1.1\r\nHost: x\r\n"
        sock.sendall(head.encode() + b"Expect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(data + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 201")
    assert b"HTTP/1.1 200" in answer


def test_two_uploads_of_one_blob_both_succeed(server: Served) -> None:
    data = os.urandom(200_000)
    first, second = server.begin("twice"), server.begin("twice")
    for location in (first, second):
        assert server.call("PATCH", location, data).status == 202
    for location in (first, second):
        assert server.call("PUT", f"{location}?digest={sha256(data)}").status == 201
    assert server.call("GET", f"/v2/twice/blobs/{sha256(data)}").body == data


def test_an_upload_has_one_writer_at_a_time(server: Served) -> None:
    location = server.begin("busy")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")  # it holds the upload now
        answer = server.call("PATCH", location, b"x")
        assert (answer.status, answer.codes) == (409, ["BLOB_UPLOAD_INVALID"])
        sock.sendall(b"0123456789")
        assert sock.recv(100).startswith(b"HTTP/1.1 202")


def test_a_deletion_does_not_disturb_a_pull_under_way(server: Served) -> None:
    data = os.urandom(24 << 20)
    digest = server.push_blob("pulled", data)
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(f"GET /v2/pulled/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = bytearray(sock.recv(1000))
        assert server.call("DELETE", f"/v2/pulled/blobs/{digest}").status == 202
        assert server.registry is not None
        server.registry.blobs.content.delete(digest)  # type: ignore[arg-type]
        while piece := sock.recv(1 << 20):
            received += piece
    assert bytes(received).partition(b"\r\n\r\n")[2] == data


def test_a_client_that_leaves_in_the_middle_of_a_pull_costs_nothing(server: Served) -> None:
    data = os.urandom(24 << 20)
    digest = server.push_blob("left", data)
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.sendall(f"GET /v2/left/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    sock.recv(1000)
    sock.close()
    assert server.call("GET", f"/v2/left/blobs/{digest}").body == data


def test_what_nobody_goes_on_with_is_removed_after_a_day(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server:
        location = server.begin("old")
        server.call("PATCH", location, b"12345")
        assert server.registry is not None
        blobs = server.registry.blobs
        modified = (blobs.content.root / "uploads" / uploads(server)[0]).stat().st_mtime
        assert blobs.cleanup(now=modified + 86000) == 0
        assert blobs.cleanup(now=modified + 86401) == 5
        assert server.call("GET", location).status == 404
