"""Events: told once, in order, to all who watch, and for a while afterwards."""

from __future__ import annotations

import asyncio

from boatyard.engine import events
from boatyard.engine.events import Events


async def test_all_watchers_get_all_events_in_order() -> None:
    hub = Events(clock=iter(range(100)).__next__)
    with hub.watch() as (_, one), hub.watch() as (_, other):
        await asyncio.to_thread(hub.publish, "image", "tag", "a")
        hub.publish("image", "untag", "a", {"name": "x"})
        for queue in (one, other):
            found = [await queue.get(), await queue.get()]
            assert [(event.action, event.time) for event in found] == [("tag", 0), ("untag", 1)]
        assert hub.listeners == 2
    assert hub.listeners == 0


async def test_the_past_is_there_for_who_comes_later() -> None:
    hub = Events()
    for number in range(events.REMEMBERED + 10):
        hub.publish("image", "tag", str(number))
    await asyncio.sleep(0)
    with hub.watch() as (past, queue):
        assert [event.id for event in past] == [str(number) for number in range(10, events.REMEMBERED + 10)]
        assert queue.empty()


async def test_a_watcher_that_does_not_read_holds_nobody_up() -> None:
    hub = Events()
    with hub.watch() as (_, queue):
        for number in range(events.MOST_WAITING + 10):
            hub.publish("image", "tag", str(number))
        await asyncio.sleep(0)
        assert queue.qsize() == events.MOST_WAITING
