"""Which records a policy removes, in which order, and that nothing in use ever goes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from boatyard.build.llb.graph import CacheSharing
from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.prune import GB, Policy, Pruner, default_policies
from boatyard.build.solver.cache import MemoryRecords, Record
from boatyard.build.source.occupancy import Occupancy
from boatyard.build.usage import UsageList
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.copying import CopyingSnapshotter

KB = 1024
NOW = 10_000_000.0
DAY = 86400.0


class Yard:
    """A pruner, and the stores it prunes. `free` are the bytes that the disk is said to have left."""

    def __init__(self, root: Path) -> None:
        self.records = MemoryRecords()
        self.layers = LayerStore(Database(":memory:"), MemoryStore(), CopyingSnapshotter(root / "snapshots"))
        self.occupancy = Occupancy()
        self.mounts = CacheMounts(root / "mounts", clock=lambda: NOW, occupancy=self.occupancy)
        self.sources = root / "sources"
        self.live: set[str] = set()
        self.held: set[LayerId] = set()
        self.free = 1 << 60
        self.sweeps = 0
        usage = UsageList(
            self.records,
            self.layers,
            self.mounts,
            self.sources,
            lambda: self.live,
            lambda: self.held,
            occupancy=self.occupancy,
            clock=lambda: NOW,
        )
        self.pruner = Pruner(
            usage,
            self.records,
            self.mounts,
            root,
            self.sweep,
            occupancy=self.occupancy,
            clock=lambda: NOW,
            free_space=lambda: self.free,
        )

    def sweep(self) -> int:
        self.sweeps += 1
        return 0

    def record(
        self, id: str, *, age: float = 0.0, kilobytes: int = 100, uses: int = 0, kind: str = "regular"
    ) -> Record:
        active = self.layers.snapshotter.prepare()
        (self.layers.snapshotter.directory(active) / "file").write_bytes(b"x" * (kilobytes - 4) * KB)
        layer = self.layers.add(active)
        when = NOW - age
        record = Record(id, f"key-{id}", (layer,), id, kind=kind, created=when, used=when, uses=uses)
        self.records.store(record, [record.key])
        return record

    def prune(self, **policy: object) -> list[str]:
        return [row.id for row in self.pruner.prune(Policy(**policy))]  # type: ignore[arg-type]

    @property
    def left(self) -> set[str]:
        return {record.id for record in self.records.walk()}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_without_bounds_everything_that_matches_goes_the_longest_unused_first(yard: Yard) -> None:
    for id, age in (("new", 1.0), ("old", 3.0), ("middle", 2.0)):
        yard.record(id, age=age)
    assert yard.prune() == ["old", "middle", "new"]
    assert yard.left == set()
    assert yard.sweeps == 1


def test_of_equally_old_records_the_seldom_used_go_first(yard: Yard) -> None:
    yard.record("often", uses=9)
    yard.record("seldom", uses=1)
    assert yard.prune() == ["seldom", "often"]


def test_what_a_build_uses_stays_whatever_the_policy(yard: Yard) -> None:
    yard.live = set(yard.record("used").results)
    yard.record("unused")
    assert yard.prune(all=True) == ["unused"]


async def test_a_cache_mount_in_use_stays_whatever_the_policy(yard: Yard) -> None:
    async with yard.mounts.acquire("pip", CacheSharing.SHARED) as directory:
        (directory / "file").touch()
        assert yard.prune(all=True) == []
        assert (directory / "file").exists()
    assert len(yard.prune(all=True)) == 1
    assert not directory.exists()


async def test_a_cache_mount_that_came_into_use_since_it_was_chosen_stays(yard: Yard) -> None:
    async with yard.mounts.acquire("pip", CacheSharing.SHARED):
        pass
    (row,) = yard.pruner.candidates(Policy())
    async with yard.mounts.acquire("pip", CacheSharing.SHARED) as directory:
        assert not yard.pruner._remove(row)
        assert directory.exists()


def test_a_git_mirror_that_is_being_fetched_stays(yard: Yard) -> None:
    mirror = yard.sources / "git/abc"
    mirror.mkdir(parents=True)
    with yard.occupancy.using(mirror):
        assert yard.prune(all=True) == []
    assert yard.prune(all=True) == ["git-abc"]
    assert list(mirror.parent.iterdir()) == []


def test_younger_than_the_duration_to_keep_stays(yard: Yard) -> None:
    yard.record("young", age=DAY)
    yard.record("old", age=3 * DAY)
    assert yard.prune(keep_duration=2 * DAY) == ["old"]


def test_a_use_makes_young_again(yard: Yard) -> None:
    yard.record("used lately", age=3 * DAY)
    yard.records.touch(["used lately"], NOW - 1)
    assert yard.prune(keep_duration=2 * DAY) == []


def test_no_more_goes_than_the_space_that_is_used_too_much(yard: Yard) -> None:
    for number in range(5):
        yard.record(f"r{number}", age=float(9 - number))
    assert yard.prune(max_used_space=310 * KB) == ["r0", "r1"]


def test_what_is_reserved_is_kept_though_the_disk_is_full(yard: Yard) -> None:
    yard.free = 0
    for number in range(5):
        yard.record(f"r{number}", age=float(9 - number))
    assert yard.prune(min_free_space=1 << 40, reserved_space=210 * KB) == ["r0", "r1", "r2"]


def test_nothing_goes_while_enough_of_the_disk_is_free(yard: Yard) -> None:
    yard.record("one")
    assert yard.prune(min_free_space=1 << 40) == []


def test_so_much_goes_that_enough_of_the_disk_is_free(yard: Yard) -> None:
    for number in range(5):
        yard.record(f"r{number}", age=float(9 - number))
    yard.free = 1000 * KB
    assert yard.prune(min_free_space=1150 * KB) == ["r0", "r1"]


def test_with_only_a_reserve_everything_above_it_goes(yard: Yard) -> None:
    for number in range(4):
        yard.record(f"r{number}", age=float(9 - number))
    assert yard.prune(reserved_space=210 * KB) == ["r0", "r1"]


def test_what_images_hold_too_stays_and_is_not_counted_unless_all_is_asked_for(yard: Yard) -> None:
    shared = yard.record("shared", age=9.0)
    yard.record("own", age=5.0)
    yard.held = {LayerId(shared.results[0])}
    assert yard.prune(max_used_space=150 * KB) == []
    assert yard.prune() == ["own"]
    assert yard.prune(all=True) == ["shared"]


@pytest.mark.parametrize("kind", ["internal", "frontend"])
def test_internal_records_go_only_when_all_is_asked_for(yard: Yard, kind: str) -> None:
    yard.record("one", kind=kind)
    assert yard.prune() == []
    assert yard.prune(all=True) == ["one"]


def test_filters_choose_what_is_counted_and_removed(yard: Yard) -> None:
    yard.record("one", age=9.0)
    (yard.sources / "http/abc").mkdir(parents=True)
    assert yard.prune(filters=("type==source.local", "type==source.git.checkout")) == ["http-abc"]
    assert yard.left == {"one"}


def test_a_collection_goes_through_its_policies_and_sweeps_only_for_what_went(yard: Yard) -> None:
    yard.record("ancient", age=90 * DAY)
    yard.record("old", age=10 * DAY)
    gone = yard.pruner.collect(
        [Policy(filters=("type==source.local",)), Policy(keep_duration=60 * DAY), Policy(max_used_space=GB)]
    )
    assert [row.id for row in gone] == ["ancient"]
    assert yard.sweeps == 1


def test_the_candidates_are_what_a_prune_removes(yard: Yard) -> None:
    for number in range(5):
        yard.record(f"r{number}", age=float(9 - number))
    policy = Policy(max_used_space=250 * KB)
    named = [row.id for row in yard.pruner.candidates(policy)]
    assert yard.left == {f"r{number}" for number in range(5)}
    assert [row.id for row in yard.pruner.prune(policy)] == named


def bounds(policies: Iterable[Policy]) -> set[tuple[int, int, int]]:
    return {(each.reserved_space, each.max_used_space, each.min_free_space) for each in policies}


def test_the_default_policies_are_buildkits(tmp_path: Path) -> None:
    sources, unused, unshared, everything = default_policies(tmp_path)
    assert (sources.keep_duration, sources.max_used_space) == (48 * 3600, 512_000_000)
    assert set(sources.filters) == {"type==source.local", "type==exec.cachemount", "type==source.git.checkout"}
    assert unused.keep_duration == 60 * DAY
    assert (unshared.all, everything.all) == (False, True)
    ((reserved, most, free),) = bounds((unused, unshared, everything))
    assert reserved <= 10 * GB and most <= 100 * GB and free > 0


def test_configured_bounds_take_the_place_of_the_disks(tmp_path: Path) -> None:
    _, *bounded = default_policies(tmp_path, reserved_space=1, min_free_space=2)
    ((reserved, _, free),) = bounds(bounded)
    assert (reserved, free) == (1, 2)
