"""What the BuildKit face asks of the rest of the daemon. Wired in `daemon.grpc`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from boatyard.api.buildkit.requester import Places
from boatyard.build.history import History
from boatyard.build.policy.verdict import Verifier
from boatyard.build.prune import Policy, Pruner
from boatyard.build.request import BuildReply, BuildRequest
from boatyard.build.requester import Requester
from boatyard.build.usage import UsageList
from boatyard.image.content.directory import DirectoryStore
from boatyard.progress import Emit
from boatyard.runtime.cdi.registry import Device


class Builder(Protocol):
    async def run(
        self, request: BuildRequest, requester: Requester, emit: Emit, *, verifier: Verifier | None = None
    ) -> BuildReply:
        """A build to its end. Cancelling cancels it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """This daemon as clients know it. `platforms`: those it builds for now, its own first; `devices`: those
    that steps may ask for. Both block shortly."""

    id: str
    platforms: Callable[[], Sequence[str]]
    labels: Callable[[], Awaitable[Mapping[str, str]]]
    gc_policies: Sequence[Policy] = ()
    devices: Callable[[], Sequence[Device]] = tuple


@dataclass(frozen=True, slots=True)
class Backend:
    """`content` holds what images and build results name."""

    builder: Builder
    history: History
    usage: UsageList
    pruner: Pruner
    content: DirectoryStore
    places: Places
    worker: Worker
