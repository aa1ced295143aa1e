"""Which image a frontend is in, and what it says of itself.

Labels: `moby.buildkit.frontend.caps` lists what it can do, `moby.buildkit.frontend.network.none` that it needs no
network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from boatyard.build.frontend.base import Bridge, FrontendRequest
from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import sources
from boatyard.build.frontend.dockerfile.named import NamedContexts
from boatyard.build.frontend.dockerfile.options import is_true
from boatyard.build.llb.graph import Edge
from boatyard.errors import DeniedError, InvalidError, MissingCapabilityError
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.spec import ImageConfig, RunConfig

CAPS = "moby.buildkit.frontend.caps"
NO_NETWORK = "moby.buildkit.frontend.network.none"
INPUTS = "moby.buildkit.frontend.inputs"
LIBRARY = frozenset((INPUTS, "moby.buildkit.frontend.subrequests", "moby.buildkit.frontend.contexts"))
"""What every frontend made with `boatyard.frontend` can do."""


@dataclass(frozen=True, slots=True)
class FrontendImage:
    """`edge` None is an image without files."""

    name: str
    edge: Edge | None
    config: RunConfig

    @property
    def needs_network(self) -> bool:
        return not is_true(self.config.labels.get(NO_NETWORK, ""))


def check_allowed(source: str, repositories: Collection[str]) -> None:
    """`repositories`: those whose images may be run; none means any."""
    if repositories and references.parse(source).name not in {references.parse(each).name for each in repositories}:
        raise DeniedError(
            f"the daemon's configuration doesn't let the image {source} be a frontend",
            hint=f"allowed are {', '.join(sorted(repositories))}",
        )


def check_capabilities(image: FrontendImage, request: FrontendRequest) -> None:
    """MissingCapabilityError when the request needs what the frontend can't do."""
    check_needs(image.name, request, _names(image.config.labels.get(CAPS, "")))


def check_needs(frontend: str, request: FrontendRequest, capabilities: Collection[str]) -> None:
    needed = _names(request.options.get("frontend.caps", ""))
    if request.inputs:
        needed.add(INPUTS)
    for name in sorted(needed.difference(capabilities)):
        raise MissingCapabilityError(
            f"the frontend {frontend} hasn't the capability {name!r}, which the request needs",
            hint="a newer version of it may have it",
            name=name,
        )


def _names(text: str) -> set[str]:
    return {part.partition("+")[0].strip() for part in text.split(",") if part.strip()}


async def find(bridge: Bridge, request: FrontendRequest, source: str) -> FrontendImage:
    """By name; a named context of the request may stand in the place of an image."""
    named = NamedContexts(request.options, request.inputs, bridge)
    if (context := named.find(source, bridge.platform)) is not None:
        loaded = await named.load(context, bridge.platform, _everything)
        return _made(source, drafts.finish(loaded.output), loaded.config)
    try:
        reference = str(references.parse(source).with_default_tag())
    except InvalidError as error:
        raise InvalidError(f"{source!r} names no frontend: {error.message}", hint=error.hint) from error
    found = await bridge.resolve_image(reference, bridge.platform)
    draft = sources.image(
        found.reference, bridge.platform, metadata=sources.internal(f"load the frontend {found.reference}")
    )
    return _made(source, drafts.finish(draft), documents.parse_config(found.config))


def _made(source: str, edge: Edge | None, config: ImageConfig | None) -> FrontendImage:
    return FrontendImage(source, edge, config.config if config else RunConfig())


def _everything() -> Sequence[str]:
    return ()


def environment(image: FrontendImage, options: Mapping[str, str], known: Mapping[str, str]) -> tuple[str, ...]:
    """As BuildKit sets it: the image's own, the options one by one, and what is known of the builder."""
    given = (f"BUILDKIT_FRONTEND_OPT_{number}={name}={value}" for number, (name, value) in enumerate(options.items()))
    return (*image.config.env, *given, *(f"{name}={value}" for name, value in known.items()))
