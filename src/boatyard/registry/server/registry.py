"""What the calls of one server share: made once in each of its processes, handed to every call."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from boatyard.registry.dockerconfig import DockerConfig
from boatyard.registry.hosts import Hosts, HostSettings
from boatyard.registry.proxies import proxy_of
from boatyard.registry.repository import Registries
from boatyard.registry.server.accounts import Accounts
from boatyard.registry.server.guard import Guard
from boatyard.registry.server.memory import Manifests
from boatyard.registry.server.metrics import Metrics
from boatyard.registry.server.records import Records
from boatyard.registry.server.settings import Settings
from boatyard.registry.server.store import BlobStore
from boatyard.registry.tokens import Tokens

if TYPE_CHECKING:
    from boatyard.registry.server.mirror import Mirror
    from boatyard.registry.server.objects import Objects

RECEIVING = 16
"""Bodies that are received at once by one process; each takes two pieces of memory."""


@dataclass
class Registry:
    settings: Settings
    records: Records
    blobs: BlobStore
    manifests: Manifests
    metrics: Metrics
    accounts: Accounts
    guard: Guard
    mirror: Mirror | None = None
    clock: Callable[[], float] = time.time
    receiving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RECEIVING))

    def close(self) -> None:
        self.records.close()
        self.blobs.close()


def open_registry(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    metrics: Metrics | None = None,
    processes: int = 1,
) -> Registry:
    """Blocks. For one process; others may have the same root open: `processes` in all."""
    blobs = BlobStore(Path(settings.root), _objects(settings) if settings.objects else None)
    records = Records(Path(settings.root) / "registry.db", clock=clock)
    accounts = Accounts(records, clock=clock, cost=settings.password_cost)
    guard = Guard(settings, records, accounts, clock=clock, share=processes)
    counted = metrics or Metrics(Metrics.make(1), 0)
    mirror = _mirror(settings, records, blobs, clock) if settings.mirror_of else None
    return Registry(settings, records, blobs, Manifests(records), counted, accounts, guard, mirror, clock)


def _objects(settings: Settings) -> Objects:
    from boatyard.registry.server.objects import Objects, bucket_of

    return Objects(bucket_of(settings.objects, os.environ))


def _mirror(settings: Settings, records: Records, blobs: BlobStore, clock: Callable[[], float]) -> Mirror:
    """With the credentials that `boat login` put down."""
    from boatyard.registry.server.mirror import Mirror
    from boatyard.registry.transport import Transport

    domain = settings.mirror_of
    hosts = Hosts({domain: HostSettings(http=True)} if settings.mirror_plain_http else {})
    transport = Transport(proxies=lambda url: proxy_of(url, os.environ))
    registries = Registries(transport, hosts, Tokens(transport, DockerConfig.default(os.environ)))
    return Mirror(registries, domain, records, blobs, clock=clock)
