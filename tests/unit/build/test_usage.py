"""What `boat builder du` lists: whose bytes are counted where, what is in use, what filters match."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.build.llb.graph import CacheSharing
from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.solver.cache import MemoryRecords, Record
from boatyard.build.source.occupancy import Occupancy
from boatyard.build.usage import CACHE_MOUNT, GIT, LOCAL, Usage, UsageList, disk_usage, matcher
from boatyard.errors import InvalidError
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.copying import CopyingSnapshotter

MIB = 1 << 20


class Store:
    """Everything that a usage list reads; `live` and `held` are what builds and images hold."""

    def __init__(self, root: Path) -> None:
        self.records = MemoryRecords()
        self.layers = LayerStore(Database(":memory:"), MemoryStore(), CopyingSnapshotter(root / "snapshots"))
        self.occupancy = Occupancy()
        self.mounts = CacheMounts(root / "mounts", occupancy=self.occupancy)
        self.sources = root / "sources"
        self.live: set[str] = set()
        self.held: set[LayerId] = set()
        self.usage = UsageList(
            self.records,
            self.layers,
            self.mounts,
            self.sources,
            lambda: self.live,
            lambda: self.held,
            occupancy=self.occupancy,
            clock=lambda: 1000.0,
        )

    def layer(self, size: int, base: Chain = ()) -> LayerId:
        active = self.layers.snapshotter.prepare()
        (self.layers.snapshotter.directory(active) / "file").write_bytes(os.urandom(size))
        return self.layers.add(active, base=base)

    def record(self, id: str, chain: Chain, *, inputs: Iterable[str] = (), created: float = 0.0) -> Record:
        record = Record(id, f"key-{id}", (",".join(chain),), id, created=created, inputs=tuple(inputs))
        self.records.store(record, [record.key])
        return record

    def row(self, id: str) -> Usage:
        (row,) = [row for row in self.usage.rows() if row.id == id]
        return row

    def mib(self, id: str) -> int:
        return round(self.row(id).size / MIB)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_record_counts_what_its_own_step_made(store: Store) -> None:
    base = store.layer(4 * MIB)
    top = store.layer(2 * MIB, (base,))
    store.record("base", (base,))
    store.record("top", (base, top), inputs=["key-base"], created=1.0)
    assert (store.mib("base"), store.mib("top")) == (4, 2)
    assert store.row("top").parents == ("base",)


def test_whose_bytes_they_are_does_not_depend_on_which_record_is_older(store: Store) -> None:
    base = store.layer(4 * MIB)
    top = store.layer(2 * MIB, (base,))
    store.record("top", (base, top), inputs=["key-base"])
    store.record("base", (base,), created=1.0)
    assert (store.mib("base"), store.mib("top")) == (4, 2)


def test_bytes_below_a_record_whose_input_was_pruned_are_not_its_own(store: Store) -> None:
    base = store.layer(4 * MIB)
    top = store.layer(2 * MIB, (base,))
    store.record("top", (base, top), inputs=["key-base"])
    assert store.mib("top") == 2


def test_a_layer_of_two_records_counts_once(store: Store) -> None:
    layer = store.layer(4 * MIB)
    store.record("one", (layer,))
    store.record("two", (layer,), created=1.0)
    assert (store.mib("one"), store.mib("two")) == (4, 0)


def test_a_merge_adds_nothing(store: Store) -> None:
    one, two = store.layer(MIB), store.layer(MIB)
    store.record("one", (one,))
    store.record("two", (two,))
    store.record("merge", (one, two), inputs=["key-one", "key-two"])
    assert store.mib("merge") == 0
    assert not store.row("merge").shared


def test_a_record_is_shared_when_images_hold_what_it_made(store: Store) -> None:
    base = store.layer(MIB)
    top = store.layer(MIB, (base,))
    store.record("base", (base,))
    store.record("top", (base, top), inputs=["key-base"])
    store.held = {base}
    assert store.row("base").shared and not store.row("top").shared
    store.held = {base, top}
    assert store.row("top").shared


def test_a_record_is_in_use_while_a_build_has_its_result(store: Store) -> None:
    layer = store.layer(MIB)
    record = store.record("one", (layer,))
    assert not store.row("one").in_use
    store.live = set(record.results)
    assert store.row("one").in_use


async def test_cache_mounts_are_counted_and_in_use_while_a_step_has_them(store: Store) -> None:
    async with store.mounts.acquire("pip", CacheSharing.SHARED) as directory:
        (directory / "wheel").write_bytes(os.urandom(MIB))
        (row,) = store.usage.rows(["type==exec.cachemount"])
        assert row.in_use and row.mutable and row.size >= MIB
    (row,) = store.usage.rows(["type==exec.cachemount"])
    assert not row.in_use


def test_kept_sources_are_rows_of_their_own(store: Store) -> None:
    for name in ("git/abc/objects", "http/def", "local/indexes"):
        (store.sources / name).mkdir(parents=True)
    (store.sources / "local/indexes/x.index").write_bytes(b"x")
    (store.sources / "http/.trash-def-1").mkdir()
    with store.occupancy.using(store.sources / "git/abc"):
        rows = {row.id: row for row in store.usage.rows()}
    assert {id: row.type for id, row in rows.items()} == {
        "git-abc": GIT,
        "http-def": LOCAL,
        "local-indexes-x.index": LOCAL,
    }
    assert [id for id, row in rows.items() if row.in_use] == ["git-abc"]


def test_hard_links_count_once_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(MIB))
    before = disk_usage(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert disk_usage(tmp_path) == before >= MIB
    assert disk_usage(tmp_path / "gone") == 0


ROW = Usage(
    id="abc123", type=CACHE_MOUNT, size=1, created=100.0, used=400.0, uses=1, description="cache mount /root/.cache",
    mutable=True, parents=("p1", "p2"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ([], True),
        (["type==exec.cachemount"], True),
        (["type=exec.cachemount"], True),
        (["type!=exec.cachemount"], False),
        (['description~="\\.cache$"'], True),
        (["description~=^pip"], False),
        (["parents==p2"], True),
        (["parents==p3"], False),
        (["mutable"], True),
        (["immutable"], False),
        (["inuse==false"], True),
        (["private"], True),
        (["shared"], False),
        (["type==regular", "mutable"], True),
        (["type==regular,mutable"], False),
        (["id~=abc , mutable"], True),
        (["unused-for=10m"], True),
        (["unused-for=600"], True),
        (["until=10m1s"], False),
        (["until=1d"], False),
        (["mutable,unused-for=10m"], True),
    ],
)
def test_filters_match(filters: list[str], matches: bool) -> None:
    assert matcher(filters, now=1000.0)(ROW) is matches


def test_an_empty_filter_is_for_all() -> None:
    """Clients send them where they have none."""
    assert matcher([""], now=1000.0)(ROW)


def test_what_was_never_used_counts_from_when_it_was_made() -> None:
    assert matcher(["unused-for=15m"], now=1000.0)(replace(ROW, used=0.0))


@pytest.mark.parametrize("text", ["size==3", "type==", "description~=(", "unused-for=soon", "unused-for", "=x"])
def test_a_filter_that_makes_no_sense_is_refused(text: str) -> None:
    if text == "type==":
        assert not matcher([text], now=0.0)(ROW)
        return
    with pytest.raises(InvalidError):
        matcher([text], now=0.0)


@given(st.text())
def test_no_filter_ends_otherwise_than_in_a_match_or_a_clear_error(text: str) -> None:
    try:
        matcher([text], now=0.0)(ROW)
    except InvalidError as error:
        assert error.hint or "pattern" in error.message
