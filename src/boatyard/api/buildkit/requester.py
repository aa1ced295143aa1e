"""The requester of a build whose client serves a BuildKit session: everything it may be asked for is a call to it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from boatyard.api.buildkit.layouts import fetched_layout, send_layout
from boatyard.build.exporter.options import flag
from boatyard.build.request import Export
from boatyard.build.requester import WHOLE, ClientDirectory, OutputTarget, Progress, Wanted
from boatyard.errors import UnavailableError
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.snapshot.area import remove_tree
from boatyard.registry.credential import Credential
from boatyard.session import auth, filesend, filesync, secrets, sshforward, upload
from boatyard.session.mirrors import Mirrors
from boatyard.session.registry import Sessions
from boatyard.session.session import Session
from boatyard.wire.pipes import until_readable

_PIECE = 1 << 18
_STREAMED = ("oci", "docker", "tar")
_HUB, _HUB_HOST = "docker.io", "registry-1.docker.io"
"""Clients know Docker Hub by its host."""


@dataclass(frozen=True, slots=True)
class Places:
    """What sessions of builds need of the daemon. `sockets` is a directory with a short path, `scratch` one on the disk
    of the daemon's root."""

    sessions: Sessions
    mirrors: Mirrors
    sockets: Path
    scratch: Path


class SessionRequester:
    """Satisfies `build.requester.Requester`. One per build, which closes it at its end: until then, directories that
    were received stay as they are."""

    def __init__(self, session_id: str, places: Places, exports: Sequence[Export] = ()) -> None:
        self._id = session_id
        self._places = places
        self._exports = list(exports)
        self._held = AsyncExitStack()
        self._agents: dict[str, asyncio.Future[str | None]] = {}
        self._outputs: list[_StreamedOutput] = []

    async def __aenter__(self) -> SessionRequester:
        return self

    async def __aexit__(self, *error: object) -> None:
        """No thread uses what was given out any more."""
        for output in self._outputs:
            await output.close()
        for agent in self._agents.values():
            agent.cancel()
        await self._held.aclose()

    def expect(self, exports: Sequence[Export]) -> None:
        """More than there were at first."""
        self._exports += exports

    def abort(self) -> None:
        """Nothing that was given out is read by anybody any more: whoever writes to it hears that at once."""
        for output in self._outputs:
            output.cut()

    @property
    def shared_key(self) -> str:
        """What the client's sessions for the same project have in common; "" when it doesn't say, or isn't there
        yet."""
        live = self._places.sessions.find(self._id)
        return live.shared_key if live is not None else ""

    async def session(self, id: str = "") -> Session:
        """The build's own, or another one that the request names. UnavailableError."""
        wanted = id or self._id
        if not wanted:
            raise UnavailableError(
                "the build needs something of its client, which has no session", hint="the client has to offer one"
            )
        return await self._places.sessions.get(wanted)

    @asynccontextmanager
    async def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AsyncIterator[ClientDirectory]:
        session = await self.session(wanted.session)
        asked = filesync.Wanted(name, wanted.include, wanted.exclude, wanted.follow)
        transferred = 0

        def told(_: int, size: int) -> None:
            nonlocal transferred
            transferred = size
            if progress is not None:
                progress(size)

        async with session.needed():
            mirror = await self._held.enter_async_context(
                self._places.mirrors.received(
                    session, asked, hint=wanted.hint, trusted=not wanted.afresh, progress=told
                )
            )
        yield ClientDirectory(mirror.fd, mirror.identity, given=True, transferred=transferred)

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return self._layout(name, digest, platform, session)

    @asynccontextmanager
    async def _layout(
        self, name: str, digest: Digest | None, platform: Platform, session: str
    ) -> AsyncIterator[ClientDirectory]:
        live = await self.session(session)
        async with live.needed(), self._temporary() as directory:
            await fetched_layout(live, name, digest, platform, directory)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield ClientDirectory(descriptor, f"layout:{name}")
            finally:
                os.close(descriptor)

    @asynccontextmanager
    async def _temporary(self) -> AsyncIterator[Path]:
        directory = Path(tempfile.mkdtemp(prefix="layout-", dir=self._places.scratch))
        try:
            yield directory
        finally:
            await asyncio.to_thread(remove_tree, str(directory))

    async def secret(self, id: str) -> bytes | None:
        if not self._id:
            return None
        session = await self.session()
        async with session.needed():
            return await secrets.get_secret(session, id)

    async def ssh_agent(self, id: str) -> str | None:
        if not self._id:
            return None
        if id not in self._agents:
            self._agents[id] = asyncio.ensure_future(self._agent(id))
        return await asyncio.shield(self._agents[id])

    async def _agent(self, id: str) -> str | None:
        session = await self.session()
        if not await sshforward.has_agent(session, id):
            return None
        return await self._held.enter_async_context(sshforward.agent_socket(session, id, self._places.sockets))

    async def upload(self, id: str) -> int | None:
        session = await self.session()
        async with session.needed():
            return await upload.pull(session, f"/{id}", self._places.scratch)

    async def registry_credentials(self, host: str) -> Credential | None:
        if not self._id:
            return None
        session = await self.session()
        async with session.needed():
            found = await auth.credentials(session, _HUB_HOST if host == _HUB else host)
        if found is None:
            return None
        if not found.username:
            return Credential(identity_token=found.secret)
        return Credential(found.username, found.secret)

    async def output(self, index: int) -> OutputTarget | None:
        export = self._exports[index]
        if export.type == "local":
            return OutputTarget(tree=SessionTree(await self.session(), index))
        if export.type not in _STREAMED:
            return None
        session = await self.session()
        if not flag(export.attrs, "tar", True):
            return await self._store(session)
        output = _StreamedOutput(session, index)
        self._outputs.append(output)
        return OutputTarget(file_fd=output.descriptor, finish=output.finish)

    async def _store(self, session: Session) -> OutputTarget:
        """A layout that is made here and then goes into the client's store, blob by blob."""
        directory = await self._held.enter_async_context(self._temporary())
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held.callback(os.close, descriptor)

        async def finish() -> None:
            async with session.needed():
                await send_layout(session, directory)

        return OutputTarget(directory_fd=descriptor, finish=finish)


class SessionTree:
    """Files for a directory of the client's. Implements `build.requester.TreeTarget`."""

    def __init__(self, session: Session, index: int) -> None:
        self._session = session
        self._index = index

    async def send(self, directory: int, *, whole: bool, latest: int | None, progress: Progress) -> None:
        async with self._session.needed():
            await filesend.send_directory(
                self._session,
                self._index,
                directory,
                whole=whole,
                latest=latest,
                progress=lambda _, size: progress(size),
            )


class _StreamedOutput:
    """An archive on its way to the client: an exporter's thread writes it into a pipe, the event loop sends it on."""

    def __init__(self, session: Session, index: int) -> None:
        self._readable, self.descriptor = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._readable, False)
        self._sending: asyncio.Task[None] = asyncio.ensure_future(self._send(session, index))

    async def _send(self, session: Session, index: int) -> None:
        try:
            async with session.needed(), filesend.stream(session, index) as output:
                while data := await self._read():
                    await output.write(data)
        finally:
            # Whoever still writes hears that nobody reads any more.
            os.close(self._readable)

    async def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._readable, _PIECE)
            except BlockingIOError:
                await until_readable(self._readable)

    async def finish(self) -> None:
        """Everything was written. Returns when the client has it; raises what it says."""
        self._close_writable()
        await self._sending

    def cut(self) -> None:
        self._sending.cancel()

    async def close(self) -> None:
        self._sending.cancel()
        await asyncio.wait((self._sending,))
        if not self._sending.cancelled():
            self._sending.exception()  # the exporter has met it, or is no more
        self._close_writable()

    def _close_writable(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
