"""Builds that are inputs of another one: what a named context `input:ID` refers to.

Their frontends run in the job of the build that uses them, so that only what it uses is ever executed, and the solver
shares that with everybody else who wants it. Their steps are done with what their own client gave: directories, secrets
and agents are looked up by whose step it is. Two builds may both call a directory "context": vertices of a linked one
carry its id, as BuildKit's carry a session's.

Specification: BuildKit's options `context:NAME=input:ID` and `input-metadata:ID`, with `::PLATFORM` for each platform
of a result with several (docker/buildx, build/build.go, waitContextDeps).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, replace

import msgspec

from boatyard.build.bridge import JobBridge, Learning
from boatyard.build.frontend.base import DEFAULT_FRONTEND, FrontendRequest, FrontendResult, PlatformResult
from boatyard.build.llb.graph import Edge, Graph, Vertex
from boatyard.build.ops.resolve import resolver
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.request import LinkedRequest
from boatyard.build.solver.types import Op
from boatyard.errors import InvalidError, SolveError, SourceExcerpt
from boatyard.image.spec import encode
from boatyard.progress import Emit, Event, ExplainEvent, VertexEvent

_INPUT = "input:"
_CONTEXT = "context:"
_DIRECTORIES = ("context", "dockerfile")

Run = Callable[[str, "Inputs"], Awaitable[FrontendResult]]
"""Runs the frontend of the build with this id. Its graphs are claimed for it before they are solved."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A build's options with its inputs opened: `edges` by the names that the options call them."""

    options: Mapping[str, str]
    edges: Mapping[str, Edge | None]


class LinkedBuilds:
    """Those of one build. `context` is that build's own. Used on the event loop."""

    def __init__(
        self, builds: Mapping[str, LinkedRequest], worker: Worker, context: BuildContext, owners: dict[str, str]
    ) -> None:
        """`owners`, by the digest of a step the id of the build that it is of, is filled in."""
        self._builds = builds
        self._owners = owners
        self._results: dict[str, asyncio.Task[FrontendResult]] = {}
        self._own = resolver(worker, context)
        self.contexts = {id: replace(context, requester=build.requester, used=set()) for id, build in builds.items()}
        """What the ops of each are given."""
        self._resolvers = {id: resolver(worker, each) for id, each in self.contexts.items()}

    def resolve(self, vertex: Vertex) -> Op:
        """Made with what the client of the build gave whose step it is."""
        owner = self._owners.get(vertex.digest)
        return (self._own if owner is None else self._resolvers[owner])(vertex)

    def claim(self, id: str, graph: Graph) -> None:
        """The steps of a linked build are done with what its own client gave. Those of builds that it is linked to
        itself are theirs already."""
        stack = [graph.root.vertex] if graph.root else []
        while stack:
            vertex = stack.pop()
            if vertex.digest not in self._owners:
                self._owners[vertex.digest] = id
                stack.extend(edge.vertex for edge in vertex.inputs)

    def claim_step(self, id: str, digest: str) -> None:
        self._owners.setdefault(digest, id)

    async def opened(
        self, options: Mapping[str, str], run: Run, path: tuple[str, ...] = (), given: Container[str] = ()
    ) -> Inputs:
        """Options that name inputs, with these inputs; those that are `given`, as graphs, are left as they are.
        InvalidError for one that isn't there, or that leads back to one of `path`."""
        changed = dict(options)
        edges: dict[str, Edge | None] = {}
        for name, value in options.items():
            if not name.startswith(_CONTEXT) or not value.startswith(_INPUT):
                continue
            id = value.removeprefix(_INPUT)
            if id in given:
                continue
            if id in path:
                raise InvalidError(f"linked builds lead back to themselves: {' -> '.join((*path, id))}")
            result = await self._result(id, run, path)
            several = result.multi_platform or len(result.images) > 1
            if several:
                del changed[name]
            for image in result.images:
                suffix = f"::{image.platform}" if several else ""
                changed[f"{name}{suffix}"] = f"{_INPUT}{id}{suffix}"
                changed[f"input-metadata:{id}{suffix}"] = _metadata(image)
                edges[f"{id}{suffix}"] = image.edge
        return Inputs(changed, edges)

    async def _result(self, id: str, run: Run, path: tuple[str, ...]) -> FrontendResult:
        """The frontend of each build runs once."""
        build = self._builds.get(id)
        if build is None:
            raise InvalidError(f"the request has no linked build {id!r}")
        if id not in self._results:
            self._results[id] = asyncio.ensure_future(self._converted(id, build, run, (*path, id)))
        return await asyncio.shield(self._results[id])

    async def _converted(self, id: str, build: LinkedRequest, run: Run, path: tuple[str, ...]) -> FrontendResult:
        inputs = await self.opened(build.options, run, path)
        return await run(id, Inputs(told_apart(inputs.options, id), inputs.edges))

    async def close(self) -> None:
        """No frontend runs any more."""
        for task in self._results.values():
            task.cancel()
        if self._results:
            await asyncio.wait(self._results.values())


@dataclass(frozen=True, slots=True)
class Bridges:
    """What the frontends of one build are given: its own, and those of the builds that it is linked to."""

    make: Callable[[BuildContext, Learning, Emit], JobBridge]
    context: BuildContext
    linked: LinkedBuilds
    known: Learning
    tell: Emit

    def own(self) -> JobBridge:
        return self.make(self.context, self.known, self.tell)

    async def opened(self, options: Mapping[str, str], given: Container[str]) -> Inputs:
        """The options, with what they name as inputs; the frontends of those have run then."""
        return await self.linked.opened(options, self._run, given=given)

    async def _run(self, id: str, inputs: Inputs) -> FrontendResult:
        def tell(event: Event) -> None:
            if isinstance(event, VertexEvent):  # what a frontend does beside its graphs
                self.linked.claim_step(id, event.digest)
            self.tell(event)

        bridge = self.make(self.linked.contexts[id], _Claiming(id, self.linked, self.known), tell)
        name = inputs.options.get("frontend", DEFAULT_FRONTEND)
        return await passed(bridge, await bridge.run_frontend(name, FrontendRequest(inputs.options, inputs.edges)))


@dataclass(frozen=True, slots=True)
class _Claiming:
    """Claims what is learnt for one linked build."""

    id: str
    linked: LinkedBuilds
    known: Learning

    def learn(self, graph: Graph) -> None:
        self.linked.claim(self.id, graph)
        self.known.learn(graph)

    def learn_files(self, files: Mapping[str, str]) -> None:
        self.known.learn_files(files)

    def learn_request(self, frontend: str, options: Mapping[str, str]) -> None:
        """It is no request of the build's own."""

    def excerpt(self, digest: str) -> SourceExcerpt | None:
        return self.known.excerpt(digest)


async def passed(bridge: JobBridge, result: FrontendResult) -> FrontendResult:
    """With its graphs as policies let them be built."""
    images = [
        replace(image, edge=(await bridge.passed(Graph(image.edge, result.files))).root) for image in result.images
    ]
    return replace(result, images=tuple(images))


def told_apart(options: Mapping[str, str], id: str) -> dict[str, str]:
    """Options whose directories are the `id`'s: their vertices are no other build's."""
    named = [value.partition(":")[2] for name, value in options.items() if name.startswith(_CONTEXT) and ":" in value]
    stores = [value.removeprefix("//").partition("@")[0] for value in named]
    return {**options, **{f"local-sessionid:{name}": id for name in (*_DIRECTORIES, *stores)}}


def _metadata(image: PlatformResult) -> str:
    config = base64.b64encode(encode(image.config)).decode()
    return json.dumps({"containerimage.config": config})


def labelled(tell: Emit, label: str, owners: Mapping[str, str]) -> Emit:
    """Tells the same, with labels before the names of steps."""

    def told(event: Event) -> None:
        if isinstance(event, VertexEvent):
            if prefix := owners.get(event.digest) or label:
                group = prefixed(event.group, prefix) if event.group else ""
                event = msgspec.structs.replace(event, name=prefixed(event.name, prefix), group=group)
        elif isinstance(event, ExplainEvent) and (prefix := owners.get(event.vertex) or label):
            event = msgspec.structs.replace(event, name=prefixed(event.name, prefix))
        tell(event)

    return told


def relabel(error: SolveError, label: str, owners: Mapping[str, str]) -> None:
    """Call the step that failed as its events did."""
    prefix = owners.get(error.vertex) or label
    if prefix and error.vertex_name:
        before, error.vertex_name = error.vertex_name, prefixed(error.vertex_name, prefix)
        if error.message.startswith(before):
            error.message = error.vertex_name + error.message.removeprefix(before)
            error.args = (error.message,)


def prefixed(name: str, prefix: str) -> str:
    """`[app build 1/3] RUN make`."""
    return f"[{prefix} {name[1:]}" if name.startswith("[") else f"[{prefix}] {name}"
