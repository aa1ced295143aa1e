"""`gateway.v0`: the frontend is an image, which the option `source` names.

Its root is read-only but for /tmp. Everything it may do, it asks of the builder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from boatyard.build.frontend.base import FrontendRequest, FrontendResult, GuestBridge
from boatyard.build.frontend.gateway import image as images
from boatyard.build.frontend.gateway.conversation import Converse
from boatyard.build.frontend.gateway.guest import DEFAULT, GuestLimits, host
from boatyard.build.frontend.gateway.image import FrontendImage
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Graph
from boatyard.build.ops.worker import Worker
from boatyard.errors import DeniedError, InvalidError, UnsupportedError
from boatyard.image.interruption import run_settled
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.runtime.container import ContainerSpec, Limit, Network, Resources, SecretFile, TmpfsMount

DEFINITION = "/run/config/buildkit/metadata/frontend.bin"
"""Where a frontend finds the graph that it is itself made from."""

_TMP = TmpfsMount("/tmp", size=256 << 20)
_PIDS = 512


class GatewayFrontend:
    """One per daemon. `allowed`: repositories whose images may be run, none means any. `known`: variables about the
    builder that every frontend gets."""

    def __init__(
        self,
        worker: Worker,
        converse: Converse,
        *,
        enabled: bool = True,
        allowed: Collection[str] = (),
        limits: GuestLimits = DEFAULT,
        known: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._worker = worker
        self._converse = converse
        self._enabled = enabled
        self._allowed = allowed
        self._limits = limits
        self._known = known

    async def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult:
        source = request.options.get("source", "")
        if "gateway-devel" in request.options:
            raise UnsupportedError(
                "gateway-devel is not supported", hint="build the frontend's image, and name it as `source`"
            )
        if not source:
            raise InvalidError("gateway.v0 needs the option `source`: the image of the frontend")
        if not self._enabled:
            raise DeniedError(
                "the daemon's configuration doesn't let images be frontends", hint="frontend.images = true allows it"
            )
        images.check_allowed(source, self._allowed)
        image = await images.find(bridge, request, source)
        images.check_capabilities(image, request)
        chain = await _chain(bridge, image)
        async with (
            bridge.shown(f"[internal] run the frontend {source}") as step,
            root(self._worker.layers, chain) as at,
        ):
            spec = self._spec(at, image, request, await self._known())
            async with self._converse(bridge, request) as conversation:
                return await host(self._worker.executor, spec, conversation, step, source, self._limits)

    def _spec(
        self, at: Path, image: FrontendImage, request: FrontendRequest, known: Mapping[str, str]
    ) -> ContainerSpec:
        config = image.config
        return ContainerSpec(
            root=at,
            args=config.entrypoint or ("/run",),
            env=images.environment(image, request.options, known),
            cwd=config.working_dir or "/",
            user=config.user,
            mounts=(_TMP, SecretFile(DEFINITION, codec.encode(Graph(image.edge)), mode=0o444)),
            hostname="buildkitsandbox",
            network=Network.DEFAULT if image.needs_network else Network.NONE,
            resources=Resources(pids=_PIDS),
            ulimits=(Limit("core", 0, 0),),
            readonly_root=True,
        )


async def _chain(bridge: GuestBridge, image: FrontendImage) -> Chain:
    if image.edge is None:
        return ()
    passed = await bridge.passed(Graph(image.edge))
    assert passed.root is not None
    return await (await bridge.result(passed.root)).chain()


@asynccontextmanager
async def root(layers: LayerStore, chain: Chain) -> AsyncIterator[Path]:
    """A directory with these files, in which places for mounts can be made; nothing of it stays."""
    made = ExitStack()

    def make() -> Path:
        active = layers.snapshotter.prepare()
        made.callback(layers.snapshotter.remove, active)
        return made.enter_context(layers.mount(chain, active=active))

    try:
        yield await run_settled(make)
    finally:
        await run_settled(made.close)
