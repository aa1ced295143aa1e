from __future__ import annotations

import asyncio
import threading

import pytest

from boatyard.errors import CancelledBuildError, InvalidError
from boatyard.image.interruption import Stop, all_settled, run_interruptible, run_settled


class Work:
    """Blocking work that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.ended = False

    def __call__(self) -> str:
        self.begun.set()
        assert self.go.wait(10)
        self.ended = True
        return "made"


async def begun(work: Work) -> None:
    await asyncio.to_thread(work.begun.wait, 10)


async def test_the_result_of_a_thread_is_returned() -> None:
    work = Work()
    work.go.set()
    assert await run_settled(work) == "made"


async def test_a_task_that_is_cancelled_twice_still_waits_for_its_thread() -> None:
    work = Work()
    task = asyncio.create_task(run_settled(work))
    await begun(work)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not task.done()
    work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended


async def test_an_interruptible_thread_is_told_and_waited_for() -> None:
    inside = threading.Event()
    left = threading.Event()

    def work(stop: Stop) -> None:
        inside.set()
        try:
            while True:
                stop.check()
        finally:
            left.set()

    task = asyncio.create_task(run_interruptible(work))
    await asyncio.to_thread(inside.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()


async def test_what_the_thread_raises_is_raised() -> None:
    def work(stop: Stop) -> None:
        stop.set()
        stop.check()

    with pytest.raises(CancelledBuildError):
        await run_interruptible(work)


async def test_when_one_fails_the_others_have_ended_before_that_is_told() -> None:
    ended: list[str] = []

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("long")

    async def bad() -> None:
        await asyncio.sleep(0)
        raise InvalidError("no")

    with pytest.raises(InvalidError):
        await all_settled(long(), bad(), long())
    assert ended == ["long", "long"]
