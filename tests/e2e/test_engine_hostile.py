"""What clients must not be able to do over Docker's API, and what may become of them without harm."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.engine import Connection, ask, build, tar_of
from e2e.test_engine_build import files_of, left_overs
from e2e.yard import Yard

DOCKERFILE = "FROM scratch\nCOPY . /\n"


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        os.sched_yield()


Entry = tuple[tarfile.TarInfo, bytes]


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", data: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), 0o644
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = 1, 3
    return info, data


def archive(*entries: Entry) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in (entry("Dockerfile", data=DOCKERFILE.encode()), *entries):
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../escaped", data=b"x")],
        [entry("a/../../escaped", data=b"x")],
        [entry("link", tarfile.LNKTYPE, link="../../escaped")],
        [entry("null", tarfile.CHRTYPE)],
        [entry("disk", tarfile.BLKTYPE)],
        [entry("link", tarfile.LNKTYPE, link="/etc/passwd")],
    ],
    ids=["up", "up from below", "hard link up", "character device", "block device", "hard link to a file of the host"],
)
def test_what_would_leave_the_context_is_refused(yard: Yard, entries: list[Entry]) -> None:
    answer = build(yard, archive(*entries))
    assert answer.status == 400
    assert "the build context is not a usable tar archive" in answer.message
    assert left_overs(yard) == []
    assert not (yard.data / "escaped").exists() and not (yard.data / "sources/escaped").exists()


def test_paths_and_links_that_point_outside_stay_inside(yard: Yard, tmp_path: Path) -> None:
    """An absolute link is a file like any other in a context: what goes through it ends up below the context's root."""
    target = tmp_path / "outside"
    target.mkdir()
    answer = build(
        yard,
        archive(
            entry("/absolute", data=b"a"),
            entry("out", tarfile.SYMTYPE, link=str(target)),
            entry("up", tarfile.SYMTYPE, link="../../../../../.." + str(target)),
            entry("out/through", data=b"b"),
            entry("up/through-up", data=b"c"),
        ),
    )
    tree = files_of(yard, answer)
    assert list(target.iterdir()) == []
    assert tree.text("absolute") == "a"
    assert tree.text(f"{str(target).lstrip('/')}/through") == "b"
    assert tree.entries["out"].linkname == str(target)


def test_a_link_in_the_context_reads_nothing_of_the_host(yard: Yard) -> None:
    files = archive(
        entry("passwd", tarfile.SYMTYPE, link="/etc/passwd"), entry("Other", data=b"FROM scratch\nCOPY passwd /x/\n")
    )
    answer = build(yard, files, dockerfile="Other")
    assert "root:" not in answer.body.decode()
    as_dockerfile = build(yard, files, dockerfile="passwd")
    assert as_dockerfile.status == 404
    assert "root:" not in as_dockerfile.body.decode()


@pytest.mark.parametrize("cut", [100, 520, 1100, 1600])
def test_an_archive_that_is_cut_off_is_refused(yard: Yard, cut: int) -> None:
    whole = archive(entry("data", data=b"x" * 900))
    answer = build(yard, whole[:cut])
    assert answer.status == 400
    assert "cut off" in answer.message


def test_compressed_archives_that_are_damaged_are_refused(yard: Yard) -> None:
    packed = bytearray(gzip.compress(archive(entry("data", data=os.urandom(5000)))))
    assert build(yard, bytes(packed[:-20])).status == 400
    packed[len(packed) // 2] ^= 0xFF
    assert build(yard, bytes(packed)).status == 400
    assert build(yard, b"").status in (400, 404)


def test_an_entry_that_says_it_is_larger_than_the_archive_is_refused(yard: Yard) -> None:
    info, _ = entry("huge")
    info.size = 1 << 40
    data = archive()[:1024] + info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512
    assert build(yard, data).status == 400


def send(yard: Yard, data: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(yard.socket))
    client.sendall(data)
    return client


def answered(client: socket.socket) -> bytes:
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    client.close()
    return data


def test_a_body_that_is_shorter_than_promised_builds_nothing(yard: Yard) -> None:
    data = tar_of({"Dockerfile": "FROM scratch\nENV short=1\n"})
    head = f"POST /build?t=engine-short HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data) + 1000}\r\n\r\n".encode()
    client = send(yard, head + data)
    client.shutdown(socket.SHUT_WR)
    answered(client)
    assert ask(yard, "GET", "/images/engine-short/json").status == 404
    until(lambda: left_overs(yard) == [], "the context stayed")


def test_chunks_that_break_off_build_nothing(yard: Yard) -> None:
    data = tar_of({"Dockerfile": "FROM scratch\nENV chunk=1\n"})
    head = b"POST /build?t=engine-chunk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = send(yard, head + f"{len(data):x}\r\n".encode() + data + b"\r\n")
    client.close()
    until(lambda: left_overs(yard) == [], "the context stayed")
    assert ask(yard, "GET", "/images/engine-chunk/json").status == 404


@pytest.mark.parametrize("start", [b"GET /_ping HTTP/1.1\r\nX-Registry-Auth: ", b"GET /images/json?filters="])
def test_headers_without_end_are_refused(yard: Yard, start: bytes) -> None:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(yard.socket))
    try:
        client.sendall(start + b"a" * 5_000_000)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it stopped listening
    assert answered(client).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    assert ask(yard, "GET", "/_ping").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/images/%00/json"),
        ("GET", "/images/..%2F..%2Fetc%2Fpasswd/json"),
        ("GET", "/images/%ff%fe/json"),
        ("GET", "/images/" + "a" * 5000 + "/json"),
        ("DELETE", "/images/%20"),
        ("POST", "/images/busybox/tag?repo=%00"),
        ("GET", "/images/json?filters=%7B%22label%22%3A%5B%22%5Cud800%22%5D%7D"),
        ("GET", "/events?until=99999999999999999999"),
        ("GET", "/events?until=0&filters=[1]"),
        ("POST", "/build?memory=99999999999999999999999"),
        ("POST", "/images/create?fromImage=%00"),
        ("GET", "/containers/{x}/json"),
        ("GET", "/networks/{0.__class__}"),
    ],
)
def test_names_that_make_no_sense_are_refused(yard: Yard, method: str, path: str) -> None:
    answer = ask(yard, method, path)
    assert 400 <= answer.status < 500 or answer.status == 501
    assert answer.message


def test_a_client_that_goes_ends_its_build(yard: Yard) -> None:
    """Nothing of it is left: no process, no directory."""
    marker = f"31{os.getpid()}"
    data = tar_of({"Dockerfile": f"FROM busybox\nRUN echo begun; sleep {marker}\n"})
    connection = Connection(yard.socket)
    connection.request("POST", "/build?nocache=1", data)
    response = connection.getresponse()
    while b"begun\\n" not in response.readline():
        pass
    until(lambda: sleeping(marker), "the step does not run")
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    response.close()
    until(lambda: not sleeping(marker), "the step goes on")
    until(lambda: left_overs(yard) == [], "the context stayed")


def sleeping(seconds: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                return True
        except OSError:
            continue
    return False


def test_a_client_that_goes_while_it_sends_leaves_nothing(yard: Yard) -> None:
    data = archive(entry("data", data=b"x" * 3_000_000))
    head = f"POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    client = send(yard, head + data[: len(data) // 2])
    until(lambda: left_overs(yard) != [], "the context is not unpacked")
    client.close()
    until(lambda: left_overs(yard) == [], "the context stayed")


def test_a_client_that_does_not_read_does_not_hold_its_build_up(yard: Yard) -> None:
    """What it doesn't read waits for it, within bounds."""
    dockerfile = "FROM busybox\nRUN yes 0123456789012345678901234567890123456789 | head -c 20000000\nENV unread=1\n"
    data = tar_of({"Dockerfile": dockerfile})
    connection = Connection(yard.socket)
    connection.request("POST", "/build?t=engine-unread&nocache=1", data)
    until(lambda: ask(yard, "GET", "/images/engine-unread/json").status == 200, "the build waits")
    response = connection.getresponse()
    rest = response.read()
    connection.close()
    assert rest.rstrip().endswith(b'"Successfully tagged engine-unread:latest\\n"}')


def test_a_daemon_that_is_told_to_stop_ends_uploads_and_builds(own_yard: Yard) -> None:
    client = send(own_yard, b"POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
    until(lambda: bool(left_overs(own_yard)), "the context is not unpacked")
    assert own_yard.stop() == 0
    assert b"HTTP/1.1 500" in answered(client)
    assert left_overs(own_yard) == []
