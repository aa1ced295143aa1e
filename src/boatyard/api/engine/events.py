"""What happens in the daemon, as a stream."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from boatyard.api.engine import filters as filters_
from boatyard.api.engine.call import Call
from boatyard.api.engine.filters import Filters
from boatyard.api.engine.moments import parse_moment
from boatyard.api.engine.progress_lines import plain_line
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.engine.events import Event, Events
from boatyard.errors import InvalidError
from boatyard.image import reference as references
from boatyard.wire.asgi import Send, until_disconnected

_KINDS = (
    "builder", "config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "volume",
)  # fmt: skip
_FILTERS = (*_KINDS, "event", "label", "scope", "type")


def routes(services: Services) -> tuple[Route, ...]:
    return (Route("GET", "/events", partial(_events, services.events)),)


async def _events(events: Events, call: Call) -> None:
    now = time.time()
    since, until = (_moment(call, name, now) for name in ("since", "until"))
    if until is not None and since is not None and until < since:
        raise InvalidError(
            f"`since` time ({call.query.text('since')}) cannot be after `until` time ({call.query.text('until')})"
        )
    wanted = _Wanted(call.query.filters(*_FILTERS), since, until, creations=call.since(1, 46))
    with events.watch() as (past, queue):
        await call.send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
        )
        # At once, so that the client knows that from here on it misses nothing.
        await _tell(call.send, past if since is not None else (), wanted)
        if until is None or until > now:
            following = asyncio.ensure_future(_follow(queue, call.send, wanted))
            call.running.add(following)
            gone = asyncio.ensure_future(until_disconnected(call.receive))
            left = None if until is None else until - now
            try:
                await asyncio.wait((following, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (following, gone):
                    task.cancel()
                await asyncio.wait((following, gone))
        await call.send({"type": "http.response.body", "body": b"", "more_body": False})


def _moment(call: Call, name: str, now: float) -> float | None:
    written = call.query.text(name)
    return parse_moment(written, now) if written else None


async def _follow(queue: asyncio.Queue[Event], send: Send, wanted: _Wanted) -> None:
    while True:
        found = [await queue.get()]
        while not queue.empty():
            found.append(queue.get_nowait())
        await _tell(send, found, wanted)


async def _tell(send: Send, events: Iterable[Event], wanted: _Wanted) -> None:
    lines = b"".join(plain_line(_document(event)) for event in events if wanted.has(event))
    await send({"type": "http.response.body", "body": lines, "more_body": True})


def _document(event: Event) -> dict[str, Any]:
    """With the fields of old, which clients still read."""
    document: dict[str, Any] = {}
    if event.kind in ("image", "container"):
        document = {"status": event.action, "id": event.id}
    return {
        **document,
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time // 1_000_000_000,
        "timeNano": event.time,
    }


class _Wanted:
    """What one watcher asked for."""

    def __init__(self, filters: Filters, since: float | None, until: float | None, *, creations: bool) -> None:
        self._filters = filters
        self._since = -math.inf if since is None else since
        self._until = math.inf if until is None else until
        self._creations = creations

    def has(self, event: Event) -> bool:
        filters = self._filters
        if not self._since <= event.time / 1e9 <= self._until:
            return False
        if (event.kind, event.action) == ("image", "create") and not self._creations:
            return False
        for name, value in (("event", event.action), ("type", event.kind), ("scope", "local")):
            if name in filters and value not in filters[name]:
                return False
        return self._has_name(event) and filters_.match_labels(filters, event.attributes)

    def _has_name(self, event: Event) -> bool:
        """Of images, the name or ID; with or without the tag. Of the rest, the beginning is enough."""
        for kind in _KINDS:
            wanted = self._filters.get(kind)
            if not wanted:
                continue
            names = {event.id, event.attributes.get("name", "")}
            if kind == "image":
                names |= {_without_tag(name) for name in names}
                if event.kind != kind or not names.intersection(wanted):
                    return False
            elif not any(name.startswith(text) for name in names for text in wanted):
                return False
        return True


def _without_tag(name: str) -> str:
    try:
        return references.parse(name).familiar_name()
    except InvalidError:
        return name
