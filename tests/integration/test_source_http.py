"""The http source against a server that says exactly what a test wants, the worst included."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from boatyard.build.llb.graph import SourceOp
from boatyard.build.result import LayersResult
from boatyard.build.source import http
from boatyard.build.source.http import HttpStep
from boatyard.build.source.meta import HttpMeta, MetaQuestion
from boatyard.errors import (
    BoatyardError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from boatyard.image.digest import of_bytes
from fixtures.filework import DirectoryRequester, Told, Workshop

pytestmark = pytest.mark.root

Answer = bytes | Callable[[socket.socket], None]


@dataclass
class Server:
    """Answers each request with the next of `answers`, the last one again and again. One connection a request."""

    listener: socket.socket
    answers: list[Answer] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/dir/file.bin"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (more := connection.recv(65536)):
                    request += more
                self.requests.append(request.decode())
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                try:
                    if callable(answer):
                        answer(connection)
                    else:
                        connection.sendall(answer)
                except OSError:
                    pass  # the client had enough

    def header(self, name: str) -> str | None:
        """Of the last request."""
        for line in self.requests[-1].split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


def ok(body: bytes = b"content", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *lines])
    return head.encode() + b"\r\n\r\n" + body


def status(code: int, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {code} Because", "Content-Length: 0", "Connection: close", *lines, "", ""]).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        server.stopping.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


class Secrets(DirectoryRequester):
    """A client with secrets."""

    def __init__(self, **secrets: str) -> None:
        super().__init__({})
        self._secrets = {name.replace("__", ":"): value for name, value in secrets.items()}

    async def secret(self, id: str) -> bytes | None:
        value = self._secrets.get(id)
        return value.encode() if value is not None else None


@dataclass
class Downloader:
    workshop: Workshop

    def step(self, url: str, requester: DirectoryRequester | None = None, **attrs: str) -> HttpStep:
        named = {f"http.{name.replace('__', '.')}": value for name, value in attrs.items()}
        requester = requester or DirectoryRequester({})
        sources = self.workshop.root / "sources"
        return HttpStep(url, named, requester, self.workshop.store, sources, self.workshop.occupancy)

    async def get(self, url: str, requester: DirectoryRequester | None = None, **attrs: str) -> dict[str, str]:
        """The files of the layer."""
        step = self.step(url, requester, **attrs)
        await step.cache_map(Told())
        (result,) = await step.execute(Told(), [])
        assert isinstance(result, LayersResult)
        return await self.workshop.shown(result)

    @property
    def left_over(self) -> list[str]:
        """Files of downloads that did not end well."""
        return [path.name for path in self.workshop.root.glob("sources/http/*/data.*")]


@pytest.fixture
def downloader(workshop: Workshop) -> Downloader:
    return Downloader(workshop)


async def test_a_download_is_described_with_the_checksum_that_is_asked_for(
    server: Server, downloader: Downloader
) -> None:
    server.answers = [ok(Last_Modified="Sun, 09 Sep 2001 01:46:40 GMT")]
    step = downloader.step(server.url)
    await step.cache_map(Told())
    asked = hashlib.sha512(b"content and more").hexdigest()
    question = MetaQuestion(SourceOp(server.url), checksum="sha512", suffix=b" and more")
    checksum = of_bytes(b"content")
    found = await step.describe(question)
    assert found.http == HttpMeta(checksum, "file.bin", 1_000_000_000, f"sha512:{asked}", b" and more")
    assert (await step.describe(MetaQuestion(SourceOp(server.url)))).http == HttpMeta(
        checksum, "file.bin", 1_000_000_000
    )
    with pytest.raises(InvalidError, match="'md5'"):
        await step.describe(MetaQuestion(SourceOp(server.url), checksum="md5"))


async def test_a_file_has_the_urls_name_and_the_mode_and_owner_asked_for(
    server: Server, downloader: Downloader, workshop: Workshop
) -> None:
    server.answers = [ok(Last_Modified="Sun, 09 Sep 2001 01:46:40 GMT")]
    assert await downloader.get(server.url) == {"file.bin": "content"}
    step = downloader.step(server.url, perm="0751", uid="3", gid="4", filename="named")
    await step.cache_map(Told())
    (result,) = await step.execute(Told(), [])
    assert isinstance(result, LayersResult)
    found = await workshop.status(result, "named")
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_mtime) == (0o751, 3, 4, 1_000_000_000)
    assert await step.source_time() == 1_000_000_000


async def test_what_is_here_is_revalidated(server: Server, downloader: Downloader) -> None:
    modified = "Sun, 09 Sep 2001 01:46:40 GMT"
    server.answers = [ok(ETag='"1"', Last_Modified=modified), status(304), ok(b"new", ETag='"2"')]
    await downloader.get(server.url)
    assert await downloader.get(server.url) == {"file.bin": "content"}
    assert server.header("If-None-Match") == '"1"'
    assert server.header("If-Modified-Since") == modified
    assert await downloader.get(server.url) == {"file.bin": "new"}
    assert len(server.requests) == 3


async def test_with_a_checksum_that_is_here_nothing_is_asked(server: Server, downloader: Downloader) -> None:
    server.answers = [ok()]
    checksum = "sha256:" + hashlib.sha256(b"content").hexdigest()
    for _ in range(2):
        await downloader.get(server.url, checksum=checksum)
    assert len(server.requests) == 1
    await downloader.get(server.url, checksum="sha512:" + hashlib.sha512(b"content").hexdigest())


async def test_the_same_bytes_from_two_urls_have_one_key(server: Server, downloader: Downloader) -> None:
    server.answers = [ok()]
    keys = [(await downloader.step(server.url + end).cache_map(Told())).digest for end in ("", "?again")]
    assert keys[0] == keys[1]
    other = await downloader.step(server.url, perm="755").cache_map(Told())
    assert other.digest != keys[0]


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning")
    while connection.recv(1):
        pass


WRONG: dict[str, tuple[Answer, type[BoatyardError], str]] = {
    "it is not there": (status(404), NotFoundError, "404"),
    "it is gone": (status(410), NotFoundError, "410"),
    "the server fails": (status(500), UnavailableError, "500"),
    "it may not be read": (status(401), UnavailableError, "401"),
    "not modified, though nothing is here": (status(304), UnavailableError, "304"),
    "it ends too early": (ok(b"x" * 100)[:-50], UnavailableError, "50 of 100"),
    "chunks end too early": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe", UnavailableError, "download",
    ),
    "a chunk has no length": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UnavailableError, "download",
    ),
    "it is no HTTP": (b"SSH-2.0-OpenSSH\r\n", UnavailableError, "download"),
    "nothing is said": (b"", UnavailableError, "download"),
    "a header never ends": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, UnavailableError, "download"),
    "it leads in a circle": (status(302, Location="/dir/file.bin"), UnavailableError, "302"),
    "it leads to a file": (status(302, Location="file:///etc/passwd"), UnavailableError, "not allowed"),
    "it leads to ftp": (status(302, Location="ftp://127.0.0.1/x"), UnsupportedError, "ftp:"),
    "it stalls": (endless, UnavailableError, "0.2 seconds"),
    "it never answers": (lambda connection: connection.recv(1) and None, UnavailableError, "0.2 seconds"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_a_bad_answer_is_a_clear_error_and_leaves_nothing(
    server: Server, downloader: Downloader, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.2)
    answer, kind, reason = WRONG[what]
    server.answers = [answer]
    with pytest.raises(kind) as raised:
        await downloader.get(server.url)
    assert reason in str(raised.value)
    assert raised.value.hint
    assert downloader.left_over == []
    server.answers = [ok()]
    assert await downloader.get(server.url) == {"file.bin": "content"}


async def test_a_wrong_checksum_keeps_what_was_here(server: Server, downloader: Downloader) -> None:
    server.answers = [ok(ETag='"1"'), ok(b"other"), status(304)]
    await downloader.get(server.url)
    with pytest.raises(IntegrityError, match="the checksum asks for"):
        await downloader.get(server.url, checksum="sha256:" + "0" * 64)
    assert downloader.left_over == []
    assert await downloader.get(server.url) == {"file.bin": "content"}


async def test_a_damaged_download_is_found_and_fetched_again(server: Server, downloader: Downloader) -> None:
    server.answers = [ok(ETag='"1"'), status(304), ok()]
    await downloader.get(server.url)
    (kept,) = downloader.workshop.root.glob("sources/http/*/data")
    kept.write_text("CONTENT")
    with pytest.raises(IntegrityError, match="damaged"):
        await downloader.get(server.url)
    assert await downloader.get(server.url) == {"file.bin": "content"}


NAMES = {
    "attachment; filename=plain.txt": "plain.txt",
    'attachment; filename="with blanks.txt"': "with blanks.txt",
    "attachment; filename*=UTF-8''na%C3%AFve": "naïve",
    'attachment; filename="../../etc/passwd"': "passwd",
    'attachment; filename="/etc/passwd"': "passwd",
    'attachment; filename="..%2f..%2fescape"': "escape",
    'attachment; filename=".."': "download",
    'attachment; filename="a%00b"': "download",
    f'attachment; filename="{"n" * 300}"': "download",
    "attachment": "file.bin",
}


@pytest.mark.parametrize("header", NAMES)
async def test_a_name_given_by_the_server_is_only_a_name(server: Server, downloader: Downloader, header: str) -> None:
    server.answers = [ok(Content_Disposition=header)]
    assert await downloader.get(server.url) == {NAMES[header]: "content"}


async def test_redirects_are_followed_and_credentials_stay_with_their_host(
    server: Server, downloader: Downloader
) -> None:
    server.answers = [status(302, Location="/elsewhere"), ok()]
    host = server.url.split("/")[2]
    token = Secrets(**{f"HTTP_AUTH_TOKEN_{host}": "t0ken"})
    assert await downloader.get(server.url, token) == {"file.bin": "content"}
    assert server.header("Authorization") == "Bearer t0ken"
    other = server.url.replace("127.0.0.1", "localhost")
    server.requests.clear()
    server.answers = [status(302, Location=other), ok()]
    await downloader.get(server.url + "?again", token)
    assert "Bearer t0ken" in server.requests[0]
    assert server.header("Authorization") is None


async def test_credentials_of_the_url_are_sent_and_never_shown(server: Server, downloader: Downloader) -> None:
    server.answers = [status(403)]
    with pytest.raises(UnavailableError) as raised:
        await downloader.get(server.url.replace("://", "://me:s3cret@"))
    assert server.header("Authorization") == "Basic bWU6czNjcmV0"
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in str(raised.value.__cause__)


async def test_headers_can_be_given(server: Server, downloader: Downloader) -> None:
    server.answers = [ok()]
    await downloader.get(server.url, header__X_Test="yes".replace("_", "-"), authheadersecret="MINE")
    assert server.header("X_Test") == "yes"
    await downloader.get(server.url, Secrets(MINE="Digest x"), authheadersecret="MINE")
    assert server.header("Authorization") == "Digest x"


async def test_a_cancelled_download_lets_go_of_the_server_at_once(server: Server, downloader: Downloader) -> None:
    let_go = threading.Event()
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning")
        loop.call_soon_threadsafe(begun.set)
        while connection.recv(1):
            pass
        let_go.set()

    server.answers = [stall]
    task = asyncio.create_task(downloader.get(server.url))
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(let_go.wait, 5)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert downloader.left_over == []


async def test_two_at_once_download_once(server: Server, downloader: Downloader) -> None:
    server.answers = [ok(ETag='"1"'), status(304)]
    results = await asyncio.gather(*(downloader.get(server.url) for _ in range(2)))
    assert results == [{"file.bin": "content"}] * 2
    assert ["If-None-Match" in request for request in server.requests] == [False, True]


async def test_what_the_client_streams_is_a_file(workshop: Workshop, downloader: Downloader) -> None:
    class Streaming(DirectoryRequester):
        async def upload(self, id: str) -> int | None:
            if id != "abc":
                return None
            reader, writer = os.pipe()
            os.write(writer, b"streamed")
            os.close(writer)
            return reader

    assert await downloader.get("http://buildkit-session/abc", Streaming({}), filename="context") == {
        "context": "streamed"
    }
    with pytest.raises(NotFoundError, match="no upload"):
        await downloader.get("http://buildkit-session/other", Streaming({}))
