from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from boatyard.build.cache import records as module
from boatyard.build.cache.records import SqliteRecords
from boatyard.build.solver.cache import Record


@pytest.fixture
def records(tmp_path: Path) -> Iterator[SqliteRecords]:
    store = SqliteRecords(tmp_path / "cache.db")
    yield store
    store.close()


def record(number: int) -> Record:
    return Record(id=f"r{number}", key=f"k{number}", results=("x",), name="step")


def test_memory_stays_bounded_however_many_are_stored(records: SqliteRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 10)
    for number in range(50):
        records.store(record(number), [f"k{number}", f"l{number}"])
    assert len(records._remembered._records) == 10
    assert len(records._remembered._keys) == 5
    assert records.lookup("k0") == record(0)


def test_what_a_thread_drops_is_never_found_afterwards(records: SqliteRecords) -> None:
    dropped: set[str] = set()
    stale: list[str] = []
    begin = threading.Barrier(2)

    def drop() -> None:
        begin.wait()
        for number in range(300):
            records.drop(f"r{number}")
            dropped.add(f"k{number}")

    for number in range(300):
        records.store(record(number), [f"k{number}"])
    thread = threading.Thread(target=drop)
    thread.start()
    begin.wait()
    while thread.is_alive():
        for number in range(0, 300, 7):
            gone = f"k{number}" in dropped
            if records.lookup(f"k{number}") and gone:
                stale.append(f"k{number}")
            records.alias(f"alias{number}", f"r{number}")
    thread.join()
    assert stale == []
    assert all(records.lookup(f"k{number}") is None for number in range(300))
    assert all(records.lookup(f"alias{number}") is None for number in range(300))


def test_records_outlive_the_store(tmp_path: Path) -> None:
    first = SqliteRecords(tmp_path / "cache.db")
    first.store(record(1), ["k"])
    first.close()
    second = SqliteRecords(tmp_path / "cache.db")
    assert second.lookup("k") == record(1)
    second.close()


@pytest.mark.parametrize("column", ["components", "results", "inputs"])
def test_a_damaged_record_is_dropped_and_the_others_are_found(tmp_path: Path, column: str) -> None:
    first = SqliteRecords(tmp_path / "cache.db")
    for number in range(3):
        first.store(record(number), [f"k{number}"])
    first.close()
    garbage: dict[str, object] = {"components": b"\xff\xfe", "results": "[", "inputs": "{}"}
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection, connection:
        connection.execute(f"UPDATE records SET {column} = ? WHERE id = 'r1'", (garbage[column],))
    second = SqliteRecords(tmp_path / "cache.db")
    assert second.lookup("k1") is None
    assert list(second.walk()) == [record(0), record(2)]
    second.store(record(1), ["k1"])
    assert second.lookup("k1") == record(1)
    second.close()
