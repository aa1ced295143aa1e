from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from boatyard.build.source.occupancy import TRASH, Occupancy, drop_leftovers
from boatyard.errors import ConflictError


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    path = tmp_path / "git/abc"
    path.mkdir(parents=True)
    (path / "HEAD").write_text("ref")
    return path


def test_what_is_used_is_not_removed(mirror: Path) -> None:
    occupancy = Occupancy()
    with occupancy.using(mirror), occupancy.using(mirror):
        pass
    with occupancy.using(mirror):
        with pytest.raises(ConflictError):
            occupancy.remove(mirror)
        assert (mirror / "HEAD").exists()
    occupancy.remove(mirror)
    assert list(mirror.parent.iterdir()) == []


def test_files_are_removed_too_and_what_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "index").touch()
    for _ in range(2):
        Occupancy().remove(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


async def test_turns_are_taken_one_after_the_other(mirror: Path) -> None:
    occupancy = Occupancy()
    order: list[str] = []

    async def work(name: str) -> None:
        async with occupancy.turn(mirror):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(*(work(name) for name in "abc"))
    assert order == ["a in", "a out", "b in", "b out", "c in", "c out"]
    assert not occupancy.in_use(mirror)


async def test_one_that_is_cancelled_while_it_waits_gives_its_turn_away(mirror: Path) -> None:
    occupancy = Occupancy()

    async def wait() -> None:
        async with occupancy.turn(mirror):
            raise AssertionError("never reached")

    async with occupancy.turn(mirror):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with occupancy.turn(mirror):
        pass


def test_what_an_earlier_process_was_removing_goes_at_the_start(mirror: Path) -> None:
    (mirror.parent / f"{TRASH}old-1/objects").mkdir(parents=True)
    drop_leftovers(mirror.parent)
    assert list(mirror.parent.iterdir()) == [mirror]
