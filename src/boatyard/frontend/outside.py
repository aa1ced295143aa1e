"""Be a frontend from outside: a program that drives a daemon, ours or any BuildKit's.

    from boatyard.frontend import outside

    response = await outside.build(
        frontend,
        address="unix:///run/boatyard/boatd.sock",
        directories={"context": "src", "dockerfile": "src"},
        outputs=[outside.Output("local", directory="out")],
    )

The program is the client of the build, too: it offers directories and secrets on a session, and takes the outputs.

Specification: moby/buildkit `client/build.go`, `client/solve.go` (reference/builder.md 3.4).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from grpclib.exceptions import GRPCError

from boatyard._pb import control_pb2 as pb
from boatyard._pb.control_grpc import ControlStub
from boatyard.client import endpoint as endpoints
from boatyard.client.endpoint import Endpoint, TcpEndpoint, UnixEndpoint
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.frontend import following, problem, program
from boatyard.frontend.bridge import LIMITS, Bridge
from boatyard.progress import Emit
from boatyard.session.offered.filesend import Directory, File, FileSend
from boatyard.session.offered.filesync import FileSync
from boatyard.session.offered.secrets import Secrets
from boatyard.session.offered.server import Offered
from boatyard.wire import tls
from boatyard.wire.grpc.bytestream import ByteStream
from boatyard.wire.grpc.channel import Channel
from boatyard.wire.grpc.clientcall import ClientCall
from boatyard.wire.grpc.server import Service
from boatyard.wire.tunnel import Tunnel

BUILD = "buildkit-controlapi-buildid"
"""Metadata that says which build a call of LLBBridge belongs to."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where the result goes: `type` and `attributes` are an exporter's. `file` takes an archive (oci, docker, tar),
    `directory` the files themselves (local); an image stays in the daemon."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    directory: str = ""


async def build(
    frontend: object,
    *,
    address: str,
    directories: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    secrets: Mapping[str, Callable[[], bytes]] | None = None,
    outputs: Sequence[Output] = (),
    entitlements: Collection[str] = (),
    tell: Emit | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """One build from start to end; what the exporters say (`containerimage.digest`, ...). `frontend` is what an entry
    point may be. `directories`: by the names that frontends ask for, `context` and `dockerfile` first of all. `tell`
    takes progress events. BridgeError says what the daemon failed with; what `frontend` raises is raised."""
    found = program.of(frontend, "what was given")
    raw = dict(options or {})
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(_connected(endpoints.parse(address, environ, "/etc/boatyard")))
        targets, files = _opened(outputs, stack.enter_context(ExitStack()))
        services: list[Service] = [FileSync(directories or {}), FileSend(targets), Secrets(secrets or {})]
        offered = Offered(services, name="boatyard.frontend")
        stack.push_async_callback(offered.stop)
        await stack.enter_async_context(_session(channel, offered))
        ref = os.urandom(12).hex()
        control = ControlStub(channel)
        request = pb.SolveRequest(
            Ref=ref,
            Session=offered.announcement.id,
            FrontendAttrs=raw,
            Entitlements=sorted(entitlements),
            Exporters=[pb.Exporter(Type=output.type, Attrs=output.attributes) for output in outputs],
        )
        solving = asyncio.ensure_future(_solve(control, request))
        stack.push_async_callback(_ended, solving)
        if tell is not None:
            telling = asyncio.ensure_future(following.follow(control, ref, tell))
            stack.push_async_callback(_told, telling, solving)
        response = await _driven(found, channel, raw, ref, solving)
        for file in files:
            file.keep()
        return response


async def _driven(
    frontend: program.Frontend,
    channel: Channel,
    raw: Mapping[str, str],
    ref: str,
    solving: asyncio.Future[dict[str, str]],
) -> dict[str, str]:
    """The frontend's work, as long as the daemon's goes on."""
    working = asyncio.ensure_future(_work(frontend, channel, raw, ref))
    try:
        await asyncio.wait((working, solving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return await solving  # it failed before there was anything to work for
        if (error := working.exception()) is not None:
            raise error
        return await solving
    finally:
        working.cancel()
        await asyncio.wait((working,))


async def _work(frontend: program.Frontend, channel: Channel, raw: Mapping[str, str], ref: str) -> None:
    bridge = await Bridge.connect(channel, {BUILD: ref})
    try:
        await bridge.give(await program.result(frontend, bridge, raw))
    except Exception as error:
        await bridge.fail(problem.status_of(error))
        raise


async def _solve(control: ControlStub, request: pb.SolveRequest) -> dict[str, str]:
    try:
        return dict((await control.Solve(request)).ExporterResponse)
    except GRPCError as error:
        told = problem.of_call(error)
        raise told from told.reason


async def _ended(solving: asyncio.Future[dict[str, str]]) -> None:
    """Giving the call up ends the build."""
    solving.cancel()
    await asyncio.wait((solving,))
    if not solving.cancelled():
        solving.exception()  # it was told, or something else was


async def _told(telling: asyncio.Future[None], solving: asyncio.Future[dict[str, str]]) -> None:
    """The end of a build's progress comes after its end."""
    if not solving.done():
        telling.cancel()
    await asyncio.wait((telling,))
    if not telling.cancelled():
        telling.exception()  # a build is none the worse for it


@asynccontextmanager
async def _connected(endpoint: Endpoint) -> AsyncIterator[Channel]:
    channel = Channel(limits=LIMITS)
    loop = asyncio.get_running_loop()
    try:
        if isinstance(endpoint, UnixEndpoint):
            await loop.create_unix_connection(lambda: channel.protocol, endpoint.path)
        elif isinstance(endpoint, TcpEndpoint):
            known = endpoint.certificates
            context = tls.client_context(known.cert, known.key, known.ca) if known else None
            await loop.create_connection(lambda: channel.protocol, endpoint.host, endpoint.port, ssl=context)
        else:
            raise UnsupportedError(f"builds can't be driven over {endpoint}", hint="use unix:// or tcp://")
    except OSError as error:
        raise endpoints.unreachable(endpoint, error) from error
    try:
        yield channel
    finally:
        channel.close()
        await channel.wait_closed()


@asynccontextmanager
async def _session(channel: Channel, offered: Offered) -> AsyncIterator[None]:
    """What is offered, within a call of Control.Session."""
    opened = ControlStub(channel).Session.open(metadata=offered.announcement.headers())
    async with cast(ClientCall, opened) as call:
        await call.send_request()
        stream = ByteStream(call, pb.BytesMessage)
        tunnel = asyncio.create_task(Tunnel(offered.connection(), stream.receive, stream.send).run())
        try:
            yield
        finally:
            tunnel.cancel()
            await asyncio.wait((tunnel,))
            await offered.stop()
            await call.cancel()


class _NewFile:
    """An output file in the making: it takes its name when all has gone well. Owned by the build."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._draft, name = tempfile.mkstemp(prefix=".boatyard-", dir=os.path.dirname(os.path.abspath(path)))
        self._name = name
        os.fchmod(self._draft, 0o644)

    @property
    def target(self) -> File:
        return File(self._draft)

    def keep(self) -> None:
        os.replace(self._name, self._path)
        self._name = ""

    def close(self) -> None:
        os.close(self._draft)
        if self._name:
            os.unlink(self._name)


def _opened(outputs: Sequence[Output], stack: ExitStack) -> tuple[dict[int, File | Directory], list[_NewFile]]:
    """Everything is opened here, before anything is built."""
    targets: dict[int, File | Directory] = {}
    files = []
    for number, output in enumerate(outputs):
        if output.file and output.directory:
            raise InvalidError(f"the output {output.type} goes to a file or to a directory, not to both")
        if output.file:
            file = _NewFile(output.file)
            stack.callback(file.close)
            files.append(file)
            targets[number] = file.target
        elif output.directory:
            os.makedirs(output.directory, exist_ok=True)
            descriptor = os.open(output.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            targets[number] = Directory(descriptor)
    return targets, files
