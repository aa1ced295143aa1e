"""Records of what was executed, as a protocol, and the in-memory implementation.

Kept by the solver; the one that outlives the process is `build.cache.records.SqliteRecords`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One executed vertex. `results` are ids in the result store, one an output.

    `slot` names the place in the project that the step stands in, whatever its arguments: records of one slot are
    compared to explain a miss. `components` are the readable parts of its key. `inputs` are its inputs' output keys.
    """

    id: str
    key: str
    results: tuple[str, ...]
    name: str
    slot: str = ""
    kind: str = "regular"
    """What usage lists and prune filters call its type: regular, source.git.checkout, frontend, internal."""
    created: float = 0.0
    used: float = 0.0
    uses: int = 0
    seconds: float = 0.0
    components: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


class Records(Protocol):
    """Short, blocking calls: they are made on the event loop's thread; pruning walks and drops in another."""

    def lookup(self, key: str) -> Record | None: ...
    def store(self, record: Record, keys: Sequence[str]) -> None:
        """Keep a record under its keys; a record that one of them led to before is no longer found by it."""

    def keep_listings(self, record_id: str, listings: Mapping[int, bytes]) -> None:
        """Keep the files that a record's step read of each checksummed input (by input number), packed by
        `explain.pack`. Nothing is kept of a record that is gone."""

    def keys_of(self, record_id: str) -> Sequence[str]:
        """What leads to the record."""

    def alias(self, key: str, record_id: str) -> None:
        """Let `key` lead to the record too, if it is still there."""

    def get(self, record_id: str) -> Record | None: ...
    def drop(self, record_id: str) -> None: ...
    def touch(self, record_ids: Iterable[str], now: float) -> None:
        """They were used."""

    def in_slot(self, slot: str, limit: int) -> Sequence[Record]:
        """The newest records of a slot, newest first."""

    def listings(self, record_id: str) -> Mapping[int, bytes]: ...
    def walk(self) -> Iterable[Record]: ...


class MemoryRecords:
    """Records of this process."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._keys: dict[str, str] = {}
        self._listings: dict[str, dict[int, bytes]] = {}

    def lookup(self, key: str) -> Record | None:
        return self._records.get(self._keys.get(key, ""))

    def store(self, record: Record, keys: Sequence[str]) -> None:
        self._records[record.id] = record
        for key in keys:
            self._keys[key] = record.id

    def keep_listings(self, record_id: str, listings: Mapping[int, bytes]) -> None:
        if record_id in self._records:
            self._listings[record_id] = dict(listings)

    def keys_of(self, record_id: str) -> Sequence[str]:
        return sorted(key for key, id in self._keys.items() if id == record_id)

    def alias(self, key: str, record_id: str) -> None:
        if record_id in self._records:
            self._keys[key] = record_id

    def get(self, record_id: str) -> Record | None:
        return self._records.get(record_id)

    def drop(self, record_id: str) -> None:
        self._records.pop(record_id, None)
        self._listings.pop(record_id, None)
        self._keys = {key: id for key, id in self._keys.items() if id != record_id}

    def touch(self, record_ids: Iterable[str], now: float) -> None:
        for id in record_ids:
            if record := self._records.get(id):
                self._records[id] = replace(record, used=now, uses=record.uses + 1)

    def in_slot(self, slot: str, limit: int) -> Sequence[Record]:
        found = [record for record in self._records.values() if record.slot == slot]
        return sorted(found, key=lambda record: record.created, reverse=True)[:limit]

    def listings(self, record_id: str) -> Mapping[int, bytes]:
        return self._listings.get(record_id, {})

    def walk(self) -> Iterable[Record]:
        return list(self._records.values())
