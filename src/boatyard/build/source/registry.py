"""The `Fetcher` of builds: images from registries, with the credentials of whoever builds."""

from __future__ import annotations

import asyncio

from boatyard.build.source.image import FoundImage, Keys, Told
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.lease import Leases
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.image.store import ImageStore
from boatyard.registry.credential import Credential
from boatyard.registry.hub import Hub

_PATIENCE = 60.0
"""Seconds that a client has to find its credentials."""


class Asked:
    """A requester's credentials for threads: the event loop asks it. Implements `registry.credential.Credentials`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._loop = asyncio.get_running_loop()

    def get(self, host: str) -> Credential | None:
        asking = asyncio.run_coroutine_threadsafe(self._ask(host), self._loop)
        return asking.result()

    async def _ask(self, host: str) -> Credential | None:
        async with asyncio.timeout(_PATIENCE):
            return await self._keys.registry_credentials(host)


class RegistryFetcher:
    """One per daemon. What is fetched for a build gets its name in the image store, so that it is found there next
    time."""

    def __init__(self, hub: Hub, images: ImageStore, leases: Leases) -> None:
        self._hub = hub
        self._images = images
        self._leases = leases

    async def fetch(self, reference: Reference, platform: Platform, keys: Keys) -> Descriptor:
        registries = self._hub.registries(Asked(keys))

        def work(stop: Stop) -> Descriptor:
            with self._leases.hold() as lease:
                repository = self._hub.repository(registries, reference, stop)
                target = self._hub.documents(repository, reference, lease.add_blob, [platform])
                self._images.put(reference, target)
                return target

        return await run_interruptible(work)

    def has_brought(self, image: FoundImage) -> bool:
        return any(self._hub.has(layer.digest) for layer in image.layers)

    def announce(self, image: FoundImage, keys: Keys, told: Told) -> None:
        registries = self._hub.registries(Asked(keys))
        self._hub.announce(registries, image.reference, [layer.digest for layer in image.layers], told)
