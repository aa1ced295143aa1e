"""The client of a boatd: for programs (`connect`), and for the `boat` command (`client.autostart`, `client.sync`).

async with boatyard.client.connect() as yard:
    async with yard.stream(builds.build(request)) as events:
        async for event in events: ...
        print((await events.result()).response)

Importing this package loads nothing else; `connect` brings the asynchronous client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boatyard.client.aio import AsyncClient


def connect(host: str | None = None) -> AsyncClient:
    """A client of the daemon that `host` or BOAT_HOST names, else of this user's own, which is started when none
    answers. Blocks while it starts one (under a second)."""
    from boatyard.client.aio import connect as connect_async

    return connect_async(host)
