from __future__ import annotations

import asyncio

import pytest

from boatyard.api.buildkit.active import ActiveBuilds
from boatyard.errors import ConflictError, NotFoundError
from fixtures.grpcpair import until


async def test_a_call_may_come_before_the_build_it_names() -> None:
    builds = ActiveBuilds()
    asking = asyncio.ensure_future(builds.get("r"))
    await asyncio.sleep(0)
    async with builds.begin("another"), builds.begin("r") as build:
        assert await asking is build
        assert await builds.get("r") is build


async def test_nobody_waits_for_ever() -> None:
    with pytest.raises(NotFoundError, match="no such job r"):
        await ActiveBuilds(wait=0.01).get("r")


async def test_a_build_is_known_for_a_while_after_its_end() -> None:
    builds = ActiveBuilds(linger=0.0, wait=0.01)
    async with builds.begin("r") as build:
        with pytest.raises(ConflictError):
            async with builds.begin("r"):
                pass
    assert builds.find("r") is build
    assert build.ended and build.begun.is_set()
    with pytest.raises(NotFoundError):
        await build.guest()
    async with builds.begin("r") as again:  # in its place
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert builds.find("r") is again


async def test_a_build_that_has_ended_is_forgotten() -> None:
    builds = ActiveBuilds(linger=0.0, wait=0.01)
    async with builds.begin("r"):
        pass
    await until(lambda: builds.find("r") is None)


async def test_all_builds_can_be_cancelled() -> None:
    builds = ActiveBuilds()
    async with builds.begin("r") as build, builds.begin("waiting"):
        build.work = asyncio.ensure_future(asyncio.Event().wait())
        builds.cancel_all()
        with pytest.raises(asyncio.CancelledError):
            await build.work
