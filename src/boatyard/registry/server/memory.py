"""Manifests in memory, as they are sent: good as long as nobody has written to the records.

Any process may: so it is forgotten as a whole when the records' generation is another one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from boatyard.registry.server.records import Records

_MOST = 16 << 20
"""Bytes of manifests that are kept."""


@dataclass(frozen=True, slots=True)
class Known:
    data: bytes
    etag: str
    headers: list[tuple[bytes, bytes]]


class Manifests:
    """One per process; used on the event loop only."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._generation = records.generation()
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._bytes = 0

    def get(self, name: str, reference: str) -> Known | None:
        generation = self._records.generation()
        if generation != self._generation:
            self._generation = generation
            self._known.clear()
            self._bytes = 0
            return None
        return self._known.get((name, reference))

    def put(self, name: str, reference: str, known: Known, generation: int) -> None:
        """`generation`: from before its row was read."""
        if generation != self._generation or (name, reference) in self._known:
            return
        self._known[name, reference] = known
        self._bytes += len(known.data)
        while self._bytes > _MOST:
            _, gone = self._known.popitem(last=False)
            self._bytes -= len(gone.data)
