"""What the calls of one server share: made once in each of its processes, handed to every call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from boatyard.registry.server.memory import Manifests
from boatyard.registry.server.metrics import Metrics
from boatyard.registry.server.records import Records
from boatyard.registry.server.request import Request
from boatyard.registry.server.settings import Settings
from boatyard.registry.server.store import BlobStore

RECEIVING = 32
"""Bodies that are received at once by one process; each takes two pieces of memory."""


@dataclass
class Registry:
    settings: Settings
    records: Records
    blobs: BlobStore
    manifests: Manifests
    metrics: Metrics
    clock: Callable[[], float] = time.time
    receiving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RECEIVING))

    def close(self) -> None:
        self.records.close()

    def may_pull(self, request: Request, name: str) -> bool:
        """Whether the sender of a request may read another repository, too."""
        return True


def open_registry(settings: Settings, *, clock: Callable[[], float] = time.time) -> Registry:
    """Blocks. For one process; others may have the same root open."""
    blobs = BlobStore(Path(settings.root))
    records = Records(Path(settings.root) / "registry.db", clock=clock)
    return Registry(settings, records, blobs, Manifests(records), Metrics(), clock)
