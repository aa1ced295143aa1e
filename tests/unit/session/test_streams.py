"""Descriptors of a client as streams: files, pipes, and pipes at whose other end nobody goes on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from boatyard.errors import StorageError, UnavailableError
from boatyard.session import filesend, upload
from boatyard.session.offered.filesend import File, FileSend
from boatyard.session.offered.streams import open_sink, pieces_of
from boatyard.session.offered.upload import Upload
from fixtures.sessionpair import linked


async def read(descriptor: int) -> bytes:
    return b"".join([piece async for piece in pieces_of(descriptor)])


async def test_files_pipes_and_devices_are_read_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    with open(tmp_path / "file", "rb") as file, open("/dev/null", "rb") as null:
        assert await read(file.fileno()) == b"x" * 1_000_000
        assert await read(null.fileno()) == b""
    readable, writable = os.pipe()
    os.write(writable, b"piped")
    os.close(writable)
    assert await read(readable) == b"piped"
    assert os.get_blocking(readable), "it is somebody else's, too"
    os.close(readable)


async def test_a_directory_is_no_stream(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(StorageError, match="directory"):
        await read(descriptor)
    os.close(descriptor)


async def test_a_pipe_that_nobody_reads_holds_nobody_up_for_ever() -> None:
    readable, writable = os.pipe()
    with open_sink(writable) as sink:
        writing = asyncio.ensure_future(sink.write([bytes(1_000_000)]))
        await asyncio.sleep(0)
        assert not writing.done()
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        os.close(readable)
        with pytest.raises(UnavailableError, match="has ended"):
            await sink.write([b"more"])
    assert os.get_blocking(writable)
    os.close(writable)


async def test_an_output_goes_through_a_pipe_at_its_readers_pace(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    readable, writable = os.pipe()
    async with linked([FileSend({0: File(writable)})]) as session:

        async def send() -> None:
            async with filesend.stream(session, 0) as output:
                await output.write(data)

        sending = asyncio.ensure_future(send())
        received = bytearray()
        async for piece in pieces_of(readable):
            received += piece
            if len(received) == len(data):
                break
        await sending
    assert received == data
    os.close(readable)
    os.close(writable)


async def test_an_upload_from_a_pipe_that_never_ends_can_be_given_up(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    async with linked([Upload({"context": readable})]) as session:
        os.write(writable, b"the beginning")
        pulling = asyncio.ensure_future(upload.pull(session, "context", tmp_path))
        await asyncio.sleep(0)
        pulling.cancel()
        await asyncio.wait([pulling])
        assert pulling.cancelled()
    os.close(readable)
    os.close(writable)
