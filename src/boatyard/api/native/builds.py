"""Building, and the builds of the past."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from boatyard.api.feed import Feed
from boatyard.api.native.offers import Offers
from boatyard.api.native.operations import Incoming, Operation, Parameter
from boatyard.api.native.relays import unblocked
from boatyard.api.native.requester import DescriptorRequester, open_requester
from boatyard.api.native.services import BuildService
from boatyard.api.native.stdio import open_stdio, open_terminal
from boatyard.client.documents.builds import (
    BuildDelete,
    BuildDetail,
    BuildList,
    BuildRequest,
    BuildResult,
    BuildsDeleted,
    DebugRequest,
)
from boatyard.client.documents.envelope import EndResult
from boatyard.client.documents.runs import RunResult
from boatyard.errors import InvalidError, UnsupportedError

if TYPE_CHECKING:
    from boatyard.api.buildkit.requester import Places
    from boatyard.api.native.served import ServedRequester

_REF_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_MAX_REF = 64


def operations(
    service: BuildService, offers: Offers, places: Callable[[], Places] | None = None
) -> tuple[Operation, ...]:
    return (
        Operation(
            "POST",
            "/builds",
            "Build; closing the connection cancels.",
            BuildResult,
            request=BuildRequest,
            streamed=partial(_build, service, offers, places),
        ),
        Operation(
            "GET",
            "/builds",
            "The builds of the history and those that run.",
            BuildList,
            parameters=(
                Parameter("limit", "at most so many, 0 for all"),
                Parameter("status", "running, completed, failed or cancelled"),
            ),
            plain=partial(_list, service),
        ),
        Operation(
            "POST",
            "/builds/delete",
            "Forget builds.",
            BuildsDeleted,
            request=BuildDelete,
            plain=partial(_delete, service),
        ),
        Operation("GET", "/builds/{ref}", "One build.", BuildDetail, plain=partial(_inspect, service)),
        Operation(
            "GET",
            "/builds/{ref}/logs",
            "The events of a build as they came.",
            EndResult,
            parameters=(Parameter("follow", "1: go on until a running build has ended"),),
            streamed=partial(_logs, service),
        ),
        Operation(
            "POST", "/builds/{ref}/cancel", "Cancel a running build.", BuildDetail, plain=partial(_cancel, service)
        ),
        Operation(
            "POST",
            "/builds/{ref}/debug",
            "Run a shell in the state of a step.",
            RunResult,
            request=DebugRequest,
            streamed=partial(_debug, service, offers),
        ),
    )


def new_ref() -> str:
    return "".join(secrets.choice(_REF_ALPHABET) for _ in range(25))


async def _build(
    service: BuildService,
    offers: Offers,
    places: Callable[[], Places] | None,
    incoming: Incoming,
    feed: Feed,
) -> BuildResult:
    request: BuildRequest = incoming.document
    incoming.ref = _checked_ref(request.ref) if request.ref else new_ref()
    if request.on_error not in ("", "shell"):
        raise InvalidError(f'on_error must be "" or "shell", not {request.on_error!r}')
    if request.on_error == "shell" and not request.terminal:
        raise InvalidError("a shell on failure needs a terminal")
    async with AsyncExitStack() as stack:
        requester: DescriptorRequester | ServedRequester
        if request.session:
            requester = await stack.enter_async_context(_served(request, places))
        else:
            requester = await stack.enter_async_context(open_requester(request, offers, incoming.peer))
        terminal = await stack.enter_async_context(open_terminal(request.terminal, offers, incoming.peer, feed))
        work = service.build(_with_ref(request, incoming.ref), requester, feed.emit, terminal)
        return await unblocked(work, requester.abort)


def _served(request: BuildRequest, places: Callable[[], Places] | None) -> AbstractAsyncContextManager[ServedRequester]:
    if places is None:
        raise UnsupportedError("this daemon takes no sessions")
    from boatyard.api.native.served import open_served

    return open_served(request, places())


def _with_ref(request: BuildRequest, ref: str) -> BuildRequest:
    return request if request.ref == ref else replace(request, ref=ref)


def _checked_ref(ref: str) -> str:
    if len(ref) > _MAX_REF or not set(ref) <= set(_REF_ALPHABET + _REF_ALPHABET.upper() + "-_."):
        raise InvalidError(
            f"a build's ref has up to {_MAX_REF} letters, digits and -_., not {ref[:80]!r}",
            hint="leave it out, and the daemon chooses one",
        )
    return ref


async def _list(service: BuildService, incoming: Incoming) -> BuildList:
    found = await service.list_builds(limit=incoming.number("limit"), status=incoming.query.get("status", ""))
    return BuildList(builds=tuple(found))


async def _inspect(service: BuildService, incoming: Incoming) -> BuildDetail:
    return await service.inspect_build(incoming.names["ref"])


async def _logs(service: BuildService, incoming: Incoming, feed: Feed) -> EndResult:
    async for event in service.build_logs(incoming.names["ref"], follow=incoming.flag("follow")):
        feed.emit(event)
        await feed.room()
    return EndResult()


async def _cancel(service: BuildService, incoming: Incoming) -> BuildDetail:
    return await service.cancel_build(incoming.names["ref"])


async def _delete(service: BuildService, incoming: Incoming) -> BuildsDeleted:
    request: BuildDelete = incoming.document
    if bool(request.refs) == request.all:
        raise InvalidError("name the builds to delete, or ask for all of them")
    return BuildsDeleted(refs=tuple(await service.delete_builds(request)))


async def _debug(service: BuildService, offers: Offers, incoming: Incoming, feed: Feed) -> RunResult:
    request: DebugRequest = incoming.document
    ref = incoming.ref = incoming.names["ref"]
    async with open_stdio(request.stdio, request.terminal, offers, incoming.peer, feed) as stdio:
        return RunResult(exit_code=await service.debug_build(ref, request, stdio, feed.emit))
