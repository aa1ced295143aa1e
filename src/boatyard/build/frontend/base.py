"""What a frontend is: an async function from (bridge, request) to a result, and what it may ask for while it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from boatyard.build.llb.graph import Edge, Graph, SourceLocation
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig
from boatyard.progress import WarningEvent

if TYPE_CHECKING:
    # The library for frontends shares this module, and loads no more of the builder than it needs.
    from boatyard.build.ops.container import BuildContainer, ContainerRequest
    from boatyard.build.ops.worker import StepRemains
    from boatyard.build.policy.rule import Policy
    from boatyard.build.result import Result
    from boatyard.build.solver.step import ShownStep
    from boatyard.build.source.meta import MetaQuestion, SourceMeta
    from boatyard.errors import SourceExcerpt


DEFAULT_FRONTEND = "dockerfile.v0"
"""Of a request that names none."""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image reference pinned: `reference` carries the digest of the manifest or index that `tag` named."""

    reference: str
    digest: Digest
    config: bytes
    """The image config document, byte for byte."""


class FileReader(Protocol):
    """Files of a solved edge."""

    async def read_file(self, path: str) -> bytes:
        """NotFoundError when it isn't there. Symlinks are followed inside the tree."""

    async def read_dir(self, path: str) -> Sequence[str]: ...


class Bridge(Protocol):
    """What a frontend may ask of the builder. One per build."""

    platform: Platform
    """The builder's own platform (BUILDPLATFORM)."""

    entitlements: frozenset[str]
    """What the client grants, and the daemon with it."""

    async def resolve_image(self, reference: str, platform: Platform, *, mode: str = "default") -> ResolvedImage:
        """`mode`: default (local store first, then registry), pull, local. NotFoundError with a hint when there is
        none."""

    async def solve(self, graph: Graph) -> FileReader:
        """Run a graph; concurrent and later solves of the same edge cost nothing."""

    async def run_frontend(self, name: str, request: FrontendRequest) -> FrontendResult:
        """Another frontend's result; nothing of it is solved yet. InvalidError when there is none of that name, or when
        frontends call each other without end."""

    def learn(self, files: Mapping[str, str]) -> None:
        """Source files that warnings point into, by name: to be told before them."""

    def warn(self, warning: WarningEvent) -> None: ...


class GuestBridge(Bridge, Protocol):
    """What a frontend outside of the builder (in a container, in the client) may ask for beside that. It holds results
    by reference: an edge that is solved when somebody needs its files."""

    async def passed(self, graph: Graph, policies: Sequence[Policy] = ()) -> Graph:
        """The graph as source policies let it be built; `policies` are the frontend's own."""

    async def result(self, edge: Edge) -> Result:
        """Solve an edge of a graph that has passed. Raises SolveError."""

    async def source_meta(self, question: MetaQuestion, policies: Sequence[Policy] = ()) -> SourceMeta:
        """What is known of a source without its files."""

    def shown(self, name: str) -> AbstractAsyncContextManager[ShownStep]:
        """Work that is no vertex of a graph, shown as a step of the build."""

    def container(self, request: ContainerRequest) -> AbstractAsyncContextManager[BuildContainer]:
        """A container on results, as long as the context lasts."""

    def excerpt(self, vertex: str) -> SourceExcerpt | None:
        """Where a step stands in its source, by the digest of its vertex."""

    def remains(self, vertex: str) -> StepRemains | None:
        """Of a step that failed, by the digest of its vertex; None when nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class FrontendRequest:
    """`options` are BuildKit's frontend attributes (reference/builder.md 5.4): target, platform, filename,
    build-arg:NAME, label:NAME, context:NAME, no-cache, add-hosts, force-network-mode, shm-size, ulimit, hostname,
    requestid ... `inputs` are graphs by name; None is the empty tree."""

    options: Mapping[str, str]
    inputs: Mapping[str, Edge | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlatformResult:
    platform: Platform
    edge: Edge | None
    """None is an empty tree."""
    config: ImageConfig
    """Complete but for rootfs.diff_ids and the history entries of layers, which the exporter fills in from the
    chain."""
    base: Digest | None = None
    base_name: str = ""


@dataclass(frozen=True, slots=True)
class SourceStep:
    """An instruction that had a part in the result, as it is written. The vertices it became carry the same location;
    there may be several, or none (it only changed the image's config)."""

    text: str
    location: SourceLocation


@dataclass(frozen=True, slots=True)
class FrontendResult:
    """`images`: one entry a platform, in request order. `metadata`: answers of subrequests ("result.json",
    "result.txt", "result.statuscode") and exporter hints. `files`: file name -> text, for excerpts. `steps`: what the
    source says, in its order, for those who tell progress in its terms."""

    images: tuple[PlatformResult, ...] = ()
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[SourceStep, ...] = ()
    multi_platform: bool = False
    epoch: int | None = None
    """SOURCE_DATE_EPOCH, where the request or the Dockerfile sets it."""


class Frontend(Protocol):
    async def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult: ...
