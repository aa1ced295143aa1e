"""Bytes of many files, by a few threads: reading, hashing and the kernel's share of opening run beside each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from boatyard.build.tree.node import DIGEST

T = TypeVar("T")

CHUNK = 1 << 20
THREADS = max(1, min(4, os.cpu_count() or 1))
FEW = 64
"""As many files as one thread has done before a second one has started."""


def digest_of(descriptor: int, size: int) -> bytes:
    """Of everything from the descriptor's position to the end; `size` is a guess at how much that is."""
    if size < CHUNK:
        data = os.read(descriptor, size + 1)
        if len(data) == size:  # one byte more was asked for: this is the end
            return DIGEST(data).digest()
        hasher = DIGEST(data)
    else:
        hasher = DIGEST()
    while data := os.read(descriptor, CHUNK):
        hasher.update(data)
    return hasher.digest()


def in_parallel(work: Callable[[Sequence[T]], None], items: Sequence[T], *, few: int = FEW) -> None:
    """Call `work` with slices of `items`, in several threads when there are many. Raises what a slice failed with,
    after all of them have ended."""
    if len(items) <= few or THREADS == 1:
        work(items)
        return
    share = min(512, -(-len(items) // THREADS))
    slices = [items[start : start + share] for start in range(0, len(items), share)]
    with ThreadPoolExecutor(min(THREADS, len(slices)), thread_name_prefix="tree") as pool:
        for _ in pool.map(work, slices):
            pass
