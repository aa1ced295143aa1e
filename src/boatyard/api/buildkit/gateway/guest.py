"""One frontend outside of the builder, as the builder sees it: what it holds of the build, and the result it returns.

It names results by id. Behind an id is an edge that has passed the source policies and is solved when somebody needs
its files, or a result as it is (what a failed step left behind).
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from grpclib.exceptions import GRPCError

from boatyard._pb.wellknown import Any
from boatyard.api.buildkit import details, errors
from boatyard.build.frontend.base import FrontendRequest, FrontendResult, GuestBridge, PlatformResult
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Graph, Vertex
from boatyard.build.ops.container import BuildContainer, ContainerRequest
from boatyard.build.result import Result
from boatyard.errors import BoatyardError, ConflictError, InvalidError, NotFoundError, SolveError

T = TypeVar("T")

MOST_REFERENCES = 100_000
MOST_CONTAINERS = 1_000


@dataclass(frozen=True, slots=True)
class Reference:
    """`graph` has passed the source policies. `image`: what a frontend of the builder said of it."""

    id: str
    graph: Graph
    image: PlatformResult | None = None
    result: Result | None = None


class Guest:
    """Lives as long as its build; used on the event loop. Whoever made it closes it."""

    def __init__(self, bridge: GuestBridge, request: FrontendRequest) -> None:
        self.bridge = bridge
        self.request = request
        self.failures: dict[str, SolveError] = {}
        """What it was told of steps that failed, by their digests."""
        self._references: dict[str, Reference] = {}
        self._containers: dict[str, tuple[BuildContainer, AsyncExitStack]] = {}
        self._opening: set[str] = set()
        self._returned: asyncio.Future[FrontendResult] = asyncio.get_running_loop().create_future()
        self._closed = False

    # Its result

    async def returned(self) -> FrontendResult:
        """Waits for it. Raises what the frontend gave up with."""
        return await asyncio.shield(self._returned)

    def give(self, result: FrontendResult) -> None:
        """ConflictError the second time."""
        self._check_unreturned()
        self._returned.set_result(result)

    def give_up(self, error: BoatyardError) -> None:
        """At most one of `give` and this counts; whoever ends a frontend needn't know which."""
        if not self._returned.done():
            self._returned.set_exception(error)
            self._returned.exception()  # it may be that nobody waits any more

    def _check_unreturned(self) -> None:
        self.check()
        if self._returned.done():
            raise ConflictError("the frontend has returned its result already")

    # References

    def hold(self, graph: Graph, *, image: PlatformResult | None = None, result: Result | None = None) -> Reference:
        self.check()
        if len(self._references) >= MOST_REFERENCES:
            raise InvalidError(f"the frontend holds {MOST_REFERENCES} results already")
        id = base64.b32encode(os.urandom(16)).decode("ascii").lower().rstrip("=")
        reference = self._references[id] = Reference(id, graph, image, result)
        return reference

    def reference(self, id: str) -> Reference:
        self.check()
        found = self._references.get(id)
        if found is None:
            raise NotFoundError(f"no such ref: {id[:100]!r}")
        return found

    async def result(self, id: str) -> Result:
        """The files behind a reference, solved now. GRPCError with all that is known of a failure."""
        reference = self.reference(id)
        if reference.result is not None:
            return reference.result
        root = reference.graph.root
        if root is None:
            raise InvalidError(f"the result {id} is the empty tree")
        return await self.solved(root, lambda: self.bridge.result(root))

    async def solved(self, root: Edge | None, work: Callable[[], Awaitable[T]]) -> T:
        """`work`, which solves the graph below `root`."""
        try:
            return await work()
        except SolveError as error:
            raise self.failure(error, root) from error

    def failure(self, error: BoatyardError, root: Edge | None = None, extra: Iterable[Any] = ()) -> GRPCError:
        """What the client is told. A step that failed is described, so that it can look into it."""
        if isinstance(error, SolveError):
            if error.source is None:
                error.source = self.bridge.excerpt(error.vertex)
            self.failures[error.vertex] = error
            extra = [*extra, *self._described(root, error.vertex)]
        return errors.grpc_error(error, extra)

    def _described(self, root: Edge | None, digest: str) -> list[Any]:
        vertex = _find(root, digest)
        if vertex is None:
            return []
        remains = self.bridge.remains(digest)
        given = [self._held(result) for result in remains.given] if remains else []
        left = [self._held(result) for result in remains.left] if remains else []
        return [details.solve(vertex.encoding, vertex.metadata.description, given, left)]

    def _held(self, result: Result | None) -> str:
        return self.hold(Graph(None), result=result).id if result is not None else ""

    # Containers

    async def open_container(self, id: str, request: ContainerRequest) -> None:
        self.check()
        if not id:
            raise InvalidError("a container needs an id")
        if id in self._containers or id in self._opening:
            raise ConflictError(f"Container {id} already exists")
        if len(self._containers) + len(self._opening) >= MOST_CONTAINERS:
            raise InvalidError(f"the frontend has {MOST_CONTAINERS} containers already")
        stack = AsyncExitStack()
        with self._naming(id):
            container = await stack.enter_async_context(self.bridge.container(request))
        if self._closed:
            await stack.aclose()
            self.check()
        self._containers[id] = (container, stack)

    @contextmanager
    def _naming(self, id: str) -> Iterator[None]:
        self._opening.add(id)
        try:
            yield
        finally:
            self._opening.discard(id)

    def container(self, id: str) -> BuildContainer:
        self.check()
        found = self._containers.get(id)
        if found is None:
            raise NotFoundError(f"container {id[:100]!r} was released, or never made")
        return found[0]

    async def release(self, id: str) -> None:
        self.container(id)
        _, stack = self._containers.pop(id)
        await stack.aclose()

    # Its end

    def check(self) -> None:
        """NotFoundError once the build has ended."""
        if self._closed:
            raise NotFoundError("the build has ended")

    async def close(self) -> None:
        """Nothing of it runs any more afterwards. Idempotent."""
        self._closed = True
        self.give_up(NotFoundError("the build has ended"))
        self._references.clear()
        while self._containers:
            _, (_, stack) = self._containers.popitem()
            await stack.aclose()


def _find(root: Edge | None, digest: str) -> Vertex | None:
    if root is None:
        return None
    return next((vertex for vertex in codec.in_order(root.vertex) if vertex.digest == digest), None)
