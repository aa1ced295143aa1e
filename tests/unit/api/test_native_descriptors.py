"""Descriptors that go beside a request: how they are kept, who gets them, what a build makes of them."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from boatyard.api.native.offers import Offers
from boatyard.api.native.requester import DescriptorRequester, open_requester
from boatyard.build.requester import OutputTarget, Requester
from boatyard.client.calls import builds, images, runs
from boatyard.client.descriptors import MAX_DESCRIPTORS, MAX_SECRET, DescriptorChannel
from boatyard.client.documents.builds import BuildRequest, BuildResult, CacheOption, Export, Local
from boatyard.client.documents.envelope import StartedEvent, TerminalEvent
from boatyard.client.documents.images import ImageLoad, ImageSave, ImagesLoaded, ImagesSaved
from boatyard.client.documents.runs import RunRequest
from boatyard.client.endpoint import UnixEndpoint
from boatyard.errors import BoatyardError, DeniedError, InvalidError, NotFoundError, UnavailableError
from boatyard.runtime.container import Stdio
from boatyard.wire.peer import Peer
from unit.api.native_yard import Anything, Yard, yard

ME = Peer(os.getpid(), os.geteuid(), os.getegid())


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- the kernel tells nobody
            await asyncio.sleep(0.002)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(tmp_path, Offers(expiry=5, patience=0.2, per_user=8)) as found:
        yield found


@asynccontextmanager
async def requester(
    here: Yard, make: Callable[[DescriptorChannel], BuildRequest]
) -> AsyncIterator[DescriptorRequester]:
    with here.client.descriptors() as channel:
        async with open_requester(make(channel), here.offers, ME) as found:
            yield found


async def test_an_offer_is_claimed_once(here: Yard) -> None:
    with here.client.descriptors() as channel:
        token = channel.offer(0, 1)
        handover = await here.offers.claim(token, ME.uid)
        assert len(handover.descriptors) == 2
        assert not any(os.get_inheritable(descriptor) for descriptor in handover.descriptors)
        handover.close()
        with pytest.raises(UnavailableError, match="did not arrive"):
            await here.offers.claim(token, ME.uid)


async def test_a_claim_waits_for_an_offer_on_its_way(here: Yard) -> None:
    with here.client.descriptors() as channel:
        claim = asyncio.ensure_future(here.offers.claim("abc", ME.uid))
        await asyncio.sleep(0)
        socket.send_fds(channel._socket, [b'{"type":"offer","token":"abc"}'], [0])
        (await claim).close()


async def test_another_user_gets_nothing(here: Yard) -> None:
    with here.client.descriptors() as channel:
        token = channel.offer(0)
        with pytest.raises(DeniedError, match="another user"):
            await here.offers.claim(token, ME.uid + 1)
        (await here.offers.claim(token, ME.uid)).close()


async def test_what_nobody_claims_is_closed_with_the_connection(here: Yard) -> None:
    before = open_descriptors()
    with here.client.descriptors() as channel:
        for _ in range(3):
            channel.offer(0, 1)
        await until(lambda: open_descriptors() == before + 2 + 6)
    await until(lambda: open_descriptors() == before)


async def test_what_nobody_claims_in_time_is_closed(tmp_path: Path) -> None:
    async with yard(tmp_path, Offers(expiry=0.05, patience=0.05)) as here:
        before = open_descriptors()
        with here.client.descriptors() as channel:
            token = channel.offer(0)
            await until(lambda: open_descriptors() == before + 3)
            await until(lambda: open_descriptors() == before + 2)
            with pytest.raises(UnavailableError):
                await here.offers.claim(token, ME.uid)


async def test_a_user_can_not_have_any_number_waiting(here: Yard) -> None:
    with here.client.descriptors() as channel:
        tokens = [channel.offer(0, 1, 2, 0) for _ in range(2)]
        over = channel.offer(0)
        with pytest.raises(DeniedError, match="more than 8 descriptors"):
            await asyncio.to_thread(channel.receive, over)
        for token in tokens:
            with pytest.raises(UnavailableError):
                await here.offers.claim(token, ME.uid)


@pytest.mark.parametrize(
    "packet", [b"nonsense", b"{}", b'{"type":"offer","token":""}', b'{"type":"x","token":"a"}', b"[" * 5000]
)
async def test_a_malformed_packet_is_refused_with_a_reason(here: Yard, packet: bytes) -> None:
    before = open_descriptors()
    with here.client.descriptors() as channel:
        socket.send_fds(channel._socket, [packet], [0])
        with pytest.raises(InvalidError):
            await asyncio.to_thread(channel.receive, "x")
    await until(lambda: open_descriptors() == before)


async def test_too_many_descriptors_end_the_connection_and_leak_nothing(here: Yard) -> None:
    before = open_descriptors()
    with here.client.descriptors() as channel:
        channel.offer(*[0] * (MAX_DESCRIPTORS * 4))
        with pytest.raises(UnavailableError):
            await asyncio.to_thread(channel.receive, "x")
    await until(lambda: open_descriptors() == before)


async def test_a_directory_is_read_through_its_descriptor(here: Yard, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "file").write_text("x")

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(locals={"context": channel.offer_directory(str(tmp_path / "context"))})

    async with requester(here, make) as found:
        as_protocol: Requester = found
        async with as_protocol.directory("context") as directory:
            assert os.listdir(directory.fd) == ["file"]
            assert directory.identity.startswith(f"{ME.uid}:")
            assert directory.identity.endswith(f":{tmp_path}/context")
        with pytest.raises(NotFoundError, match="'other'") as raised:
            async with found.directory("other"):
                pass
        assert raised.value.hint == "it offers: context"


@pytest.mark.parametrize("flaw", ["inode", "device", "path", "file", "O_PATH", "two"])
async def test_a_directory_that_is_not_what_it_claims_is_refused(here: Yard, tmp_path: Path, flaw: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()

    def make(channel: DescriptorChannel) -> BuildRequest:
        flags = os.O_PATH if flaw == "O_PATH" else os.O_RDONLY
        descriptor = os.open(tmp_path / ("f" if flaw == "file" else "d"), flags)
        status = os.fstat(descriptor)
        identity = (
            f"{status.st_dev + (flaw == 'device')}:{status.st_ino + (flaw == 'inode')}:{'' if flaw == 'path' else '/d'}"
        )
        token = channel.offer(*[descriptor] * (2 if flaw == "two" else 1))
        os.close(descriptor)
        return BuildRequest(locals={"context": Local(token=token, identity=identity)})

    before = open_descriptors()
    with pytest.raises(InvalidError):
        async with requester(here, make):
            pass
    await until(lambda: open_descriptors() == before)


async def test_secrets_come_from_memory_files_and_pipes(here: Yard, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from file")
    readable, writable = os.pipe()

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(
            secrets={
                "memory": channel.offer_bytes(b"from memory"),
                "file": channel.offer_file(str(tmp_path / "file")),
                "pipe": channel.offer(readable),
            }
        )

    async with requester(here, make) as found:
        os.close(readable)
        pending = asyncio.ensure_future(found.secret("pipe"))
        await asyncio.sleep(0)
        os.write(writable, b"from ")
        await asyncio.sleep(0.01)
        os.write(writable, b"pipe")
        os.close(writable)
        assert await pending == b"from pipe"
        assert await found.secret("pipe") == b"from pipe", "a second step gets it, too"
        assert await found.secret("memory") == b"from memory"
        assert await found.secret("file") == b"from file"
        assert await found.secret("absent") is None


async def test_a_secret_has_a_limit(here: Yard) -> None:
    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(
            secrets={
                "full": channel.offer_bytes(b"x" * MAX_SECRET),
                "over": channel.offer_bytes(b"x" * (MAX_SECRET + 1)),
            }
        )

    async with requester(here, make) as found:
        assert len(await found.secret("full") or b"") == MAX_SECRET
        with pytest.raises(InvalidError, match="larger than 500 KiB"):
            await found.secret("over")


async def test_a_secret_that_never_comes_can_be_cancelled(here: Yard) -> None:
    readable, writable = os.pipe()
    before = open_descriptors()

    async with requester(here, lambda channel: BuildRequest(secrets={"s": channel.offer(readable)})) as found:
        pending = asyncio.ensure_future(found.secret("s"))
        await asyncio.sleep(0.01)
        pending.cancel()
    os.close(readable)
    os.close(writable)
    await until(lambda: open_descriptors() == before - 2)


async def test_an_ssh_agent_can_be_connected_to(here: Yard, tmp_path: Path) -> None:
    agent = socket.socket(socket.AF_UNIX)
    agent.bind(str(tmp_path / "agent"))
    agent.listen()

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(ssh={"default": channel.offer_agent(str(tmp_path / "agent"))})

    async with requester(here, make) as found:
        path = await found.ssh_agent("default")
        assert path is not None
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        assert await found.ssh_agent("absent") is None
    agent.close()


async def test_what_is_no_socket_is_no_ssh_agent(here: Yard, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InvalidError, match="not a unix socket"):
        async with requester(here, lambda channel: BuildRequest(ssh={"a": channel.offer_agent(str(tmp_path / "x"))})):
            pass


async def test_an_upload_is_a_stream_that_is_read_once(here: Yard) -> None:
    readable, writable = os.pipe()
    async with requester(here, lambda channel: BuildRequest(uploads={"u": channel.offer(readable)})) as found:
        os.close(readable)
        taken = await found.upload("u")
        assert taken is not None
        os.write(writable, b"tar")
        os.close(writable)
        assert await asyncio.to_thread(os.read, taken, 10) == b"tar"
        assert await asyncio.to_thread(os.read, taken, 10) == b""
        os.close(taken)
        with pytest.raises(InvalidError, match="read already"):
            await found.upload("u")


async def test_outputs_are_files_pipes_and_directories(here: Yard, tmp_path: Path) -> None:
    readable, writable = os.pipe()

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(
            exports=(
                Export(type="oci", token=channel.offer_new_file(str(tmp_path / "out.tar"))),
                Export(type="tar", token=channel.offer(writable)),
                Export(type="local", token=channel.offer_output_directory(str(tmp_path / "a" / "b"))),
                Export(type="image"),
            )
        )

    async with requester(here, make) as found:
        os.close(writable)
        file, pipe, directory, image = [await found.output(number) for number in range(4)]
        assert image is None
        assert isinstance(file, OutputTarget) and file.file_fd is not None
        os.write(file.file_fd, b"oci")
        assert isinstance(pipe, OutputTarget) and pipe.file_fd is not None
        os.write(pipe.file_fd, b"stream")
        assert isinstance(directory, OutputTarget) and directory.directory_fd is not None
        assert (directory.uid, directory.gid) == (ME.uid, ME.gid)
        os.close(os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=directory.directory_fd))
        assert await found.output(4) is None
    assert (tmp_path / "out.tar").read_bytes() == b"oci"
    assert (tmp_path / "a" / "b" / "made").exists()
    assert os.read(readable, 100) == b"stream"
    assert os.read(readable, 100) == b""
    os.close(readable)


async def test_an_output_must_be_writable(here: Yard, tmp_path: Path) -> None:
    (tmp_path / "f").touch()

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(exports=(Export(type="oci", token=channel.offer_file(str(tmp_path / "f"))),))

    with pytest.raises(InvalidError, match="not opened for writing"):
        async with requester(here, make):
            pass


async def test_a_reader_of_the_output_that_ends_early_fails_the_build(here: Yard) -> None:
    readable, writable = os.pipe()

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(exports=(Export(type="tar", token=channel.offer(writable)),))

    with pytest.raises(UnavailableError, match="reads the output has ended"):
        async with requester(here, make) as found:
            os.close(writable)
            target = await found.output(0)
            assert target is not None and target.file_fd is not None
            os.close(readable)
            os.write(target.file_fd, b"lost")


async def test_a_reader_that_leaves_after_the_last_byte_has_lost_nothing(here: Yard) -> None:
    readable, writable = os.pipe()

    def make(channel: DescriptorChannel) -> BuildRequest:
        return BuildRequest(exports=(Export(type="tar", token=channel.offer(writable)),))

    async with requester(here, make) as found:
        os.close(writable)
        target = await found.output(0)
        assert target is not None and target.file_fd is not None
        os.write(target.file_fd, b"everything")
        assert await asyncio.to_thread(os.read, readable, 100) == b"everything"
        os.close(readable)


async def test_a_local_cache_is_a_directory(here: Yard, tmp_path: Path) -> None:
    with here.client.descriptors() as channel:
        token = channel.offer_output_directory(str(tmp_path / "cache"))
        request = BuildRequest(cache_to=(CacheOption(type="local", token=token),))
        async with open_requester(request, here.offers, ME) as found:
            assert os.listdir(found.cache_directory(token)) == []


async def test_a_build_that_waits_for_a_stalled_pipe_is_cancelled_with_its_client(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    blocked, ended = threading.Event(), asyncio.Event()

    async def build(request: BuildRequest, requester: Requester, emit: Any, terminal: Any) -> BuildResult:
        target = await requester.output(0)
        assert target is not None and target.file_fd is not None
        descriptor = target.file_fd

        def fill() -> None:
            while True:
                blocked.set()
                os.write(descriptor, b"x" * 65536)

        task = asyncio.ensure_future(asyncio.to_thread(fill))
        try:
            await asyncio.shield(task)
        finally:
            # As the protocol wants: no thread uses the descriptor any more.
            await asyncio.wait((task,))
            ended.set()
        raise AssertionError

    async with yard(tmp_path, builds=Anything(build=build)) as here:
        with here.client.descriptors() as channel:
            request = BuildRequest(exports=(Export(type="tar", token=channel.offer(writable)),))
            async with here.client.stream(builds.build(request)):
                await until(blocked.is_set)
                await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            await ended.wait()
    os.close(readable)
    os.close(writable)


async def test_a_run_gets_the_clients_descriptors(tmp_path: Path) -> None:
    async def run(request: RunRequest, stdio: Stdio, on_start: Any, emit: Any) -> int:
        on_start("container-1")
        os.write(stdio.stdout, b"out")
        os.write(stdio.stderr, b"err")
        return 7

    pipes = [os.pipe() for _ in range(3)]
    async with yard(tmp_path, runs=Anything(run=run)) as here:
        with here.client.descriptors() as channel:
            token = channel.offer(pipes[0][0], pipes[1][1], pipes[2][1])
            async with here.client.stream(runs.run(RunRequest(image="i", stdio=token))) as stream:
                assert [event async for event in stream] == [StartedEvent(id="container-1")]
                assert (await stream.result()).exit_code == 7
    assert os.read(pipes[1][0], 10) == b"out"
    assert os.read(pipes[2][0], 10) == b"err"
    for pair in pipes:
        os.close(pair[0])
        os.close(pair[1])


async def test_a_terminal_comes_back_to_the_client(tmp_path: Path) -> None:
    async def run(request: RunRequest, stdio: Any, on_start: Any, emit: Any) -> int:
        master, slave = os.openpty()
        await asyncio.to_thread(stdio, master)
        data = await asyncio.to_thread(os.read, slave, 100)
        os.write(slave, data.upper())
        os.close(slave)
        return 0

    def client(path: str) -> bytes:
        from boatyard.client.sync import Client

        with (channel := DescriptorChannel(UnixEndpoint(path))):
            token = channel.offer()
            with Client(path).stream(runs.run(RunRequest(image="i", terminal=token))) as stream:
                assert next(iter(stream)) == TerminalEvent(token=token)
                (master,) = channel.receive(token)
                os.write(master, b"hello\n")
                said = b""
                while b"HELLO" not in said:
                    said += os.read(master, 100)
                assert stream.result.exit_code == 0
                os.close(master)
                return said

    async with yard(tmp_path, runs=Anything(run=run)) as here:
        assert b"HELLO" in await asyncio.to_thread(client, here.path)


async def test_a_run_needs_stdio_or_a_terminal(tmp_path: Path) -> None:
    async with yard(tmp_path, runs=Anything()) as here:
        with pytest.raises(InvalidError, match="stdio"):
            async with here.client.stream(runs.run(RunRequest(image="i"))) as stream:
                await stream.result()
        with here.client.descriptors() as channel, pytest.raises(InvalidError, match="three descriptors, 1 came"):
            async with here.client.stream(runs.run(RunRequest(image="i", stdio=channel.offer(0)))) as stream:
                await stream.result()


def archive_service() -> Anything:
    async def load(archive: int, emit: Any) -> ImagesLoaded:
        def read() -> int:
            size = 0
            while piece := os.read(archive, 65536):
                size += len(piece)
            return size

        return ImagesLoaded(names=(str(await asyncio.to_thread(read)),))

    async def save(request: ImageSave, target: int, emit: Any) -> ImagesSaved:
        if "absent" in request.names:
            raise NotFoundError("no such image: absent")

        def write() -> None:
            for _ in range(100):
                view = memoryview(b"y" * 50_000)
                while view:
                    view = view[os.write(target, view) :]

        await asyncio.to_thread(write)
        if "broken" in request.names:
            raise BoatyardError("disk on fire")
        return ImagesSaved(bytes=5_000_000)

    return Anything(load_images=load, save_images=save)


@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_images_are_loaded_from_a_descriptor(tmp_path: Path, kind: str) -> None:
    async with yard(tmp_path, images=archive_service()) as here:
        with here.client.descriptors() as channel:
            writer = None
            if kind == "file":
                (tmp_path / "a").write_bytes(b"x" * 3_000_000)
                token = channel.offer_file(str(tmp_path / "a"))
            else:
                readable, writable = os.pipe()
                token = channel.offer(readable)
                os.close(readable)
                writer = threading.Thread(target=lambda: (os.writev(writable, []), _write_all(writable, 3_000_000)))
                writer.start()
            async with here.client.stream(images.load_images(ImageLoad(token=token))) as stream:
                assert (await stream.result()).names == ("3000000",)
            if writer is not None:
                writer.join()


def _write_all(descriptor: int, size: int) -> None:
    view = memoryview(b"x" * size)
    while view:
        view = view[os.write(descriptor, view) :]
    os.close(descriptor)


async def test_images_are_loaded_from_a_body(tmp_path: Path) -> None:
    async with yard(tmp_path, images=archive_service()) as here:
        reader, writer = await asyncio.open_unix_connection(here.path)
        writer.write(
            b"PUT /boat/v1/images/archive HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3000000\r\n\r\n"
        )
        writer.write(b"x" * 3_000_000)
        assert b'"names":["3000000"]' in await reader.read()
        writer.close()


async def test_images_are_saved_to_a_pipe(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    async with yard(tmp_path, images=archive_service()) as here:
        with here.client.descriptors() as channel:
            token = channel.offer(writable)
            os.close(writable)
            async with here.client.stream(images.save_images(ImageSave(names=("a",), token=token))) as stream:
                size = await asyncio.to_thread(_read_all, readable)
                assert (await stream.result()).bytes == size == 5_000_000


def _read_all(descriptor: int) -> int:
    size = 0
    while piece := os.read(descriptor, 65536):
        size += len(piece)
    os.close(descriptor)
    return size


async def post_archive(path: str, name: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    body = b'{"names":["%s"]}' % name
    writer.write(
        b"POST /boat/v1/images/archive HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_images_are_saved_to_the_answers_body(tmp_path: Path) -> None:
    async with yard(tmp_path, images=archive_service()) as here:
        answer = await post_archive(here.path, b"a")
        assert answer.count(b"y") >= 5_000_000
        assert answer.endswith(b"0\r\n\r\n")
        assert (await post_archive(here.path, b"absent")).startswith(b"HTTP/1.1 404")
        assert not (await post_archive(here.path, b"broken")).endswith(b"0\r\n\r\n"), "a broken archive has no end"


async def test_a_client_that_stops_reading_an_archive_leaves_nothing(tmp_path: Path) -> None:
    async with yard(tmp_path, images=archive_service()) as here:
        before = open_descriptors()
        reader, writer = await asyncio.open_unix_connection(here.path)
        body = b'{"names":["a"]}'
        writer.write(
            b"POST /boat/v1/images/archive HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        await reader.readexactly(1000)
        writer.close()
        await until(lambda: open_descriptors() <= before)
