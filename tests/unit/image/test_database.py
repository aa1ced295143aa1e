"""The metadata database: transactions, damage, and what it keeps for a full disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from boatyard.errors import IntegrityError, StorageError, UnsupportedError
from boatyard.image.database import RESERVE, Database

SCHEMA = ("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with ten thousand rows, closed."""
    path = tmp_path / "meta.db"
    database = Database(path, SCHEMA)
    with database.transaction() as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(number, "x" * 100) for number in range(10_000)])
    database.close()
    return path


def count(database: Database) -> object:
    return database.rows("SELECT count(*), max(text) FROM t")[0][0]


def test_what_fails_in_a_transaction_takes_all_of_it_back(path: Path) -> None:
    database = Database(path, SCHEMA)
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("DELETE FROM t")
        with database.transaction() as inner:
            inner.execute("INSERT INTO t VALUES (1, 'y')")
        raise ZeroDivisionError
    assert count(database) == 10_000
    database.close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    Database(path, (*SCHEMA, "CREATE TABLE u (id INTEGER)")).close()
    with pytest.raises(UnsupportedError, match="newer"):
        Database(path, SCHEMA)


def overwrite(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(8192))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database at all": lambda path: path.write_bytes(b"garbage" * 1000),
    "emptied": lambda path: path.write_bytes(b""),
    "header overwritten": lambda path: overwrite(path, 0),
    "page overwritten": lambda path: overwrite(path, 400_000),
    "cut off": lambda path: os.truncate(path, 500_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_with_what_to_do(path: Path, damage: str) -> None:
    DAMAGES[damage](path)
    with pytest.raises(IntegrityError, match=f"{path} is damaged") as caught:
        count(Database(path, SCHEMA))
    assert caught.value.hint


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_disposable_one_is_kept_aside_and_begun_anew(path: Path, damage: str) -> None:
    DAMAGES[damage](path)
    database = Database(path, SCHEMA, disposable=True)
    assert database.rows("SELECT text FROM t") == []
    with database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (1, 'new')")
    assert database.rows("SELECT text FROM t") == [("new",)]
    assert path.with_name("meta.db.damaged").exists()
    database.close()


def test_text_that_became_something_else_is_damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"x" * 100, b"\xff" * 100))
    with pytest.raises(IntegrityError, match="is damaged"):
        Database(path, SCHEMA).rows("SELECT text FROM t")


def test_damage_that_comes_while_it_is_written_ends_in_a_new_one(path: Path) -> None:
    database = Database(path, SCHEMA, disposable=True)
    overwrite(path, 400_000)
    with database.transaction() as connection:
        connection.execute("UPDATE t SET text = 'y'")
    assert count(database) == 0
    database.close()


def test_space_is_kept_for_the_log_whether_it_is_open_or_not(path: Path) -> None:
    reserve, log = path.with_name("meta.db-reserve"), path.with_name("meta.db-wal")
    assert reserve.stat().st_blocks * 512 >= RESERVE
    database = Database(path, SCHEMA)
    assert not reserve.exists()
    assert log.stat().st_blocks * 512 >= RESERVE
    assert count(database) == 10_000
    database.close()
    assert reserve.exists() and not log.exists()


def test_a_read_only_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't use"):
        Database(tmp_path / "missing/meta.db", SCHEMA)
