"""The solver: runs what has to be run, once, and finds the rest in the cache.

A `Solver` lives as long as the daemon. A `Job` is one build's view of it: it visits the vertices of the build's graph,
each in a task of its own. Executions belong to the solver, under the cache key of what they make, so that builds which
want the same thing wait for one execution; it is cancelled when nobody waits any more.

How a vertex is solved: `Job._solve`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from boatyard.build.solver import explain, keys
from boatyard.build.solver.cache import Record, Records
from boatyard.build.solver.step import SharedStep
from boatyard.build.solver.types import CacheMap, ContentKey, Edge, Op, OpResolver, Result, ResultStore, Vertex
from boatyard.errors import (
    BoatyardError,
    BuildError,
    IntegrityError,
    LostLayerError,
    NotFoundError,
    SolveError,
    UnavailableError,
)
from boatyard.progress import Emit, Event, ExplainEvent, VertexEvent

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOT_RECORDS = 8
"""So many earlier records of a place are looked at to explain a miss."""


@dataclass(slots=True)
class Outcome:
    """A solved vertex. `key` "" means that it can't be told apart by a key; `loaded` holds outputs that are in
    memory."""

    key: str
    record: Record | None
    loaded: dict[int, Result]


@dataclass(frozen=True, slots=True)
class Probe:
    """What can be known of a vertex before anything is executed."""

    key: str
    record: Record | None


NOTHING_KNOWN = Probe("", None)


class Execution:
    """One running op, shared by the jobs that wait for it. Owned by the solver."""

    def __init__(self, solver: Solver, key: str, owner: Job, step: SharedStep) -> None:
        self.key = key
        self.owner = owner
        self.step = step
        self._solver = solver
        self._waiters = 0
        self._task: asyncio.Task[Outcome]

    def start(self, work: Callable[[], Awaitable[Outcome]]) -> None:
        async def run() -> Outcome:
            try:
                return await work()
            finally:
                self.step.end()
                self._solver.forget(self)

        self._task = asyncio.create_task(run())

    async def wait(self) -> Outcome:
        """Its outcome. When the last waiter is cancelled, so is the op, and it has ended before this returns."""
        self._waiters += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiters -= 1
            if not self._waiters and not self._task.done():
                self._solver.forget(self)
                self._task.cancel()
                await asyncio.wait([self._task])


class Solver:
    """One per daemon. `parallelism` bounds the ops that execute at the same time (0: no bound)."""

    def __init__(
        self,
        records: Records,
        results: ResultStore,
        *,
        parallelism: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.records = records
        self.results = results
        self.clock = clock
        self.slots = asyncio.Semaphore(parallelism) if parallelism else None
        self._running: dict[str, Execution] = {}
        self._jobs: set[Job] = set()
        self._background: set[asyncio.Task[None]] = set()

    def job(
        self,
        resolve: OpResolver,
        emit: Emit,
        *,
        slot_of: Callable[[Vertex], str] = lambda vertex: vertex.name,
        explain_files: bool = False,
        made: Callable[[Vertex, Sequence[Result]], None] = lambda vertex, outputs: None,
        group: str = "",
        elsewhere: Callable[[str], Record | None] = lambda key: None,
    ) -> Job:
        """A build's view. Close it when the build ends, however it ends. `made` is called with what was executed for
        it. Jobs of one `group` execute what must not come from the cache once, all together. `elsewhere` brings records
        from other caches, by their keys."""
        job = Job(self, resolve, emit, slot_of, explain_files, made, group, elsewhere)
        self._jobs.add(job)
        return job

    def running(self, key: str) -> Execution | None:
        return self._running.get(key)

    def execute(self, key: str, owner: Job, step: SharedStep, work: Callable[[], Awaitable[Outcome]]) -> Execution:
        """Start an execution; with a key, others can join it."""
        execution = Execution(self, key, owner, step)
        if key:
            self._running[key] = execution
        execution.start(work)
        return execution

    def forget(self, execution: Execution) -> None:
        if self._running.get(execution.key) is execution:
            del self._running[execution.key]

    def keep_listings(self, record_id: str, listings: Mapping[int, Callable[[], Mapping[str, str]]]) -> None:
        """Keep the names and digests of the files that a step read, beside the build: nothing waits for them."""
        if listings:
            task = asyncio.create_task(self._keep_listings(record_id, listings))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _keep_listings(self, record_id: str, listings: Mapping[int, Callable[[], Mapping[str, str]]]) -> None:
        packed = await asyncio.to_thread(lambda: {i: explain.pack(files()) for i, files in listings.items()})
        self.records.keep_listings(record_id, packed)

    async def settled(self) -> None:
        """Wait for what is done beside the builds."""
        while self._background:
            await asyncio.wait(self._background)

    def closed(self, job: Job) -> None:
        self._jobs.discard(job)

    @property
    def busy(self) -> bool:
        """Whether there is a job that hasn't ended."""
        return bool(self._jobs)

    def live_results(self) -> Iterable[str]:
        """Ids of results that jobs hold: they must not be collected. May be called from any thread."""
        for job in list(self._jobs):
            yield from job.held_results()


@dataclass(slots=True, eq=False)
class _Visit:
    """What a job knows of one vertex."""

    vertex: Vertex
    op: Op
    step: SharedStep
    relay: Emit | None = None
    """What the job hears the step by. A cycle: taken apart when the job ends."""
    map: asyncio.Task[CacheMap] | None = None
    probe: asyncio.Task[Probe] | None = None
    probed: Probe | None = None
    task: asyncio.Task[Outcome] | None = None
    outcome: Outcome | None = None
    told: bool = False
    started: float | None = None
    done: bool = False
    inputs: list[_Visit] = field(default_factory=list)


def _known_below(top: _Visit) -> list[_Visit]:
    """The visits below that are in the cache and were not told of, inputs first: progress shows them in the order in
    which they would have run, and before what makes them needless."""
    found: list[_Visit] = []
    seen = {top.vertex.digest}
    stack = [(top, False)]
    while stack:
        visit, expanded = stack.pop()
        if expanded:
            if visit is not top and visit.probed and visit.probed.record:
                found.append(visit)
            continue
        stack.append((visit, True))
        for below in reversed(visit.inputs):
            if not below.done and below.vertex.digest not in seen:
                seen.add(below.vertex.digest)
                stack.append((below, False))
    return found


class Job:
    """One build. `emit` gets its progress events. Not to be used after `close`."""

    def __init__(
        self,
        solver: Solver,
        resolve: OpResolver,
        emit: Emit,
        slot_of: Callable[[Vertex], str],
        explain_files: bool,
        made: Callable[[Vertex, Sequence[Result]], None],
        group: str = "",
        elsewhere: Callable[[str], Record | None] = lambda key: None,
    ) -> None:
        self.ended = False
        self._elsewhere = elsewhere
        self._group = group
        self._made = made
        self._solver = solver
        self._resolve = resolve
        self._receiver: Emit | None = emit
        self._slot_of = slot_of
        self._explain_files = explain_files
        self._visits: dict[str, _Visit] = {}
        self._recorded: dict[str, tuple[str, ...]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def solve(self, edge: Edge) -> Result:
        """The result of an edge, executing what has to be. Raises SolveError from whatever a vertex failed with."""
        return await self._load(self._visit(edge.vertex), edge.index)

    async def settle(self, edge: Edge) -> str:
        """Solve an edge without loading its result; its key, "" if it has none."""
        outcome = await self._solved(self._visit(edge.vertex))
        return keys.output_key(outcome.key, edge.index) if outcome.key else ""

    async def close(self) -> None:
        """Cancel what still runs for this job alone, and wait until it has ended, even when this is cancelled, too.
        Idempotent. Nothing is told of the job afterwards, not even by what goes on for others."""
        if not self.ended:
            self.ended = True
            for task in self._tasks:
                task.cancel()
        cancelled = False
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError:
                cancelled = True
        self._receiver = None
        used = {visit.outcome.record.id for visit in self._visits.values() if visit.outcome and visit.outcome.record}
        self._solver.closed(self)
        self._recorded = self.recorded()
        # Ops hold what the client lent, and results hold layers: without this they would live until the collector
        # comes.
        for visit in self._visits.values():
            if visit.relay:
                visit.step.leave(visit.vertex.digest, visit.relay)
                visit.relay = None
        self._visits.clear()
        if used:
            self._solver.records.touch(used, self._solver.clock())
        if cancelled:
            raise asyncio.CancelledError

    def finish(self) -> None:
        """Tell of the vertices that never had to be looked at: found in the cache, or skipped."""
        now = self._solver.clock()
        for visit in self._visits.values():
            if not visit.done:
                cached = visit.probed is not None and visit.probed.record is not None
                self._tell(visit, started=now, completed=now, cached=cached, skipped=not cached)
                visit.done = True

    def held_results(self) -> Iterable[str]:
        """May be called from any thread."""
        for visit in list(self._visits.values()):
            for known in (visit.outcome, visit.probed):
                if known and known.record:
                    yield from known.record.results

    def loaded(self) -> Iterable[tuple[Vertex, Result]]:
        """Every output that is in memory, with its vertex."""
        for visit in self._visits.values():
            if visit.outcome:
                for result in visit.outcome.loaded.values():
                    yield visit.vertex, result

    def op(self, vertex: Vertex) -> Op:
        """The op that does a vertex of this job."""
        return self._visit(vertex).op

    def recorded(self) -> dict[str, tuple[str, ...]]:
        """Vertex digest -> ids of its outputs in the result store, for every vertex that has a record. After `close`,
        too."""
        found = dict(self._recorded)
        for digest, visit in self._visits.items():
            record = (visit.outcome and visit.outcome.record) or (visit.probed and visit.probed.record)
            if record:
                found[digest] = record.results
        return found

    def records(self) -> dict[str, Record]:
        """By vertex digest: what was executed or found. Before `close`."""
        found = {}
        for digest, visit in self._visits.items():
            record = (visit.outcome and visit.outcome.record) or (visit.probed and visit.probed.record)
            if record:
                found[digest] = record
        return found

    @property
    def counts(self) -> tuple[int, int]:
        """(steps found in the cache, all steps)."""
        cached = sum(1 for visit in self._visits.values() if visit.probed and visit.probed.record)
        return cached, len(self._visits)

    # One vertex

    def _visit(self, root: Vertex) -> _Visit:
        """The visit of a vertex, and of all below it. Graphs are deep: no recursion."""
        stack = [root]
        while stack:
            vertex = stack[-1]
            if vertex.digest in self._visits:
                stack.pop()
                continue
            missing = [edge.vertex for edge in vertex.inputs if edge.vertex.digest not in self._visits]
            if missing:
                stack.extend(missing)
                continue
            step = SharedStep(self._solver.clock)
            visit = _Visit(vertex, self._resolve(vertex), step)
            visit.relay = partial(self._relay, visit)
            step.join(vertex.digest, visit.relay)
            visit.inputs = [self._visits[edge.vertex.digest] for edge in vertex.inputs]
            self._visits[vertex.digest] = visit
            stack.pop()
        return self._visits[root.digest]

    async def _solved(self, visit: _Visit) -> Outcome:
        while True:
            if visit.task is None:
                visit.task = self._spawn(lambda: self._guarded(visit, reuse=not visit.vertex.ignore_cache))
            task = visit.task
            outcome = await asyncio.shield(task)
            if visit.task is task:  # else it was undone while this one waited
                visit.outcome = outcome
                return outcome

    async def _solve(self, visit: _Visit, *, reuse: bool) -> Outcome:
        """Find the vertex by its definition key; else solve its inputs and find it by its content key; else execute
        it."""
        records = self._solver.records
        if reuse and (found := await self._probe(visit)).record:
            return self._hit(visit, found.record)
        self._announce(visit)
        outcomes = await asyncio.gather(*(self._solved(below) for below in visit.inputs))
        map = await self._map(visit)
        if not map.cacheable:
            return await self._execute(visit, map, _Keys())
        inputs = [
            keys.output_key(outcome.key, edge.index) if outcome.key else ""
            for outcome, edge in zip(outcomes, visit.vertex.inputs, strict=True)
        ]
        definition = keys.definition_key(map.digest, inputs) if all(inputs) else ""
        if reuse and definition and (record := self._lookup(definition)):
            return self._hit(visit, record)
        checksums = await self._checksums(visit, map)
        parts = [checksums[i].digest if i in checksums else key for i, key in enumerate(inputs)]
        content = keys.content_key(map.digest, parts) if checksums and all(parts) else ""
        if reuse and content and (record := self._lookup(content)):
            if definition:
                records.alias(definition, record.id)
            return self._hit(visit, record)
        return await self._execute(visit, map, _Keys(definition, content, tuple(inputs), checksums))

    def _lookup(self, key: str) -> Record | None:
        return self._solver.records.lookup(key) or self._elsewhere(key)

    async def _execute(self, visit: _Visit, map: CacheMap, found: _Keys) -> Outcome:
        forced = visit.vertex.ignore_cache
        canonical = found.content or found.definition
        once = keys.salted(canonical, self._group) if forced and self._group and canonical else ""
        if once and (record := self._solver.records.lookup(once)):
            return self._hit(visit, record)
        self._explain(visit, map, found)
        # A step that must not use the cache may make something else than the record it has there: what is above it must
        # not be found by the old key.
        if forced and not found.content:
            canonical = once or keys.salted(found.definition, os.urandom(16).hex())
        shared = once if forced else canonical
        while True:
            execution = self._solver.running(shared) if shared else None
            if execution is None:
                work = partial(self._run, visit, map, found, canonical, once)
                execution = self._solver.execute(shared, self, visit.step, work)
            else:
                execution.step.join(visit.vertex.digest, self._emit)
                self._tell(visit, started=self._solver.clock())
            try:
                return await execution.wait()
            except (UnavailableError, NotFoundError, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                cancelled = task is not None and task.cancelling() > 0
                if execution.owner is self or cancelled:
                    raise
                log.debug("taking over %s after %s", visit.vertex.name, error)
                if not execution.owner.ended:
                    # The build that began this could not give what it needs (a secret, say). This one may, and finds
                    # that out without waiting for others.
                    shared = ""
            finally:
                if execution.owner is not self:
                    execution.step.leave(visit.vertex.digest, self._emit)

    async def _run(self, visit: _Visit, map: CacheMap, found: _Keys, canonical: str, once: str) -> Outcome:
        """Execute the op and record it. `once`: the key under which its group finds it."""
        outputs, seconds, started = await self._perform(visit, map)
        self._made(visit.vertex, outputs)
        loaded = dict(enumerate(outputs))
        if not found.definition and not found.content:
            return Outcome("", None, loaded)
        ids = [await self._solver.results.save(result) for result in outputs]
        if not all(ids):
            return Outcome(canonical, None, loaded)
        record = Record(
            id=os.urandom(12).hex(),
            key=canonical,
            results=tuple(id for id in ids if id),
            name=visit.vertex.name,
            slot=self._slot_of(visit.vertex),
            created=started,
            used=started,
            seconds=seconds,
            components=found.components(map),
            inputs=found.inputs,
        )
        wanted = {key for key in (found.definition, found.content, canonical, once) if key}
        self._solver.records.store(record, sorted(wanted))
        self._solver.keep_listings(record.id, {i: key.files for i, key in found.checksums.items() if key.files})
        return Outcome(canonical, record, loaded)

    async def _perform(self, visit: _Visit, map: CacheMap) -> tuple[Sequence[Result], float, float]:
        """Execute; once more if an input that came from the cache turned out to be damaged."""
        for attempt in (1, 2):
            inputs = await self._inputs(visit)
            async with self._solver.slots if self._solver.slots and map.limited else nullcontext():
                started = self._solver.clock()
                self._tell(visit, started=started)
                try:
                    outputs = await visit.op.execute(visit.step, inputs)
                    return outputs, self._solver.clock() - started, started
                except (IntegrityError, LostLayerError) as error:
                    if attempt == 2 or not self._undo_inputs(visit):
                        raise
                    visit.step.warn("a cached result is damaged and is made again", str(error))
        raise AssertionError("unreachable")

    def _undo_inputs(self, visit: _Visit) -> bool:
        """Forget the cached results this vertex was given; whether there were any."""
        undone = False
        for below in visit.inputs:
            if below.outcome and below.probed and below.probed.record is below.outcome.record is not None:
                self._undo(below, below.outcome)
                undone = True
        return undone

    async def _inputs(self, visit: _Visit) -> list[Result]:
        pairs = zip(visit.inputs, visit.vertex.inputs, strict=True)
        return await asyncio.gather(*(self._load(below, edge.index) for below, edge in pairs))

    async def _load(self, visit: _Visit, index: int) -> Result:
        """An output in memory. A hit that can't be loaded any more is undone and executed."""
        while True:
            outcome = await self._solved(visit)
            if index in outcome.loaded:
                return outcome.loaded[index]
            if outcome.record is None or index >= len(outcome.record.results):
                raise IntegrityError(f"{visit.vertex.name} has no output {index}")
            try:
                outcome.loaded[index] = await self._solver.results.load(outcome.record.results[index])
            except (NotFoundError, IntegrityError) as error:
                log.info("the cached result of %s is gone: %s", visit.vertex.name, error)
                self._undo(visit, outcome)

    def _undo(self, visit: _Visit, outcome: Outcome) -> None:
        if visit.outcome is not outcome or outcome.record is None:
            return  # somebody else found out first
        self._solver.records.drop(outcome.record.id)
        visit.outcome = None
        visit.probed = None
        visit.done = False
        visit.task = self._spawn(lambda: self._guarded(visit, reuse=False))

    # What is known before anything runs

    async def _map(self, visit: _Visit) -> CacheMap:
        if visit.map is None:
            visit.map = self._spawn(lambda: visit.op.cache_map(visit.step))
        return await asyncio.shield(visit.map)

    async def _probe(self, visit: _Visit) -> Probe:
        if visit.probe is None:
            visit.probe = self._spawn(lambda: self._probing(visit))
        visit.probed = await asyncio.shield(visit.probe)
        return visit.probed

    async def _probing(self, visit: _Visit) -> Probe:
        if visit.vertex.ignore_cache:
            return NOTHING_KNOWN
        map = await self._map(visit)
        if not map.cacheable:
            return NOTHING_KNOWN
        below = await asyncio.gather(*(self._probe(each) for each in visit.inputs))
        if not all(probe.key for probe in below):
            return NOTHING_KNOWN
        edges = zip(below, visit.vertex.inputs, strict=True)
        definition = keys.definition_key(map.digest, [keys.output_key(probe.key, edge.index) for probe, edge in edges])
        if record := self._lookup(definition):
            visit.probed = Probe(record.key, record)  # at once, so that it is held before anybody looks what isn't
            return visit.probed
        # Without files to look at, the definition key is all there is to know: steps above may have records still.
        return NOTHING_KNOWN if any(map.contents) else Probe(definition, None)

    async def _checksums(self, visit: _Visit, map: CacheMap) -> dict[int, ContentKey]:
        async def checksum(index: int, content: Callable[[Result], Awaitable[ContentKey]]) -> ContentKey:
            return await content(await self._load(visit.inputs[index], visit.vertex.inputs[index].index))

        wanted = {index: content for index, content in enumerate(map.contents) if content is not None}
        found = await asyncio.gather(*(checksum(index, content) for index, content in wanted.items()))
        return dict(zip(wanted, found, strict=True))

    # What is told

    async def _guarded(self, visit: _Visit, *, reuse: bool) -> Outcome:
        """Solve a vertex; tell how that ended, and say in its error which one it was."""
        try:
            outcome = await self._solve(visit, reuse=reuse)
        except SolveError as error:
            if error.vertex == visit.vertex.digest:
                self._failed(visit, error)
            raise
        except asyncio.CancelledError:
            if not visit.done and visit.told:
                self._failed(visit, "canceled")
            raise
        except Exception as error:
            if not isinstance(error, BoatyardError):
                log.exception("step %s failed unexpectedly", visit.vertex.name)
            message = str(error) or type(error).__name__
            self._failed(visit, message)
            raise SolveError(
                f"{visit.vertex.name}: {message}" if visit.vertex.name else message,
                vertex=visit.vertex.digest,
                vertex_name=visit.vertex.name,
                hint=getattr(error, "hint", None),
                source=error.source if isinstance(error, BuildError) else None,
            ) from error
        if not visit.done:
            visit.done = True
            self._tell(visit, completed=self._solver.clock())
        return outcome

    def _hit(self, visit: _Visit, record: Record) -> Outcome:
        visit.probed = Probe(record.key, record)
        now = self._solver.clock()
        for each in (*_known_below(visit), visit):
            each.done = True
            self._tell(each, started=now, completed=now, cached=True)
        return Outcome(record.key, record, {})

    def _failed(self, visit: _Visit, error: object) -> None:
        visit.done = True
        self._tell(visit, completed=self._solver.clock(), error=str(error))

    def _emit(self, event: Event) -> None:
        if self._receiver is not None:
            self._receiver(event)

    def _relay(self, visit: _Visit, event: Event) -> None:
        """Pass on what an op says. It may say something while it is looked up, before anything was told of it."""
        self._announce(visit)
        self._emit(event)

    def _announce(self, visit: _Visit) -> None:
        if not visit.told:
            self._tell(visit)

    def _tell(
        self,
        visit: _Visit,
        *,
        started: float | None = None,
        completed: float | None = None,
        cached: bool = False,
        skipped: bool = False,
        error: str = "",
    ) -> None:
        visit.told = True
        visit.started = started if started is not None else visit.started
        group = visit.vertex.group
        self._emit(
            VertexEvent(
                digest=visit.vertex.digest,
                name=visit.vertex.name,
                inputs=tuple(edge.vertex.digest for edge in visit.vertex.inputs),
                started=visit.started,
                completed=completed,
                cached=cached,
                skipped=skipped,
                error=error,
                group=group.name if group else "",
                group_id=group.id if group else "",
                group_weak=group is not None and group.weak,
            )
        )

    def _explain(self, visit: _Visit, map: CacheMap, found: _Keys) -> None:
        if not found.definition and not found.content:
            return
        records = self._solver.records
        earlier = explain.nearest(found.components(map), records.in_slot(self._slot_of(visit.vertex), SLOT_RECORDS))
        if visit.vertex.ignore_cache:
            reasons = ["the request says not to use the cache for it"]
        elif earlier is None:
            reasons = ["it was never built before here"]
        else:
            reasons = explain.changes(map.components, earlier) + self._changed_inputs(visit, found, earlier)
        if not reasons:
            reasons = ["its cached result was removed or damaged"]
        self._emit(ExplainEvent(vertex=visit.vertex.digest, name=visit.vertex.name, reasons=tuple(reasons)))

    def _changed_inputs(self, visit: _Visit, found: _Keys, earlier: Record) -> list[str]:
        """Which inputs are others than an earlier record's: by the files that were read of them, or by the step they
        are of."""
        lines: list[str] = []
        listings = self._solver.records.listings(earlier.id) if self._explain_files else {}
        for index, (name, value) in enumerate(found.inputs_by_name()):
            before = earlier.components.get(name)
            if before == value:
                continue
            step = visit.inputs[index].vertex.name or "an input"
            checksum = found.checksums.get(index)
            if before is None:
                lines.append(f"it reads from {step}, which it did not before")
            elif checksum is None:
                lines.append(f"what it builds on is another: {step}")
            elif index in listings and checksum.files:
                # Through pack and unpack, so that both sides have their digests cut the same way.
                now = explain.unpack(explain.pack(checksum.files()))
                lines += explain.file_changes(explain.unpack(listings[index]), now)
            else:
                lines.append(f"files it reads of {step} changed")
        return lines

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """A task that ends with the job at the latest: CancelledError once that has ended."""
        if self.ended:
            raise asyncio.CancelledError
        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._ended_task)
        return task

    def _ended_task(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it reaches whoever waits; a task nobody waits for any more must not complain


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys a vertex was looked for under, and not found."""

    definition: str = ""
    content: str = ""
    inputs: tuple[str, ...] = ()
    checksums: Mapping[int, ContentKey] = field(default_factory=dict)

    def components(self, map: CacheMap) -> dict[str, str]:
        """The readable parts of the key: the op's own, and one for each input."""
        return {**map.components, **dict(self.inputs_by_name())}

    def inputs_by_name(self) -> list[tuple[str, str]]:
        """For each input, what stands for it in the key, under a name that says which kind that is."""
        return [
            (f"{explain.INPUT}{i}, files", self.checksums[i].digest)
            if i in self.checksums
            else (f"{explain.INPUT}{i}", key)
            for i, key in enumerate(self.inputs)
        ]
