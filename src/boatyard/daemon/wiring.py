"""Where the parts of the daemon are made and handed to each other: explicit calls, in one place, no registration.

Knows everything; nothing knows it but `daemon.main`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from boatyard.api.native.services import BuildService, DiskService, ImageService, RunService
from boatyard.client.documents.system import Check, Component
from boatyard.daemon.activity import Activity
from boatyard.daemon.config import Config
from boatyard.image.platform import host_platform


@dataclass(frozen=True, slots=True)
class Yard:
    """The parts that the daemon's faces talk to. Those that are None are not served."""

    components: Callable[[], Awaitable[Sequence[Component]]]
    checks: Callable[[], Awaitable[Sequence[Check]]]
    warnings: Callable[[], Sequence[str]]
    platforms: Sequence[str]
    builds: BuildService | None = None
    images: ImageService | None = None
    disk: DiskService | None = None
    runs: RunService | None = None


@asynccontextmanager
async def open_yard(config: Config, activity: Activity) -> AsyncIterator[Yard]:
    """Make everything below the daemon's root, clean up what an earlier daemon left, and take it down at the end."""
    async with AsyncExitStack():
        yield Yard(components=_no_components, checks=_no_checks, warnings=list, platforms=[str(host_platform())])


async def _no_components() -> Sequence[Component]:
    return ()


async def _no_checks() -> Sequence[Check]:
    return ()
