"""Builds over a session for Docker's API, made of the face that speaks BuildKit's protocol: the two don't know each
other. Loaded in part with the first such build."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from boatyard.api.engine.services import SessionClient
from boatyard.build.request import Export
from boatyard.client.documents.envelope import StartedEvent, StreamEvent, TerminalEvent

if TYPE_CHECKING:
    from boatyard.api.buildkit.requester import Places


class SessionBuilds:
    """Implements `SessionBuilds` of `api.engine.services`. One per daemon."""

    def __init__(self, places: Callable[[], Places]) -> None:
        self._places = places

    @asynccontextmanager
    async def requester(self, session: str, exports: Sequence[Export]) -> AsyncIterator[SessionClient]:
        from boatyard.api.buildkit.requester import SessionRequester

        async with SessionRequester(session, self._places(), exports) as requester:
            yield requester

    def status(self, sources: Callable[[], Mapping[str, str]]) -> Callable[[Sequence[StreamEvent]], Iterable[bytes]]:
        from boatyard.api.buildkit.status import StatusMessages

        messages = StatusMessages(sources)

        def encode(events: Sequence[StreamEvent]) -> Iterable[bytes]:
            told = [event for event in events if not isinstance(event, TerminalEvent | StartedEvent)]
            return (message.SerializeToString() for message in messages.of(told))

        return encode
