"""`POST /build?version=2`: a build whose client serves a BuildKit session, as docker 20.10 makes them.

The request carries options; files, secrets and agents are asked for over the session, and progress goes out as
BuildKit's own messages. A context from the client's standard input comes in a second request of the same kind, whose id
begins with `upload-request:`. Specification: moby/moby, `builder/builder-next/builder.go`.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from boatyard.api.engine import build_options, progress_lines, registry_auth
from boatyard.api.engine.build_context import ArchiveRequester, unpacked
from boatyard.api.engine.build_options import BuildOptions
from boatyard.api.engine.call import Answer, Call
from boatyard.api.engine.errors import body_of, message_of, status_of
from boatyard.api.engine.services import Services, SessionBuilds
from boatyard.api.engine.uploads import Uploads
from boatyard.api.feed import Feed
from boatyard.api.stream import answer, send_document
from boatyard.build.frontend.base import FrontendResult
from boatyard.build.request import BuildReply, BuildRequest
from boatyard.build.requester import WHOLE, ClientDirectory, OutputTarget, Progress, Requester, Wanted
from boatyard.client.documents.envelope import StreamEvent
from boatyard.errors import BuildError
from boatyard.image.digest import Digest
from boatyard.image.interruption import settled
from boatyard.image.platform import Platform
from boatyard.registry.credential import Credential
from boatyard.wire.asgi import Send, until_disconnected
from boatyard.wire.pipes import open_pipe, pump_body

TRACE, IMAGE = "moby.buildkit.trace", "moby.image.id"
_UPLOAD = "upload-request"
_SESSION = "client-session"
_CONFIG = "containerimage.config.digest"


async def build(services: Services, face: SessionBuilds, uploads: Uploads, call: Call) -> Answer | None:
    id = call.query.text("buildid")
    if id.startswith(f"{_UPLOAD}:"):
        return await _upload(uploads, id.partition(":")[2], call)
    options = build_options.parse(call, with_session=True)
    credentials = registry_auth.many(call.header("x-registry-config"))
    progress = SessionProgress(face, options)
    work = _Build(services, face, uploads, options, credentials, call.query.text("session"), progress)
    if options.remote:
        await answer(work.run, progress, call.running, call.send, until_disconnected(call.receive))
        return None
    with open_pipe() as pipe:
        work.archive = pipe.readable
        await answer(work.run, progress, call.running, call.send, pump_body(call.receive, pipe))
    return None


async def _upload(uploads: Uploads, id: str, call: Call) -> Answer:
    with open_pipe() as pipe:
        pumping = asyncio.ensure_future(pump_body(call.receive, pipe))
        call.running.add(pumping)
        try:
            # The descriptor is the build's until it says that it is done with it.
            await settled(asyncio.ensure_future(uploads.offer(id, pipe.readable)))
        finally:
            pumping.cancel()
            await asyncio.wait((pumping,))
    return Answer()


class _Build:
    """`archive`: where the context can be read from, when it is the request's body."""

    def __init__(
        self,
        services: Services,
        face: SessionBuilds,
        uploads: Uploads,
        options: BuildOptions,
        credentials: Mapping[str, Credential],
        session: str,
        progress: SessionProgress,
    ) -> None:
        self._services = services
        self._face = face
        self._uploads = uploads
        self._options = options
        self._credentials = credentials
        self._session = session
        self._progress = progress
        self.archive = -1

    async def run(self, feed: Feed) -> BuildReply:
        options = self._options
        async with AsyncExitStack() as stack:
            client = None
            rest: Requester = ArchiveRequester({}, "", self._credentials)
            if self._session:
                rest = client = await stack.enter_async_context(self._face.requester(self._session, options.exports))
            attrs, requester = await self._context(rest, stack)
            request = BuildRequest(
                ref=options.ref or secrets.token_hex(16),
                options=attrs,
                exports=options.exports,
                entitlements=options.entitlements,
                scope=options.project,
            )
            work = self._services.builds.run(request, requester, feed.emit, planned=self._progress.plan)
            building = asyncio.ensure_future(work)

            def cut() -> None:
                if client is not None:
                    client.abort()
                building.cancel()

            return await settled(building, cut)

    async def _context(self, rest: Requester, stack: AsyncExitStack) -> tuple[Mapping[str, str], Requester]:
        """The attributes that say where the context is, and who gives it."""
        attrs, remote = self._options.attrs, self._options.remote
        if remote == _SESSION:
            return attrs, rest
        if remote not in ("", _UPLOAD):
            return {**attrs, "context": remote}, rest
        archive = self.archive
        if remote:
            archive = await stack.enter_async_context(self._uploads.taken(self._options.ref))
        context = await stack.enter_async_context(unpacked(archive, self._services.scratch, attrs["filename"]))
        files = ArchiveRequester(context.directories, f"archive:{self._options.project}", {})
        return {**attrs, "filename": context.filename}, Beside(files, rest)


class Beside:
    """A client that sent its files in one way and gives the rest in another. Implements `build.requester.Requester`."""

    def __init__(self, files: Requester, rest: Requester) -> None:
        self._files = files
        self._rest = rest

    def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return self._files.directory(name, wanted, progress=progress)

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return self._rest.layout(name, digest, platform, session=session)

    async def secret(self, id: str) -> bytes | None:
        return await self._rest.secret(id)

    async def ssh_agent(self, id: str) -> str | None:
        return await self._rest.ssh_agent(id)

    async def upload(self, id: str) -> int | None:
        return await self._rest.upload(id)

    async def registry_credentials(self, host: str) -> Credential | None:
        return await self._rest.registry_credentials(host)

    async def output(self, index: int) -> OutputTarget | None:
        return await self._rest.output(index)


class SessionProgress:
    """Implements `api.stream.Form`."""

    content_type = b"application/json"

    def __init__(self, face: SessionBuilds, options: BuildOptions) -> None:
        self._files: Mapping[str, str] = {}
        self._messages = face.status(lambda: self._files)
        self._options = options

    def plan(self, result: FrontendResult) -> None:
        self._files = result.files

    def events(self, events: Sequence[StreamEvent]) -> bytes:
        return b"" if self._options.quiet else b"".join(map(_trace, self._messages(events)))

    def result(self, result: BuildReply) -> bytes:
        id = result.response.get(_CONFIG, "")
        said = progress_lines.aux({"ID": id}, IMAGE) if id else b""
        return said + (progress_lines.text(f"{id}\n") if id and self._options.quiet else b"")

    def failure(self, error: BaseException) -> bytes:
        message = message_of(error)
        return progress_lines.error(error, f"failed to solve: {message}" if isinstance(error, BuildError) else message)

    async def refuse(self, send: Send, error: BaseException) -> None:
        await send_document(send, status_of(error), body_of(message_of(error)))


def _trace(message: bytes) -> bytes:
    return progress_lines.aux(base64.b64encode(message).decode("ascii"), TRACE)
