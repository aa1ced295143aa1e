"""Contexts that come beside the build they are for, before it or after it."""

from __future__ import annotations

import asyncio

import pytest

from boatyard.api.engine.uploads import Uploads
from boatyard.errors import ConflictError, UnavailableError


@pytest.mark.parametrize("first", ["offer", "taken"])
async def test_the_two_meet_whichever_comes_first(first: str) -> None:
    uploads = Uploads()
    done: list[str] = []

    async def build() -> None:
        async with uploads.taken("one") as archive:
            assert archive == 7
            done.append("read")

    async def upload() -> None:
        await uploads.offer("one", 7)
        done.append("answered")

    tasks = [asyncio.ensure_future(each()) for each in ((upload, build) if first == "offer" else (build, upload))]
    await asyncio.gather(*tasks)
    assert done == ["read", "answered"]
    assert not uploads._meetings


async def test_neither_waits_forever() -> None:
    uploads = Uploads(patience=0.01)
    with pytest.raises(UnavailableError, match="no build 'x' came"):
        await uploads.offer("x", 7)
    with pytest.raises(UnavailableError, match="context of build 'x' did not come"):
        async with uploads.taken("x"):
            pass
    assert not uploads._meetings


async def test_a_build_has_one_context() -> None:
    uploads = Uploads()
    first = asyncio.ensure_future(uploads.offer("x", 7))
    await asyncio.sleep(0)
    with pytest.raises(ConflictError):
        await uploads.offer("x", 8)
    async with uploads.taken("x") as archive:
        assert archive == 7
    await first


async def test_an_upload_that_is_given_up_is_forgotten() -> None:
    uploads = Uploads()
    task = asyncio.ensure_future(uploads.offer("x", 7))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not uploads._meetings
