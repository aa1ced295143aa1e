"""Ends of a session that mean harm, over a session: what they send is refused, they are told why, and nothing is
written outside."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler

from boatyard.build.source.occupancy import Occupancy
from boatyard.errors import BoatyardError, InvalidError, UnavailableError
from boatyard.session import filesend, filesync, upload
from boatyard.session.filesync import Wanted
from boatyard.session.fsutil import packet
from boatyard.session.fsutil.entry import Entry
from boatyard.session.line import CallLine, Raw, open_call
from boatyard.session.mirrors import Mirrors
from boatyard.session.offered.filesend import Directory, FileSend
from boatyard.session.offered.filesync import FileSync
from fixtures.sessionpair import linked

LINK = Entry("a", stat.S_IFLNK | 0o777, 0, 0, 4, 0, "/tmp")
THROUGH = Entry("a/escaped", stat.S_IFREG | 0o644, 0, 0, 1, 0)
ABSOLUTE = Entry("/tmp/escaped", stat.S_IFREG | 0o644, 0, 0, 1, 0)
ABOVE = Entry("../escaped", stat.S_IFREG | 0o644, 0, 0, 1, 0)


class Sends:
    """Serves files, and sends what it is told to; remembers what it hears."""

    def __init__(self, *messages: bytes, path: str = filesync.METHOD) -> None:
        self.messages = messages
        self.path = path
        self.heard: list[packet.Packet] = []
        self.over = asyncio.Event()

    def __mapping__(self) -> Mapping[str, Handler]:
        return {self.path: Handler(self.answer, Cardinality.STREAM_STREAM, Raw, Raw)}

    async def answer(self, call: Any) -> None:
        line = CallLine(call)
        try:
            await line.send(self.messages)
            while messages := await line.receive():
                self.heard += map(packet.decode, messages)
        finally:
            self.over.set()


@pytest.mark.parametrize("entries", [[ABOVE], [ABSOLUTE], [LINK, THROUGH]], ids=["above", "absolute", "through a link"])
async def test_a_client_can_not_write_outside_of_its_mirror(tmp_path: Path, entries: list[Entry]) -> None:
    client = Sends(*map(packet.stat, entries), packet.END_OF_LIST)
    mirrors = Mirrors(tmp_path / "mirrors", Occupancy())
    async with linked([client]) as session:
        with pytest.raises(InvalidError):
            async with mirrors.received(session, Wanted("context")):
                raise AssertionError("unreachable")
        await client.over.wait()
        assert session.is_live, "one refused transfer doesn't end the session"
    assert [each.type for each in client.heard][-1:] == [packet.ERR]
    assert os.listdir(tmp_path) == ["mirrors"]
    assert not os.path.exists("/tmp/escaped")


@pytest.mark.parametrize(
    "messages",
    [
        [b"\xff\xff"],
        [packet.FINISHED],
        [packet.data(0, b"x")],
        [packet.END_OF_LIST, packet.END_OF_LIST, packet.stat(ABSOLUTE)],
    ],
)
async def test_what_is_no_transfer_is_refused(tmp_path: Path, messages: list[bytes]) -> None:
    client = Sends(*messages)
    async with linked([client]) as session:
        with pytest.raises(BoatyardError):
            async with Mirrors(tmp_path, Occupancy()).received(session, Wanted("context")):
                raise AssertionError("unreachable")
        await client.over.wait()


async def test_a_client_that_ends_in_the_middle_is_noticed(tmp_path: Path) -> None:
    client = Sends(packet.stat(Entry("f", stat.S_IFREG, 0, 0, 5, 0)))

    async def hang_up(call: Any) -> None:
        await CallLine(call).send(client.messages)

    client.answer = hang_up  # type: ignore[method-assign]
    async with linked([client]) as session:
        with pytest.raises(UnavailableError, match="ended the transfer before everything was there"):
            async with Mirrors(tmp_path, Occupancy()).received(session, Wanted("context")):
                raise AssertionError("unreachable")


async def test_an_upload_of_something_else_is_refused(tmp_path: Path) -> None:
    async with linked([Sends(b"\xff\xff\xff", path=upload.METHOD)]) as session:
        with pytest.raises(BoatyardError):
            await upload.pull(session, "context", tmp_path)


# -- the other way round ---------------------------------------------------------------------------------------------


def opened(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


@pytest.mark.parametrize("entries", [[ABOVE], [ABSOLUTE], [LINK, THROUGH]], ids=["above", "absolute", "through a link"])
async def test_a_daemon_can_not_write_outside_of_an_output(tmp_path: Path, entries: list[Entry]) -> None:
    target = opened(tmp_path / "out")
    async with linked([FileSend({0: Directory(target)})]) as session:
        call = open_call(session.channel, filesend.METHOD, [(filesend.EXPORTER, "0")])
        with pytest.raises(Exception, match=r"no path inside|without its directory"):
            async with call:
                await call.send_request()
                line = CallLine(call)
                await line.send([*map(packet.stat, entries), packet.END_OF_LIST])
                while await line.receive():
                    pass
    os.close(target)
    assert os.listdir(tmp_path) == ["out"]
    assert not os.path.exists("/tmp/escaped")


@pytest.mark.parametrize(
    "ask", [lambda: [packet.request(0)], lambda: [packet.request(7)], lambda: [packet.data(0, b"x")], lambda: [b"\xff"]]
)
async def test_a_daemon_gets_only_files_that_it_was_offered(tmp_path: Path, ask: Callable[[], list[bytes]]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "sub").mkdir()
    async with linked([FileSync({"context": str(tmp_path / "d")})]) as session:
        call = open_call(session.channel, filesync.METHOD, [(filesync.NAME, "context")])
        with pytest.raises(Exception, match=r"not offered|sends files|no packet"):
            async with call:
                await call.send_request()
                line = CallLine(call)
                await line.send(ask())
                while await line.receive():
                    pass


async def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    """Between the list and the request."""
    secret = tmp_path / "secret"
    secret.write_text("ours")
    context = tmp_path / "d"
    context.mkdir()
    (context / "f").write_text("text")
    async with linked([FileSync({"context": str(context)})]) as session:
        call = open_call(session.channel, filesync.METHOD, [(filesync.NAME, "context")])
        received = b""
        with pytest.raises(Exception, match="changed while it was sent"):
            async with call:
                await call.send_request()
                line = CallLine(call)
                while packet.END_OF_LIST not in (messages := await line.receive()):
                    assert messages
                (context / "f").unlink()
                (context / "f").symlink_to(secret)
                await line.send([packet.request(0)])
                while messages := await line.receive():
                    received += b"".join(messages)
    assert b"ours" not in received
