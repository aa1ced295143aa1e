"""The daemon about itself: what it is, how it is, and its end. Implements `SystemService` of the native API."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from boatyard import __version__
from boatyard.build.source.address import shown
from boatyard.client.documents.envelope import API_VERSION
from boatyard.client.documents.system import Check, DaemonInfo
from boatyard.client.places import Card
from boatyard.daemon.activity import Activity
from boatyard.daemon.config import Config
from boatyard.daemon.wiring import Yard
from boatyard.errors import ConflictError


class Control:
    """One per daemon. `stopping` is set when the daemon is to stop, by a client or a signal. `vanish` hides it from
    clients that come later."""

    def __init__(
        self,
        config: Config,
        card: Card,
        activity: Activity,
        yard: Yard,
        addresses: Sequence[str],
        vanish: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._config = config
        self._card = card
        self._activity = activity
        self._yard = yard
        self._addresses = tuple(addresses)
        self._vanish = vanish
        self._stopping = stopping

    async def info(self) -> DaemonInfo:
        return DaemonInfo(
            version=__version__,
            api=API_VERSION,
            pid=self._card.pid,
            started=self._card.started,
            root=self._config.root,
            config_file=self._config.file,
            addresses=self._addresses,
            autostarted=self._card.autostarted,
            idle_timeout=float(self._config.idle_timeout),
            rootless=os.geteuid() != 0,
            running=self._activity.running,
            platforms=tuple(self._yard.platforms()),
            components=tuple(await self._yard.components()),
            kernel=os.uname().release,
            cpus=len(os.sched_getaffinity(0)),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            devices=tuple(device.name for device in await asyncio.to_thread(self._yard.devices)),
            labels=dict(await self._yard.labels()),
            proxy={name: shown(value) for name, value in self._config.proxy.variables().items()},
            warnings=tuple(self._yard.warnings()),
        )

    async def doctor(self) -> Sequence[Check]:
        return await self._yard.checks()

    async def shutdown(self, *, when_idle: bool) -> None:
        if when_idle and self._activity.running:
            raise ConflictError(
                f"the daemon is at work on {self._activity.running} requests", hint="wait for them, or stop it anyway"
            )
        # Before this is answered: who was told that the daemon stops, and then asks for one, must not meet this one.
        self._vanish()
        self._stopping.set()
