"""Running an image."""

from __future__ import annotations

from functools import partial

from boatyard.api.feed import Feed
from boatyard.api.native.offers import Offers
from boatyard.api.native.operations import Incoming, Operation
from boatyard.api.native.services import RunService
from boatyard.api.native.stdio import open_stdio
from boatyard.client.documents.envelope import Done, StartedEvent
from boatyard.client.documents.runs import RunRequest, RunResult, SignalRequest


def operations(service: RunService, offers: Offers) -> tuple[Operation, ...]:
    return (
        Operation(
            "POST",
            "/runs",
            "Run a command in an image; closing the connection kills it.",
            RunResult,
            request=RunRequest,
            streamed=partial(_run, service, offers),
        ),
        Operation(
            "POST",
            "/runs/{id}/signal",
            "Send a signal to a running container.",
            Done,
            request=SignalRequest,
            plain=partial(_signal, service),
        ),
    )


async def _run(service: RunService, offers: Offers, incoming: Incoming, feed: Feed) -> RunResult:
    request: RunRequest = incoming.document
    container = ""

    def started(id: str) -> None:
        nonlocal container
        container = id
        feed.emit(StartedEvent(id=id))

    async with open_stdio(request.stdio, request.terminal, offers, incoming.peer, feed) as stdio:
        exit_code = await service.run(request, stdio, started, feed.emit)
    return RunResult(exit_code=exit_code, id=container)


async def _signal(service: RunService, incoming: Incoming) -> Done:
    request: SignalRequest = incoming.document
    await service.signal(incoming.names["id"], request.signal)
    return Done()
