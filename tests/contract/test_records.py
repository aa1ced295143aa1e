"""Every store of solver records does the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.build.cache.records import SqliteRecords
from boatyard.build.solver.cache import MemoryRecords, Record, Records


@pytest.fixture(params=["memory", "sqlite"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "memory":
        yield MemoryRecords()
        return
    store = SqliteRecords(tmp_path / "cache.db")
    yield store
    store.close()


def record(id: str, **fields: object) -> Record:
    return Record(id=id, key=f"key of {id}", results=(f"result of {id}",), name=id, **fields)  # type: ignore[arg-type]


def test_a_record_is_found_by_each_of_its_keys(records: Records) -> None:
    kept = record("a", components={"argument X": "1"}, inputs=("i",), seconds=1.5)
    records.store(kept, ["k1", "k2"])
    assert records.lookup("k1") == records.lookup("k2") == records.get("a") == kept


def test_an_unknown_key_finds_nothing(records: Records) -> None:
    assert records.lookup("nothing") is None
    assert records.get("nothing") is None


def test_a_key_leads_to_the_record_stored_last(records: Records) -> None:
    records.store(record("old"), ["k"])
    assert records.lookup("k")
    records.store(record("new"), ["k"])
    found = records.lookup("k")
    assert found and found.id == "new"


def test_an_alias_leads_to_the_record_too(records: Records) -> None:
    records.store(record("a"), ["k"])
    records.store(record("b"), ["l"])
    assert records.lookup("l")
    records.alias("l", "a")
    found = records.lookup("l")
    assert found and found.id == "a"


def test_a_record_that_was_dropped_gets_no_further_key(records: Records) -> None:
    records.store(record("a"), ["k"])
    records.drop("a")
    records.alias("l", "a")
    assert records.lookup("l") is None


def test_other_records_stay_when_one_is_dropped(records: Records) -> None:
    records.store(record("a"), ["k1", "shared"])
    records.store(record("b"), ["k2", "shared"])
    records.drop("a")
    assert records.lookup("k1") is None
    for key in ("k2", "shared"):
        found = records.lookup(key)
        assert found and found.id == "b"


def test_a_dropped_record_is_found_by_no_key(records: Records) -> None:
    records.store(record("a"), ["k1", "k2"])
    records.keep_listings("a", {0: b"listing"})
    assert records.lookup("k1")
    records.drop("a")
    assert records.lookup("k1") is None
    assert records.get("a") is None
    assert records.listings("a") == {}
    records.drop("a")


def test_use_is_counted(records: Records) -> None:
    records.store(record("a", used=1.0), ["k"])
    records.touch(["a", "unknown"], 5.0)
    found = records.get("a")
    assert found and (found.used, found.uses) == (5.0, 1)


def test_records_of_a_slot_come_newest_first(records: Records) -> None:
    for number in range(5):
        records.store(record(f"r{number}", slot="s", created=float(number)), [f"k{number}"])
    records.store(record("other", slot="t", created=9.0), ["k"])
    assert [each.id for each in records.in_slot("s", 2)] == ["r4", "r3"]


def test_listings_are_kept_by_input(records: Records) -> None:
    records.store(record("a"), ["k"])
    records.keep_listings("a", {1: b"files"})
    assert records.listings("a") == {1: b"files"}


def test_listings_of_a_record_that_is_gone_are_not_kept(records: Records) -> None:
    records.keep_listings("gone", {1: b"files"})
    assert records.listings("gone") == {}


def test_walk_gives_every_record(records: Records) -> None:
    records.store(record("a"), ["k1"])
    records.store(record("b"), ["k2"])
    assert {each.id for each in records.walk()} == {"a", "b"}
