"""Each service of a session: our client end answers our daemon end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from boatyard.errors import ConflictError, DeniedError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from boatyard.image.content.directory import DirectoryStore
from boatyard.session import exporter, filesend, sshforward, upload
from boatyard.session.content import ClientContent
from boatyard.session.offered.content import Content, Layout
from boatyard.session.offered.filesend import Directory, File, FileSend
from boatyard.session.offered.secrets import Secrets
from boatyard.session.offered.sshforward import SSH, Agent
from boatyard.session.offered.upload import Upload
from boatyard.session.secrets import MAX_SECRET, get_secret
from fixtures.sessionpair import linked

# -- secrets ---------------------------------------------------------------------------------------------------------


async def test_a_secret_is_read_when_it_is_asked_for() -> None:
    value = b"one"
    async with linked([Secrets({"token": lambda: value})]) as session:
        assert await get_secret(session, "token") == b"one"
        value = b"two"
        assert await get_secret(session, "token") == b"two"


async def test_a_secret_that_is_not_there_is_none() -> None:
    async with linked([Secrets({})]) as session:
        assert await get_secret(session, "token") is None
    async with linked([]) as session:
        assert await get_secret(session, "token") is None


async def test_a_large_secret_is_refused() -> None:
    async with linked([Secrets({"token": lambda: bytes(MAX_SECRET + 1)})]) as session:
        with pytest.raises(InvalidError, match="larger than 500 KiB"):
            await get_secret(session, "token")


async def test_a_secret_that_can_not_be_read_says_why() -> None:
    def gone() -> bytes:
        raise DeniedError("secret 'token': permission denied")

    async with linked([Secrets({"token": gone})]) as session:
        with pytest.raises(DeniedError, match="permission denied"):
            await get_secret(session, "token")


# -- uploads ---------------------------------------------------------------------------------------------------------


async def test_an_upload_comes_as_a_file(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "stream").write_bytes(data)
    with open(tmp_path / "stream", "rb") as file:
        async with linked([Upload({"context": file.fileno()})]) as session:
            descriptor = await upload.pull(session, "context", tmp_path)
            assert descriptor is not None
            with open(descriptor, "rb") as received:
                assert received.read() == data
            with pytest.raises(NotFoundError, match="no http response"):
                await upload.pull(session, "context", tmp_path)


async def test_an_upload_that_breaks_off_is_none(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    async with linked([Upload({"context": readable})]) as session:
        os.write(writable, b"the beginning")
        pulling = asyncio.ensure_future(upload.pull(session, "/context", tmp_path))
        while not pulling.done() and os.path.exists(f"/proc/self/fd/{readable}"):
            await asyncio.sleep(0)
            session.end("the client was killed")
            os.close(writable) if writable >= 0 else None
            writable = -1
        with pytest.raises(UnavailableError, match="can't send its upload"):
            await pulling
    os.close(readable)


# -- SSH agents ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def agent(path: Path) -> AsyncIterator[list[int]]:
    """Answers each request with its kind, doubled; the kinds that came."""
    seen: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">L", await reader.readexactly(4))
                request = await reader.readexactly(size)
                seen.append(request[0])
                writer.write(struct.pack(">L", 2) + request[:1] * 2)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield seen
    finally:
        server.close()


@asynccontextmanager
async def forwarded(directory: Path) -> AsyncIterator[tuple[list[int], str]]:
    """An agent at the client's, and the path of a socket of ours that leads to it."""
    async with (
        agent(directory / "agent") as seen,
        linked([SSH({"default": Agent(str(directory / "agent"))})]) as session,
        sshforward.agent_socket(session, "default", directory) as path,
    ):
        yield seen, path


def ask(kind: int, rest: bytes = b"") -> bytes:
    return struct.pack(">LB", 1 + len(rest), kind) + rest


async def test_an_agent_answers_through_the_session(tmp_path: Path) -> None:
    async with agent(tmp_path / "agent") as seen:
        async with linked([SSH({"default": Agent(str(tmp_path / "agent"))})]) as session:
            assert await sshforward.has_agent(session, "")
            assert not await sshforward.has_agent(session, "other")
            async with sshforward.agent_socket(session, "default", tmp_path) as path:
                assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
                for _ in range(2):
                    reader, writer = await asyncio.open_unix_connection(path)
                    writer.write(ask(11) + ask(13, b"x" * 100_000))
                    assert await reader.readexactly(12) == b"\0\0\0\2\x0b\x0b\0\0\0\2\x0d\x0d"
                    writer.close()
        assert seen == [11, 13] * 2
    assert sorted(os.listdir(tmp_path)) == ["agent"]


async def test_the_daemon_can_not_change_what_an_agent_holds(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (seen, path):
        reader, writer = await asyncio.open_unix_connection(path)
        for kind in (17, 18, 19, 22, 23, 25, 27):
            writer.write(ask(kind, b"secret"))
            assert await reader.readexactly(5) == b"\0\0\0\1\5"
        writer.write(ask(11))
        assert await reader.readexactly(6) == b"\0\0\0\2\x0b\x0b"
        writer.close()
    assert seen == [11]


async def test_what_is_no_request_to_an_agent_ends_its_connection(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (seen, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"\xff\xff\xff\xff garbage")
        assert await reader.read() == b""
        writer.close()
    assert seen == []


async def test_a_raw_socket_carries_what_it_gets(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(echo, tmp_path / "raw")
    async with (
        linked([SSH({"socket": Agent(str(tmp_path / "raw"), raw=True)})]) as session,
        sshforward.agent_socket(session, "socket", tmp_path) as path,
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"any bytes")
        writer.write_eof()
        assert await reader.read() == b"any bytes"
        writer.close()
    server.close()


# -- outputs ---------------------------------------------------------------------------------------------------------


async def test_a_stream_goes_to_a_file(tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    with open(tmp_path / "out", "wb", buffering=0) as file:
        async with linked([FileSend({1: File(file.fileno())})]) as session:
            async with filesend.stream(session, 1, {"containerimage.digest": "sha256:x"}) as output:
                await output.write(data)
                await output.write(b"the end")
            with pytest.raises(ConflictError, match="written already"):
                async with filesend.stream(session, 1):
                    pass
            with pytest.raises(NotFoundError, match="exporter 0 not found"):
                async with filesend.stream(session, 0):
                    pass
    assert (tmp_path / "out").read_bytes() == data + b"the end"


async def test_a_client_that_can_not_write_ends_the_output(tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        async with linked([FileSend({0: File(full.fileno())})]) as session:
            with pytest.raises(Exception, match="No space left on device"):
                async with filesend.stream(session, 0) as output:
                    for _ in range(100):
                        await output.write(bytes(1_000_000))


def opened(path: Path) -> int:
    path.mkdir(exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


async def test_files_go_to_a_directory_beside_what_is_there(tmp_path: Path) -> None:
    source, target = opened(tmp_path / "result"), opened(tmp_path / "target")
    (tmp_path / "result" / "sub").mkdir()
    (tmp_path / "result" / "sub" / "new").write_text("new")
    (tmp_path / "result" / "same").write_text("from the build")
    (tmp_path / "target" / "same").write_text("what was here")
    (tmp_path / "target" / "other").write_text("other")
    async with linked([FileSend({0: Directory(target)})]) as session:
        await filesend.send_directory(session, 0, source)
    assert (tmp_path / "target" / "same").read_text() == "from the build"
    assert (tmp_path / "target" / "sub" / "new").read_text() == "new"
    assert (tmp_path / "target" / "other").read_text() == "other"
    os.close(source)
    os.close(target)


async def test_files_replace_a_directory_only_when_they_come_as_one(tmp_path: Path) -> None:
    source, target = opened(tmp_path / "result"), opened(tmp_path / "target")
    (tmp_path / "result" / "new").write_text("new")
    (tmp_path / "target" / "other").write_text("other")
    async with linked([FileSend({0: Directory(target, exact=True)})]) as session:
        with pytest.raises(InvalidError, match="replace"):
            await filesend.send_directory(session, 0, source)
        assert os.listdir(tmp_path / "target") == ["other"]
        await filesend.send_directory(session, 0, source, whole=True)
    assert os.listdir(tmp_path / "target") == ["new"]
    os.close(source)
    os.close(target)


async def test_files_are_no_younger_than_the_result_may_be(tmp_path: Path) -> None:
    source, target = opened(tmp_path / "result"), opened(tmp_path / "target")
    (tmp_path / "result" / "old").write_text("old")
    os.utime(tmp_path / "result" / "old", (500, 500))
    (tmp_path / "result" / "new").write_text("new")
    async with linked([FileSend({0: Directory(target)})]) as session:
        await filesend.send_directory(session, 0, source, latest=1000)
    assert {path.name: path.stat().st_mtime for path in (tmp_path / "target").iterdir()} == {"old": 500, "new": 1000}
    os.close(source)
    os.close(target)


async def test_a_client_without_places_for_outputs_is_told() -> None:
    async with linked([]) as session:
        with pytest.raises(UnsupportedError, match="takes no output"):
            async with filesend.stream(session, 0):
                pass
        assert await exporter.find_exporters(session, {}, []) == []
        await exporter.finalize(session, {})


# -- content ---------------------------------------------------------------------------------------------------------


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_content_is_written_and_read(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    store = DirectoryStore(tmp_path)
    async with linked([Content({"local:cache": store})]) as session:
        content = ClientContent(session, "local:cache")
        assert await content.size(digest_of(data)) is None
        async with content.write("ref", digest_of(data), len(data)) as writer:
            await writer.write(data)
        assert await content.size(digest_of(data)) == len(data)
        assert b"".join([piece async for piece in content.read(digest_of(data))]) == data
        assert b"".join([piece async for piece in content.read(digest_of(data), 10, 20)]) == data[10:30]
        with pytest.raises(ConflictError, match="already exists"):
            async with content.write("again", digest_of(data), len(data)):
                pass


async def test_a_write_that_broke_off_is_taken_up(tmp_path: Path) -> None:
    data = os.urandom(200_000)
    async with linked([Content({"s": DirectoryStore(tmp_path)})]) as session:
        content = ClientContent(session, "s")
        with pytest.raises(ZeroDivisionError):
            async with content.write("ref", digest_of(data), len(data)) as writer:
                await writer.write(data[:150_000])
                raise ZeroDivisionError
        while True:
            try:
                async with content.write("ref", digest_of(data), len(data)) as writer:
                    assert writer.offset == 150_000
                    await writer.write(data[writer.offset :])
                break
            except UnavailableError:
                await asyncio.sleep(0)  # the end of the first write is on its way
        assert await content.size(digest_of(data)) == len(data)


async def test_content_that_is_not_what_was_said_is_refused(tmp_path: Path) -> None:
    async with linked([Content({"s": DirectoryStore(tmp_path)})]) as session:
        content = ClientContent(session, "s")
        with pytest.raises(Exception, match="instead of"):
            async with content.write("ref", digest_of(b"one"), 3) as writer:
                await writer.write(b"two")
        assert await content.size(digest_of(b"two")) is None


async def test_a_layout_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / digest_of(b"blob").partition(":")[2]).write_bytes(b"blob")
    async with linked([Content({"oci:base": Layout(tmp_path)})]) as session:
        content = ClientContent(session, "oci:base")
        assert b"".join([piece async for piece in content.read(digest_of(b"blob"))]) == b"blob"
        with pytest.raises(NotFoundError, match="not found"):
            [piece async for piece in content.read(digest_of(b"other"))]
        with pytest.raises(InvalidError, match="only read"):
            async with content.write("ref", digest_of(b"x"), 1):
                pass
        with pytest.raises(InvalidError, match="invalid digest"):
            await content.size("sha256:../../etc/passwd")
        with pytest.raises(NotFoundError, match="unknown store"):
            [piece async for piece in ClientContent(session, "other").read(digest_of(b"blob"))]
    assert os.listdir(tmp_path) == ["blobs"]
