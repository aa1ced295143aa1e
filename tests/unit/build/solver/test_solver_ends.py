"""How jobs and executions end: shared steps, late events, failures that belong to one build only."""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from collections.abc import Callable, Sequence

import pytest

from boatyard.build.solver.cache import MemoryRecords
from boatyard.build.solver.scheduler import Job, Solver
from boatyard.build.solver.step import MOST_BACKLOG, SharedStep
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.errors import NotFoundError, SolveError, UnavailableError
from boatyard.progress import Event, LogEvent, VertexEvent
from unit.build.solver.graphs import Edge, MemoryResults, Node, Shop, node


class Bench:
    """A solver, and jobs whose events are kept apart."""

    def __init__(self) -> None:
        self.solver = Solver(MemoryRecords(), MemoryResults())
        self.shop = Shop()

    def job(self, emit: Callable[[Event], None] = lambda event: None) -> Job:
        return self.solver.job(self.shop.resolve, emit)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class Gate:
    """A step that says when it has begun, and waits until it may go on."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, step: StepContext) -> None:
        self.begun.set()
        await self.open.wait()
        step.log(b"done\n")


async def joined(bench: Bench, listeners: int) -> None:
    """Wait until as many jobs listen to the one execution."""
    (execution,) = bench.solver._running.values()
    while len(execution.step._listeners) < listeners:  # noqa: ASYNC110 -- joining makes no noise
        await asyncio.sleep(0)


async def test_a_closed_build_hears_nothing_of_a_step_that_goes_on_for_another(bench: Bench) -> None:
    closed = False

    def strict(event: Event) -> None:
        assert not closed, event

    gate = Gate()
    heard: list[Event] = []
    first, second = bench.job(strict), bench.job(heard.append)
    one = asyncio.create_task(first.solve(Edge(node("slow", before=gate))))
    await gate.begun.wait()
    two = asyncio.create_task(second.solve(Edge(node("slow"))))
    await joined(bench, 2)
    one.cancel()
    await first.close()
    closed = True
    gate.open.set()
    assert await two == "slow()"
    assert [event.data for event in heard if isinstance(event, LogEvent)] == ["done\n"]
    await second.close()


@pytest.mark.parametrize("error", [NotFoundError("no secret given"), UnavailableError("no network")])
async def test_what_one_build_could_not_give_another_may(bench: Bench, error: Exception) -> None:
    gate = Gate()

    async def fails(step: StepContext) -> None:
        await gate(step)
        raise error

    first, second = bench.job(), bench.job()
    one = asyncio.create_task(first.solve(Edge(node("step", before=fails))))
    await gate.begun.wait()
    two = asyncio.create_task(second.solve(Edge(node("step"))))
    await joined(bench, 2)
    gate.open.set()
    assert await two == "step()"
    with pytest.raises(SolveError):
        await one
    await first.close()
    await second.close()


async def test_a_build_that_is_cancelled_again_while_it_ends_still_ends(bench: Bench) -> None:
    leaving, go = asyncio.Event(), asyncio.Event()

    async def slow_to_leave(step: StepContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await go.wait()

    job = bench.job()
    solve = asyncio.create_task(job.solve(Edge(node("step", before=slow_to_leave))))
    await asyncio.sleep(0.01)
    solve.cancel()
    closing = asyncio.create_task(job.close())
    await leaving.wait()
    closing.cancel()
    await asyncio.sleep(0)
    assert not closing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert bench.shop.cancelled == ["step"]
    assert not bench.solver._jobs and not bench.solver._running


async def test_nothing_begins_once_a_build_has_ended(bench: Bench) -> None:
    job = bench.job()
    await job.close()
    with pytest.raises(asyncio.CancelledError):
        await job.solve(Edge(node("late")))
    assert bench.shop.executed == []


async def test_a_build_that_is_cancelled_at_once_leaves_no_coroutine_unawaited(bench: Bench) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        job = bench.job()
        solve = asyncio.create_task(job.solve(Edge(node("top", node("a"), node("b")))))
        for _ in range(3):
            await asyncio.sleep(0)
        solve.cancel()
        await job.close()
        gc.collect()


async def test_a_step_beside_a_failed_one_is_told_of_its_end(bench: Bench) -> None:
    events: list[Event] = []
    gate = Gate()

    async def fails(step: StepContext) -> None:
        await gate.begun.wait()
        raise NotFoundError("nothing there")

    job = bench.job(events.append)
    with pytest.raises(SolveError):
        await job.solve(Edge(node("top", node("bad", before=fails), node("beside", before=gate))))
    await job.close()
    last = {event.name: event for event in events if isinstance(event, VertexEvent)}
    assert last["beside"].error == "canceled" and last["beside"].completed is not None
    assert last["bad"].error == "nothing there" and last["bad"].completed is not None


async def test_a_result_that_several_find_lost_is_made_once(bench: Bench) -> None:
    results = bench.solver.results
    assert isinstance(results, MemoryResults)
    base = node("base")
    job = bench.job()
    await job.solve(Edge(base))
    await job.close()
    results.kept.clear()
    bench.shop.executed.clear()
    job = bench.job()
    readers = [node(f"reader {number}", base, reads_content=True) for number in range(5)]
    await asyncio.gather(*(job.solve(Edge(reader)) for reader in readers))
    await job.close()
    assert bench.shop.executed.count("base") == 1


async def test_a_failure_at_the_bottom_of_a_deep_graph_arrives_at_the_top(bench: Bench) -> None:
    async def fails(step: StepContext) -> None:
        raise NotFoundError("nothing there")

    step: Node = node("bottom", before=fails)
    for number in range(3000):
        step = Flat(f"step {number}", step)
    job = bench.job()
    with pytest.raises(SolveError, match="bottom: nothing there"):
        await job.solve(Edge(step))
    await job.close()


class Flat(Node):
    """A node whose digest is its name's, so that computing it doesn't walk down the graph."""

    def __new__(cls, text: str, below: Node) -> Flat:
        return object.__new__(cls)

    def __init__(self, text: str, below: Node) -> None:
        super().__init__(text, (Edge(below),))

    @property
    def digest(self) -> str:
        return self.text


def test_what_was_kept_for_late_jobs_goes_with_the_execution() -> None:
    heard: list[Event] = []
    step = SharedStep(lambda: 0.0)
    step.log(b"early\n")
    step.join("v", heard.append)
    assert len(heard) == 1
    step.end()
    step.join("w", heard.append)
    assert len(heard) == 1


def test_many_small_pieces_of_log_count_for_what_they_take() -> None:
    heard: list[Event] = []
    step = SharedStep(lambda: 0.0)
    for _ in range(MOST_BACKLOG // 100):
        step.log(b".")
    step.join("v", heard.append)
    assert len(heard) < MOST_BACKLOG // 200
    assert isinstance(heard[-1], LogEvent) and "not repeated" in heard[-1].data


class Made:
    """A result that can be watched."""


async def test_what_a_build_made_is_let_go_when_it_ends(bench: Bench) -> None:
    class Making:
        async def cache_map(self, step: StepContext) -> CacheMap:
            return CacheMap(digest="made", cacheable=False)

        async def execute(self, step: StepContext, inputs: Sequence[Made]) -> Sequence[Made]:
            made = Made()
            watched.append(weakref.ref(made))
            return [made]

    watched: list[weakref.ref[Made]] = []
    gc.disable()
    try:
        job = bench.solver.job(lambda vertex: Making(), lambda event: None)
        result = await job.solve(Edge(node("top", node("base"))))
        await job.close()
        del result, job
        await asyncio.sleep(0)
        assert len(watched) == 2
        assert [made() for made in watched] == [None, None]
    finally:
        gc.enable()
