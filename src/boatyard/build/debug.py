"""A shell at a step of a past build.

The graph and the results of its steps are in the history. What is still in the cache is taken from there; what isn't is
built again, as far as that needs nothing of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from boatyard.build.history import BuildRecord
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, ExecOp, Graph, Vertex
from boatyard.build.ops.exec import ExecStep
from boatyard.build.ops.resolve import resolver
from boatyard.build.ops.worker import BuildContext
from boatyard.build.requester import Requester
from boatyard.build.result import Result
from boatyard.build.service import BuildService
from boatyard.build.solver.scheduler import Job
from boatyard.errors import ConflictError, IntegrityError, NotFoundError
from boatyard.image.layer.store import LayerStore
from boatyard.progress import Emit, VertexEvent
from boatyard.runtime.container import ContainerSpec

RunShell = Callable[[ContainerSpec], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PastStep:
    """`number` counts from 1 in the order in which the build told of its steps."""

    number: int
    event: VertexEvent
    vertex: Vertex | None
    """None for steps outside the graph (loading metadata, exporting)."""


def steps(service: BuildService, ref: str) -> list[PastStep]:
    """All steps of a past build."""
    last: dict[str, VertexEvent] = {}
    for event in service.history.events(ref):
        if isinstance(event, VertexEvent):
            last[event.digest] = event
    vertices = _vertices(service, ref)
    return [PastStep(number, event, vertices.get(event.digest)) for number, event in enumerate(last.values(), start=1)]


def find(all_steps: list[PastStep], wanted: str, failed: str) -> PastStep:
    """By number, by digest or a beginning of it, by a part of its name that no other has; "" is the step that
    failed."""
    if not wanted and not failed:
        raise NotFoundError(
            "no step of this build failed", hint="name a step: `boat builder history inspect REF` numbers them"
        )
    wanted = wanted or failed
    for step in all_steps:
        if wanted in (str(step.number), step.event.digest):
            return step
    hex = wanted.removeprefix("sha256:")
    matching = [step for step in all_steps if step.event.digest.removeprefix("sha256:").startswith(hex)] or [
        step for step in all_steps if wanted.lower() in step.event.name.lower()
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ConflictError(
            f"{wanted!r} names {len(matching)} steps",
            hint="; ".join(f"{step.number}: {step.event.name}" for step in matching[:5]),
        )
    raise NotFoundError(f"the build has no step {wanted!r}", hint="`boat builder history inspect REF` numbers them")


async def open_shell(
    service: BuildService, ref: str, wanted: str, requester: Requester, emit: Emit, run: RunShell, *, after: bool
) -> None:
    """Call `run` with a container in the state before (or `after`) a step. NotFoundError, ConflictError as `find`."""
    record = service.history.get(ref)
    step = find(steps(service, record.ref), wanted, record.failed_vertex)
    vertex = step.vertex
    if vertex is None:
        raise NotFoundError(
            f"step {step.number} ({step.event.name}) has no files to look at", hint="choose a RUN or COPY step"
        )

    async def solve(edge: Edge) -> object:
        return await job.solve(edge)

    context = BuildContext(requester=requester, solve=solve)
    resolve = resolver(service.worker, context)
    job = service.solver.job(resolve, emit)
    try:
        if isinstance(vertex.op, ExecOp) and not after:
            inputs = [await _result(service, record, job, edge) for edge in vertex.inputs]
            await ExecStep(vertex, vertex.op, service.worker, context).shell(inputs, run)
        else:
            result = await _result(service, record, job, Edge(vertex))
            await _in_tree(service.worker.layers, result, run)
    finally:
        await job.close()


async def _result(service: BuildService, record: BuildRecord, job: Job, edge: Edge) -> Result:
    ids = record.results.get(edge.vertex.digest, [])
    if edge.index < len(ids):
        try:
            result: Result = await service.solver.results.load(ids[edge.index])
            return result
        except (NotFoundError, IntegrityError):
            pass  # pruned since: it is built again
    return await job.solve(edge)  # type: ignore[no-any-return]


async def _in_tree(layers: LayerStore, result: Result, run: RunShell) -> None:
    """A container on the files of a result, with nothing else; its changes are thrown away."""
    chain = await result.chain()
    with ExitStack() as stack:

        def mount() -> Path:
            active = layers.snapshotter.prepare()
            stack.callback(layers.snapshotter.remove, active)
            return stack.enter_context(layers.mount(chain, active=active))

        try:
            root = await asyncio.to_thread(mount)
            await run(ContainerSpec(root=root, args=("/bin/sh",)))
        finally:
            await asyncio.to_thread(stack.close)


def _vertices(service: BuildService, ref: str) -> dict[str, Vertex]:
    found: dict[str, Vertex] = {}
    for data in service.history.graphs(ref):
        graph: Graph = codec.decode(data)
        stack = [graph.root.vertex] if graph.root else []
        while stack:
            vertex = stack.pop()
            if vertex.digest not in found:
                found[vertex.digest] = vertex
                stack.extend(edge.vertex for edge in vertex.inputs)
    return found
