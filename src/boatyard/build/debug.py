"""A shell at a step of a past build.

The graph and the results of its steps are in the history. What is still in the cache is taken from there; what isn't is
built again, as far as that needs nothing of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from boatyard.build.history import BuildRecord
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, ExecOp, FileOp, Graph, MergeOp, ProxyEnv, SourceOp, Vertex
from boatyard.build.ops.exec import DEFAULT_PATH, ExecStep
from boatyard.build.ops.resolve import resolver
from boatyard.build.ops.worker import BuildContext
from boatyard.build.policy.gate import Policies, SourceGate
from boatyard.build.requester import Requester
from boatyard.build.result import Result
from boatyard.build.service import BuildService
from boatyard.errors import ConflictError, IntegrityError, NotFoundError
from boatyard.image.interruption import run_settled
from boatyard.image.layer.store import LayerStore
from boatyard.progress import Emit, LogEvent, StatusEvent, VertexEvent, WarningEvent
from boatyard.runtime.container import ContainerSpec

SHELL = ("/bin/sh", "-c", "if [ -x /bin/bash ]; then exec /bin/bash; else exec /bin/sh; fi")

SHORT_DIGEST = 8
"""Digits of a digest that are enough to be taken for one."""

RunShell = Callable[[ContainerSpec], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PastStep:
    """`number` is the one that the build's log shows (`cli.render.steps` gives it there): steps count from 1 in the
    order in which something happens to them; those of a group share one. Announced steps that never began come last."""

    number: int
    event: VertexEvent
    vertex: Vertex | None
    """None for steps outside the graph (loading metadata, exporting)."""


def steps(service: BuildService, ref: str) -> list[PastStep]:
    """All steps of a past build."""
    last: dict[str, VertexEvent] = {}
    numbers: dict[str, int] = {}
    for event in service.history.events(ref):
        if isinstance(event, VertexEvent):
            last[event.digest] = event
            if event.started is not None or event.completed is not None:
                numbers.setdefault(event.group or event.digest, len(numbers) + 1)
        elif isinstance(event, StatusEvent | LogEvent) and event.vertex in last:
            shown = last[event.vertex]
            numbers.setdefault(shown.group or shown.digest, len(numbers) + 1)
    for event in last.values():
        numbers.setdefault(event.group or event.digest, len(numbers) + 1)
    vertices = _vertices(service, ref)
    found = [PastStep(numbers[e.group or e.digest], e, vertices.get(e.digest)) for e in last.values()]
    return sorted(found, key=lambda step: step.number)


def find(all_steps: list[PastStep], wanted: str, failed: str) -> PastStep:
    """By number, by digest or a beginning of it, by a part of its name that no other has; "" is the step that
    failed."""
    if not wanted and not failed:
        raise NotFoundError(
            "no step of this build failed", hint="name a step: `boat builder history BUILD` numbers them"
        )
    wanted = (wanted or failed).removeprefix("#")
    named = [step for step in all_steps if wanted in (str(step.number), step.event.digest)]
    if named:
        # Of a group, the step that the others lead to.
        return next((step for step in named if step.vertex and isinstance(step.vertex.op, MergeOp)), named[-1])
    # What looks like a number is one: not the digits that a digest in some step's name begins with.
    matching = [] if wanted.isdigit() and len(wanted) < SHORT_DIGEST else _matching(all_steps, wanted)
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ConflictError(
            f"{wanted!r} names {len(matching)} steps",
            hint="; ".join(f"{step.number}: {step.event.name}" for step in matching[:5]),
        )
    raise NotFoundError(f"the build has no step {wanted!r}", hint="`boat builder history BUILD` numbers them")


def _matching(all_steps: list[PastStep], wanted: str) -> list[PastStep]:
    hex = wanted.removeprefix("sha256:")
    begun = [step for step in all_steps if step.event.digest.removeprefix("sha256:").startswith(hex)]
    return begun or [step for step in all_steps if wanted.lower() in step.event.name.lower()]


async def open_shell(
    service: BuildService,
    ref: str,
    wanted: str,
    requester: Requester,
    emit: Emit,
    run: RunShell,
    *,
    after: bool,
    proxy: ProxyEnv | None = None,
) -> None:
    """Call `run` with a container in the state before (or `after`) a step. NotFoundError, ConflictError as `find`."""
    record = await asyncio.to_thread(service.history.get, ref)
    step = find(await asyncio.to_thread(steps, service, record.ref), wanted, record.failed_vertex)
    vertex = step.vertex
    if vertex is None:
        raise NotFoundError(
            f"step {step.number} ({step.event.name}) has no files to look at", hint="choose a RUN or COPY step"
        )

    async def solve(edge: Edge) -> Any:
        return await job.solve(await gate.pass_edge(edge))

    gate = SourceGate(Policies(daemon=service.source_policies), emit, clock=service.solver.clock)

    context = BuildContext(requester=requester, solve=solve, trust_host_ca=record.trust_host_ca, proxy=proxy)
    resolve = resolver(service.worker, context)
    job = service.solver.job(resolve, emit)
    try:
        if isinstance(vertex.op, ExecOp) and not after:
            inputs = [await _result(service, record, solve, edge) for edge in vertex.inputs]
            op = _without_secrets(vertex.op, emit)
            await ExecStep(vertex, op, service.worker, context).shell(inputs, run)
            return
        edge = Edge(vertex) if after else _found(vertex)
        result = await _result(service, record, solve, edge)
        await _in_tree(service.worker.layers, result, _surroundings(edge.vertex), run)
    finally:
        await job.close()


def _without_secrets(op: ExecOp, emit: Emit) -> ExecOp:
    """What only the build's client could give is left out, with a word about it."""
    for mount in op.mounts:
        if mount.secret or mount.ssh:
            what = f"the secret {mount.secret.id!r}" if mount.secret else "the SSH agent"
            emit(WarningEvent(short=f"{what} was the build's only: {mount.dest} is missing in this shell"))
    for wanted in op.secret_env:
        emit(
            WarningEvent(short=f"the secret {wanted.id!r} was the build's only: {wanted.name} is not set in this shell")
        )
    for device in op.cdi_devices:
        emit(WarningEvent(short=f"the device {device.name} was the build's only: this shell goes without it"))
    return replace(op, mounts=tuple(mount for mount in op.mounts if not (mount.secret or mount.ssh)), secret_env=())


def _found(vertex: Vertex) -> Edge:
    """The files that a step other than RUN starts from. A source starts from nothing: what it brings is shown."""
    if isinstance(vertex.op, FileOp) and 0 <= vertex.op.actions[0].input < len(vertex.inputs):
        return vertex.inputs[vertex.op.actions[0].input]
    if isinstance(vertex.op, MergeOp) and vertex.inputs:
        return vertex.inputs[0]
    return Edge(vertex)


def _surroundings(vertex: Vertex) -> ContainerSpec:
    """Environment, directory and user of the last RUN that led to these files; what every step has where there is
    none. The root directory is to be filled in."""
    while not isinstance(vertex.op, ExecOp):
        if isinstance(vertex.op, SourceOp) or _found(vertex).vertex is vertex:
            return ContainerSpec(root=Path("/"), args=SHELL, env=(DEFAULT_PATH,))
        vertex = _found(vertex).vertex
    meta = vertex.op.meta
    path = () if any(entry.startswith("PATH=") for entry in meta.env) else (DEFAULT_PATH,)
    return ContainerSpec(root=Path("/"), args=SHELL, env=(*meta.env, *path), cwd=meta.cwd or "/", user=meta.user)


async def _result(
    service: BuildService, record: BuildRecord, solve: Callable[[Edge], Awaitable[Any]], edge: Edge
) -> Result:
    ids = record.results.get(edge.vertex.digest, [])
    if edge.index < len(ids):
        try:
            result: Result = await service.solver.results.load(ids[edge.index])
            return result
        except (NotFoundError, IntegrityError):
            pass  # pruned since: it is built again
    return await solve(edge)  # type: ignore[no-any-return]


async def _in_tree(layers: LayerStore, result: Result, spec: ContainerSpec, run: RunShell) -> None:
    """A container on the files of a result, with nothing else; its changes are thrown away."""
    chain = await result.chain()
    mounted = ExitStack()

    def mount() -> Path:
        active = layers.snapshotter.prepare()
        mounted.callback(layers.snapshotter.remove, active)
        return mounted.enter_context(layers.mount(chain, active=active))

    try:
        await run(replace(spec, root=await run_settled(mount)))
    finally:
        await run_settled(mounted.close)


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
