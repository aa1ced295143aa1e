"""`POST /build`: the context as an archive in the request's body, or at an address; progress as JSON lines.

The Dockerfile may use the whole language: what BuildKit alone understood works here as well.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from boatyard.api.engine import build_options, build_session, progress_lines, registry_auth
from boatyard.api.engine.build_context import ArchiveRequester, unpacked
from boatyard.api.engine.build_options import BuildOptions
from boatyard.api.engine.build_steps import Steps, short
from boatyard.api.engine.call import Answer, Call
from boatyard.api.engine.errors import body_of, message_of, status_of
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.api.engine.uploads import Uploads
from boatyard.api.feed import Feed
from boatyard.api.stream import answer, send_document
from boatyard.build.request import BuildReply, BuildRequest
from boatyard.client.documents.envelope import StreamEvent
from boatyard.errors import InvalidError
from boatyard.image import reference as references
from boatyard.registry.credential import Credential
from boatyard.wire.asgi import Send, until_disconnected
from boatyard.wire.pipes import open_pipe, pump_body

CLASSIC = ("", "1")
BUILDKIT = "2"
_CONFIG = "containerimage.config.digest"
_QUIET_KEPT = 1 << 20
"""Bytes of progress that are shown when a quiet build fails."""
_REF_LENGTH = 25


def routes(services: Services) -> tuple[Route, ...]:
    return (Route("POST", "/build", partial(_build, services, Uploads())),)


async def _build(services: Services, uploads: Uploads, call: Call) -> Answer | None:
    version = call.query.text("version")
    if version == BUILDKIT and services.session_builds is not None:
        return await build_session.build(services, services.session_builds, uploads, call)
    if version not in CLASSIC:
        raise InvalidError(f'invalid version "{version}"')
    await _build_classic(services, call)
    return None


async def _build_classic(services: Services, call: Call) -> None:
    options = build_options.parse(call)
    credentials = registry_auth.many(call.header("x-registry-config"))
    steps = Steps()
    form = BuildForm(steps, options, with_aux=call.since(1, 30))
    with open_pipe() as pipe:
        archive = pipe.readable if not options.remote else -1
        gone = pump_body(call.receive, pipe) if not options.remote else until_disconnected(call.receive)
        await answer(
            lambda feed: _run(services, options, credentials, archive, steps, feed), form, call.running, call.send, gone
        )


async def _run(
    services: Services,
    options: BuildOptions,
    credentials: Mapping[str, Credential],
    archive: int,
    steps: Steps,
    feed: Feed,
) -> BuildReply:
    async with AsyncExitStack() as stack:
        attrs: dict[str, str] = options.attrs
        directories: Mapping[str, Path] = {}
        if options.remote:
            attrs = {**attrs, "context": options.remote}
        else:
            context = await stack.enter_async_context(unpacked(archive, services.scratch, attrs["filename"]))
            attrs, directories = {**attrs, "filename": context.filename}, context.directories
        request = BuildRequest(
            ref=options.ref or secrets.token_hex(_REF_LENGTH)[:_REF_LENGTH],
            options=attrs,
            exports=options.exports,
            entitlements=options.entitlements,
            scope=options.project,
        )
        requester = ArchiveRequester(directories, f"archive:{options.project}", credentials)
        return await services.builds.run(request, requester, feed.emit, planned=steps.plan)


class BuildForm:
    """Implements `api.stream.Form`."""

    content_type = b"application/json"

    def __init__(self, steps: Steps, options: BuildOptions, *, with_aux: bool) -> None:
        self._steps = steps
        self._options = options
        self._with_aux = with_aux
        self._unsaid: deque[bytes] = deque()
        self._unsaid_size = 0

    def events(self, events: Sequence[StreamEvent]) -> bytes:
        lines = self._lines(self._steps.events(events))
        if not self._options.quiet:
            return lines
        self._unsaid.append(lines)
        self._unsaid_size += len(lines)
        while self._unsaid_size > _QUIET_KEPT and len(self._unsaid) > 1:
            self._unsaid_size -= len(self._unsaid.popleft())
        return b""

    def _lines(self, texts: Iterable[str]) -> bytes:
        return b"".join(progress_lines.text(text) for text in texts)

    def result(self, result: BuildReply) -> bytes:
        id = result.response.get(_CONFIG, "")
        if self._options.quiet:
            return progress_lines.text(f"{id}\n")
        said = self._lines(self._steps.finish(id))
        said += self._lines(f"[Warning] {remark}\n" for remark in self._options.remarks)
        if self._with_aux:
            said += progress_lines.aux({"ID": id})
        said += progress_lines.text(f"Successfully built {short(id)}\n")
        names = (references.parse(tag).familiar() for tag in self._options.tags)
        return said + self._lines(f"Successfully tagged {name}\n" for name in names)

    def failure(self, error: BaseException) -> bytes:
        said = b"".join(self._unsaid) + self._lines(self._steps.fail(error))
        return said + progress_lines.error(error, *self._steps.told(error))

    async def refuse(self, send: Send, error: BaseException) -> None:
        if not any(self._unsaid):
            await send_document(send, status_of(error), body_of(message_of(error)))
            return
        await send_document(send, 200, self.failure(error))
