from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from boatyard.build.llb.graph import CacheSharing
from boatyard.build.ops.cachemount import CacheMounts
from boatyard.errors import ConflictError, NotFoundError, StorageError


@pytest.fixture
def mounts(tmp_path: Path) -> CacheMounts:
    return CacheMounts(tmp_path / "cache-mounts")


async def test_what_a_step_leaves_is_there_for_the_next(mounts: CacheMounts) -> None:
    async with mounts.acquire("pip", CacheSharing.SHARED) as directory:
        (directory / "wheel").write_text("x")
    async with mounts.acquire("pip", CacheSharing.SHARED) as directory:
        assert (directory / "wheel").read_text() == "x"


async def test_a_new_cache_is_filled_once(mounts: CacheMounts) -> None:
    filled = []

    def fill(directory: Path) -> None:
        filled.append(directory)

    for _ in range(2):
        async with mounts.acquire("x", CacheSharing.SHARED, fill):
            pass
    assert len(filled) == 1


async def test_a_cache_whose_filling_failed_is_made_afresh(mounts: CacheMounts) -> None:
    def fill(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        async with mounts.acquire("x", CacheSharing.SHARED, fill):
            pass
    async with mounts.acquire("x", CacheSharing.SHARED) as directory:
        assert list(directory.iterdir()) == []


async def test_shared_caches_are_used_at_once(mounts: CacheMounts) -> None:
    async with mounts.acquire("x", CacheSharing.SHARED) as one, mounts.acquire("x", CacheSharing.SHARED) as other:
        assert one == other


async def test_private_caches_are_different_while_both_are_used(mounts: CacheMounts) -> None:
    async with mounts.acquire("x", CacheSharing.PRIVATE) as one, mounts.acquire("x", CacheSharing.PRIVATE) as other:
        assert one != other
    async with mounts.acquire("x", CacheSharing.PRIVATE) as again:
        assert again == one


async def test_locked_caches_are_used_one_after_the_other(mounts: CacheMounts) -> None:
    order = []

    async def use(name: str) -> None:
        async with mounts.acquire("x", CacheSharing.LOCKED):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(use("a"), use("b"))
    assert order == ["a in", "a out", "b in", "b out"]


async def test_a_cancelled_step_frees_its_lock(mounts: CacheMounts) -> None:
    inside = asyncio.Event()

    async def forever() -> None:
        async with mounts.acquire("x", CacheSharing.LOCKED):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(forever())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with mounts.acquire("x", CacheSharing.LOCKED):
        pass


async def test_caches_are_listed_by_the_ids_they_have(mounts: CacheMounts) -> None:
    async with mounts.acquire("/root/.cache", CacheSharing.SHARED):
        assert [(each.info.id, each.in_use) for each in mounts.walk()] == [("/root/.cache", True)]
    assert [each.in_use for each in mounts.walk()] == [False]


async def test_an_id_is_no_path(mounts: CacheMounts, tmp_path: Path) -> None:
    async with mounts.acquire("../../etc", CacheSharing.SHARED) as directory:
        assert directory.is_relative_to(tmp_path / "cache-mounts")


async def test_a_cache_in_use_is_not_removed(mounts: CacheMounts) -> None:
    async with mounts.acquire("x", CacheSharing.SHARED):
        with pytest.raises(ConflictError, match="is in use"):
            mounts.remove("x")
    mounts.remove("x")
    with pytest.raises(NotFoundError):
        mounts.get("x")


async def test_nobody_enters_a_cache_that_somebody_has_for_himself(mounts: CacheMounts) -> None:
    order = []

    async def step() -> None:
        async with mounts.acquire("x", CacheSharing.SHARED):
            order.append("step")

    async with mounts.exclusively("x", create=True):
        waiting = asyncio.create_task(step())
        await asyncio.sleep(0)
        with pytest.raises(ConflictError):
            async with mounts.exclusively("x"):
                pass
        order.append("export")
    await waiting
    assert order == ["export", "step"]


async def test_a_cache_is_had_exclusively_by_its_directory_name_too(mounts: CacheMounts) -> None:
    async with mounts.acquire("x", CacheSharing.SHARED) as directory:
        pass
    (name,) = [each.name for each in mounts.walk()]
    async with mounts.exclusively(name) as same:
        assert same == directory


async def test_a_cache_that_is_being_filled_when_its_step_is_cancelled_is_made_afresh(mounts: CacheMounts) -> None:
    begun, go = threading.Event(), threading.Event()

    def fill(directory: Path) -> None:
        begun.set()
        assert go.wait(10)
        (directory / "late").touch()
        raise OSError(errno.EIO, "cut off")

    async def step() -> None:
        async with mounts.acquire("x", CacheSharing.SHARED, fill):
            pass

    task = asyncio.create_task(step())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with mounts.acquire("x", CacheSharing.SHARED) as directory:
        assert list(directory.iterdir()) == []


async def test_the_daemons_start_removes_what_was_half_made(mounts: CacheMounts, tmp_path: Path) -> None:
    async with mounts.acquire("kept", CacheSharing.SHARED):
        pass
    root = tmp_path / "cache-mounts"
    for left in ("0123", ".trash-4567-89"):
        (root / left / "data").mkdir(parents=True)
    mounts.cleanup()
    assert [path.name for path in root.iterdir()] == [mounts.get("kept").name]
