"""What the processes of a server have done, counted in memory that they share, and told as Prometheus reads it.

Each process writes numbers of its own, without a lock; whoever is asked adds them up.

Specification: Prometheus, "Exposition formats" (text).
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other")
KINDS = ("root", "catalog", "blob", "uploads", "upload", "manifest", "tags", "referrers", "token", "other")
CLASSES = ("2xx", "3xx", "4xx", "401", "429", "5xx", "gone")
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
TOTALS = ("received_bytes", "sent_bytes", "blobs_pushed", "manifests_pushed", "mirrored_bytes")

_REQUESTS = len(METHODS) * len(KINDS) * len(CLASSES)
_DURATIONS = len(KINDS) * (len(BOUNDS) + 1)
_NUMBERS = _REQUESTS + _DURATIONS + len(KINDS) + len(TOTALS)
"""The last but one part: sums of durations, in microseconds."""


class Metrics:
    """The view of one process. `make` before the processes are forked; used on the event loop."""

    def __init__(self, shared: mmap.mmap, slot: int) -> None:
        self._shared = memoryview(shared).cast("Q")
        self._mine = self._shared[slot * _NUMBERS : (slot + 1) * _NUMBERS]

    @staticmethod
    def make(processes: int) -> mmap.mmap:
        return mmap.mmap(-1, processes * _NUMBERS * 8)

    def request(self, method: str, kind: str, status: int, seconds: float) -> None:
        kinds = KINDS.index(kind) if kind in KINDS else len(KINDS) - 1
        methods = METHODS.index(method) if method in METHODS else len(METHODS) - 1
        self._mine[(methods * len(KINDS) + kinds) * len(CLASSES) + CLASSES.index(_class(status))] += 1
        self._mine[_REQUESTS + kinds * (len(BOUNDS) + 1) + bisect_left(BOUNDS, seconds)] += 1
        self._mine[_REQUESTS + _DURATIONS + kinds] += int(seconds * 1e6)

    def add(self, total: str, count: int = 1) -> None:
        self._mine[_REQUESTS + _DURATIONS + len(KINDS) + TOTALS.index(total)] += count

    def text(self) -> str:
        """Of all processes."""
        numbers = [sum(self._shared[at::_NUMBERS]) for at in range(_NUMBERS)]
        return "\n".join(_lines(numbers)) + "\n"


def _class(status: int) -> str:
    if status in (401, 429):
        return str(status)
    return f"{status // 100}xx" if 200 <= status < 600 else "gone"


def _lines(numbers: list[int]) -> Iterator[str]:
    name = "boat_registry_requests_total"
    yield f"# HELP {name} Requests, by method, kind and status; gone: clients that left before an answer."
    yield f"# TYPE {name} counter"
    for at, count in enumerate(numbers[:_REQUESTS]):
        if count:
            rest, result = divmod(at, len(CLASSES))
            method, asked = divmod(rest, len(KINDS))
            yield f'{name}{{method="{METHODS[method]}",kind="{KINDS[asked]}",status="{CLASSES[result]}"}} {count}'
    name = "boat_registry_request_duration_seconds"
    yield f"# HELP {name} From a request's head to the end of its answer."
    yield f"# TYPE {name} histogram"
    for at, kind in enumerate(KINDS):
        begin = _REQUESTS + at * (len(BOUNDS) + 1)
        buckets = numbers[begin : begin + len(BOUNDS) + 1]
        if not any(buckets):
            continue
        total = 0
        for bound, count in zip((*BOUNDS, "+Inf"), buckets, strict=True):
            total += count
            yield f'{name}_bucket{{kind="{kind}",le="{bound}"}} {total}'
        yield f'{name}_sum{{kind="{kind}"}} {numbers[_REQUESTS + _DURATIONS + at] / 1e6:.6f}'
        yield f'{name}_count{{kind="{kind}"}} {total}'
    for total_name, count in zip(TOTALS, numbers[-len(TOTALS) :], strict=True):
        yield f"# TYPE boat_registry_{total_name}_total counter"
        yield f"boat_registry_{total_name}_total {count}"
