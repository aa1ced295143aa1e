"""The daemon's frontends, by name. What they are made of is loaded when the first build asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from boatyard.build.frontend.base import Frontend, FrontendRequest, FrontendResult, GuestBridge
from boatyard.build.ops.worker import Worker
from boatyard.daemon.config import FrontendConfig

if TYPE_CHECKING:
    from boatyard._pb.worker_pb2 import WorkerRecord
    from boatyard.api.buildkit.gateway.hosting import Hosting

PRODUCT = "boatyard"


@dataclass(frozen=True, slots=True)
class KnownWorker:
    """This daemon, as frontends are told of it."""

    id: str
    platforms: Callable[[], Sequence[str]]
    labels: Callable[[], Awaitable[Mapping[str, str]]]


def frontends(config: FrontendConfig, worker: Worker, known: KnownWorker) -> dict[str, Frontend]:
    guests = _Guests(config, worker, known)
    found: dict[str, Frontend] = {"gateway.v0": guests.gateway, "python.v0": guests.python}
    if config.dockerfile:
        found["dockerfile.v0"] = _Dockerfile(insist=config.insist_on_syntax_image)
    return found


class _Dockerfile:
    """The daemon answers earlier when this is loaded later: it is a fifth of all that it loads."""

    def __init__(self, *, insist: bool) -> None:
        self._insist = insist

    async def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult:
        from boatyard.build.frontend.dockerfile import frontend

        return await frontend.build(bridge, request, insist_on_syntax_image=self._insist)


class _Guests:
    """Those that run in containers."""

    def __init__(self, config: FrontendConfig, worker: Worker, known: KnownWorker) -> None:
        self._config = config
        self._worker = worker
        self._known = known
        self._hosting: Hosting | None = None
        self._gateway: Frontend | None = None
        self._python: Frontend | None = None

    async def gateway(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult:
        if self._gateway is None:
            from boatyard.build.frontend.gateway.frontend import GatewayFrontend
            from boatyard.build.frontend.gateway.guest import GuestLimits

            self._gateway = GatewayFrontend(
                self._worker,
                self._host(),
                enabled=self._config.gateway,
                allowed=self._config.gateway_repositories,
                limits=GuestLimits(quiet=float(self._config.quiet_timeout)),
                known=self._variables,
            )
        return await self._gateway(bridge, request)

    async def python(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult:
        if self._python is None:
            from boatyard.build.frontend.gateway.guest import GuestLimits
            from boatyard.build.frontend.gateway.python import PythonFrontend

            self._python = PythonFrontend(
                self._worker,
                self._host(),
                enabled=self._config.python,
                memory=self._config.memory.of(0),
                limits=GuestLimits(quiet=float(self._config.quiet_timeout)),
                known=self._variables,
            )
        return await self._python(bridge, request)

    def _host(self) -> Hosting:
        if self._hosting is None:
            from boatyard.api.buildkit.backend import Worker
            from boatyard.api.buildkit.gateway.hosting import Hosting
            from boatyard.api.buildkit.workers import record

            told = Worker(self._known.id, self._known.platforms, self._known.labels)

            async def workers() -> list[WorkerRecord]:
                return [await record(told)]

            self._hosting = Hosting(workers)
        return self._hosting

    async def _variables(self) -> dict[str, str]:
        """As BuildKit sets them."""
        platforms = [
            dict(zip(("os", "architecture", "variant"), each.split("/"), strict=False))
            for each in self._known.platforms()
        ]
        worker = {
            "id": self._known.id,
            "labels": dict(await self._known.labels()),
            "platforms": platforms,
            "gcPolicy": None,
            "cdiDevices": None,
        }
        return {
            "BUILDKIT_SESSION_ID": "",
            "BUILDKIT_WORKERS": msgspec.json.encode([worker]).decode(),
            "BUILDKIT_EXPORTEDPRODUCT": PRODUCT,
        }
