from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.solver.cache import MemoryRecords
from boatyard.build.solver.scheduler import Job, Solver
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.errors import IntegrityError, InvalidError, SolveError, UnavailableError
from boatyard.progress import Event, ExplainEvent, LogEvent, StatusEvent, VertexEvent
from unit.build.solver.graphs import CountingOp, Edge, MemoryResults, Node, Shop, node


class World:
    """A solver with its records and results, and a shop that counts."""

    def __init__(self, parallelism: int = 0) -> None:
        self.records = MemoryRecords()
        self.results = MemoryResults()
        self.solver = Solver(self.records, self.results, parallelism=parallelism)
        self.shop = Shop()
        self.events: list[Event] = []

    def job(self, group: str = "") -> Job:
        return self.solver.job(self.shop.resolve, self.events.append, group=group)

    async def build(self, root: Node, group: str = "") -> str:
        self.events.clear()
        self.shop.executed.clear()
        job = self.job(group)
        try:
            result: str = await job.solve(Edge(root))
            job.finish()
            return result
        finally:
            await job.close()

    def last_event(self, name: str) -> VertexEvent:
        return [event for event in self.events if isinstance(event, VertexEvent) and event.name == name][-1]

    def reasons(self, name: str) -> tuple[str, ...]:
        return [event for event in self.events if isinstance(event, ExplainEvent) and event.name == name][-1].reasons


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    assert not world.solver._running
    assert not world.solver._jobs


async def test_executes_inputs_before_what_needs_them(world: World) -> None:
    base = node("base")
    assert await world.build(node("top", node("left", base), node("right", base))) == "top(left(base()),right(base()))"
    assert sorted(world.shop.executed) == ["base", "left", "right", "top"]


async def test_finds_an_unchanged_graph_without_executing_anything(world: World) -> None:
    root = node("top", node("base"))
    await world.build(root)
    assert await world.build(root) == "top(base())"
    assert world.shop.executed == []
    assert world.last_event("top").cached


async def test_executes_only_what_is_above_a_change(world: World) -> None:
    await world.build(node("top", node("a"), node("b")))
    await world.build(node("top", node("a"), node("b2")))
    assert sorted(world.shop.executed) == ["b2", "top"]


async def test_equal_contents_are_found_although_what_made_them_differs(world: World) -> None:
    first = node("build v1", makes=lambda _: "same bytes")
    second = node("build v2", makes=lambda _: "same bytes")
    await world.build(node("test", node("copy", first, reads_content=True)))
    await world.build(node("test", node("copy", second, reads_content=True)))
    assert world.shop.executed == ["build v2"]


async def test_a_source_without_key_is_found_by_content_above_it(world: World) -> None:
    context = node("context", cacheable=False, makes=lambda _: "files")
    root = node("run", node("copy", context, reads_content=True))
    await world.build(root)
    await world.build(root)
    assert world.shop.executed == ["context"]


async def test_tells_cached_and_skipped_steps_apart(world: World) -> None:
    kept, lost = node("kept"), node("lost")
    root = node("top", kept, lost)
    await world.build(root)
    for record in list(world.records.walk()):
        if record.name == "lost":
            world.records.drop(record.id)
    await world.build(root)
    assert world.shop.executed == []
    assert world.last_event("kept").cached
    assert world.last_event("lost").skipped and not world.last_event("lost").cached


async def test_a_lost_result_is_made_again_instead_of_failing(world: World) -> None:
    base = node("base")
    await world.build(node("one", base))
    world.results.kept.clear()
    assert await world.build(node("two", base)) == "two(base())"
    assert world.shop.executed == ["base", "two"]
    await world.build(node("three", base))
    assert world.shop.executed == ["three"]


async def test_an_input_found_damaged_while_executing_is_made_again_once(world: World) -> None:
    damaged = True

    async def check(step: StepContext) -> None:
        nonlocal damaged
        if damaged:
            damaged = False
            raise IntegrityError("blob sha256:aa is damaged")

    base = node("base")
    await world.build(base)
    assert await world.build(node("reader", base, before=check)) == "reader(base())"
    assert world.shop.executed == ["base", "reader"]


async def test_steps_that_must_not_use_the_cache_run_and_so_does_what_is_above(world: World) -> None:
    await world.build(node("top", node("base")))
    await world.build(node("top", node("base", ignore_cache=True)))
    assert world.shop.executed == ["base", "top"]
    await world.build(node("top", node("base")))
    assert world.shop.executed == []


async def test_builds_of_one_group_run_what_must_not_be_cached_once(world: World) -> None:
    await world.build(node("top", node("base")))
    anew = node("top", node("base", ignore_cache=True))
    assert await world.build(anew, group="g1") == "top(base())"
    assert world.shop.executed == ["base", "top"]
    await world.build(anew, group="g1")
    assert world.shop.executed == []
    await world.build(anew, group="g2")
    assert world.shop.executed == ["base", "top"]


async def test_builds_of_one_group_wait_for_each_other_even_without_the_cache(world: World) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def wait(step: StepContext) -> None:
        begun.set()
        await gate.wait()

    jobs = [world.job(group="g") for _ in range(3)]
    solves = [asyncio.create_task(job.solve(Edge(node("slow", ignore_cache=True, before=wait)))) for job in jobs]
    await begun.wait()
    gate.set()
    assert await asyncio.gather(*solves) == ["slow()"] * 3
    assert world.shop.executed == ["slow"]
    for job in jobs:
        await job.close()


async def test_equal_steps_of_concurrent_builds_run_once(world: World) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def wait(step: StepContext) -> None:
        step.log(b"working\n")
        begun.set()
        await gate.wait()

    jobs = [world.job() for _ in range(5)]
    solves = [asyncio.create_task(job.solve(Edge(node("slow", before=wait)))) for job in jobs]
    await begun.wait()
    gate.set()
    assert await asyncio.gather(*solves) == ["slow()"] * 5
    assert world.shop.executed == ["slow"]
    logs = [event for event in world.events if isinstance(event, LogEvent)]
    assert len(logs) == 5
    for job in jobs:
        await job.close()


async def test_a_shared_step_survives_the_build_that_began_it(world: World) -> None:
    gate = asyncio.Event()
    begun = asyncio.Event()

    async def wait(step: StepContext) -> None:
        begun.set()
        await gate.wait()

    first, second = world.job(), world.job()
    one = asyncio.create_task(first.solve(Edge(node("slow", before=wait))))
    await begun.wait()
    two = asyncio.create_task(second.solve(Edge(node("slow", before=wait))))
    await asyncio.sleep(0.01)
    one.cancel()
    await first.close()
    gate.set()
    assert await two == "slow()"
    assert world.shop.cancelled == []
    await second.close()


async def test_a_build_takes_over_a_step_whose_first_build_took_its_secrets_along(world: World) -> None:
    begun = asyncio.Event()
    gone = asyncio.Event()

    async def first_try(step: StepContext) -> None:
        begun.set()
        await gone.wait()
        raise UnavailableError("the client went away")

    first, second = world.job(), world.job()
    one = asyncio.create_task(first.solve(Edge(node("step", before=first_try))))
    await begun.wait()
    two = asyncio.create_task(second.solve(Edge(node("step"))))
    await asyncio.sleep(0.01)
    one.cancel()
    await first.close()
    gone.set()
    assert await two == "step()"
    await second.close()


async def test_a_step_nobody_wants_any_more_is_cancelled(world: World) -> None:
    begun = asyncio.Event()

    async def forever(step: StepContext) -> None:
        begun.set()
        await asyncio.Event().wait()

    job = world.job()
    solve = asyncio.create_task(job.solve(Edge(node("slow", before=forever))))
    await begun.wait()
    solve.cancel()
    await job.close()
    assert world.shop.cancelled == ["slow"]
    assert world.last_event("slow").error == "canceled"


async def test_a_failure_names_the_step_and_is_not_recorded(world: World) -> None:
    async def fail(step: StepContext) -> None:
        raise InvalidError("no such thing", hint="try another")

    with pytest.raises(SolveError, match=r"bad: no such thing") as caught:
        await world.build(node("top", node("bad", before=fail), node("good")))
    assert caught.value.vertex_name == "bad"
    assert caught.value.hint == "try another"
    assert isinstance(caught.value.__cause__, InvalidError)
    assert world.last_event("bad").error == "no such thing"
    assert {record.name for record in world.records.walk()} <= {"good"}


async def test_parallelism_is_bounded() -> None:
    world = World(parallelism=2)

    async def pause(step: StepContext) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    await world.build(node("top", *(node(f"leaf {i}", before=pause) for i in range(10))))
    assert world.shop.most_running == 2


async def test_a_graph_of_two_thousand_steps_in_a_row_is_solved(world: World) -> None:
    step = node("step 0", makes=lambda _: "x")
    for i in range(1, 2000):
        digest = step.digest
        step = node(f"step {i} {digest[:8]}", _Fixed(step, digest), makes=lambda _: "x")
    await world.build(_Fixed(step, step.digest))
    assert len(world.shop.executed) == 2000


class _Fixed(Node):
    """A node whose digest was computed already: the one in `Node` walks all the way down."""

    def __new__(cls, of: Node, digest: str) -> _Fixed:
        return object.__new__(cls)

    def __init__(self, of: Node, digest: str) -> None:
        super().__init__(of.text, of.inputs, makes=of.makes)
        object.__setattr__(self, "_digest", digest)

    @property
    def digest(self) -> str:
        return self._digest  # type: ignore[attr-defined, no-any-return]


async def test_explains_a_miss_by_the_part_of_the_key_that_differs(world: World) -> None:
    solver = world.solver
    job = solver.job(world.shop.resolve, world.events.append, slot_of=lambda vertex: "place", explain_files=True)
    await job.solve(Edge(node("echo one")))
    await job.close()
    job = solver.job(world.shop.resolve, world.events.append, slot_of=lambda vertex: "place", explain_files=True)
    await job.solve(Edge(node("echo two")))
    await job.close()
    assert world.reasons("echo one") == ("it was never built before here",)
    assert world.reasons("echo two") == ("text changed: echo one → echo two",)


async def test_explains_a_miss_by_the_files_that_changed(world: World) -> None:
    for text in ("a", "b"):
        context = node("context", cacheable=False, makes=lambda _, text=text: text)
        job = world.solver.job(world.shop.resolve, world.events.append, explain_files=True)
        await job.solve(Edge(node("copy", context, reads_content=True)))
        await job.close()
        await world.solver.settled()
    assert "file /file changed" in world.reasons("copy")


@st.composite
def graphs(draw: st.DrawFn) -> Node:
    nodes: list[Node] = []
    for i in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.sampled_from(nodes), max_size=3)) if nodes else []
        nodes.append(node(f"n{draw(st.integers(0, 20))}-{i}", *inputs, reads_content=draw(st.booleans())))
    return nodes[-1]


def naive(root: Node) -> str:
    return f"{root.text}({','.join(naive(edge.vertex) for edge in root.inputs)})"


@given(st.lists(graphs(), min_size=1, max_size=4), st.sets(st.integers(0, 30)))
@settings(max_examples=150, deadline=None)
def test_results_equal_those_of_a_naive_solver_whatever_was_lost(roots: Sequence[Node], lost: set[int]) -> None:
    async def run() -> None:
        world = World(parallelism=2)
        for root in roots:
            assert await world.build(root) == naive(root)
            assert len(world.shop.executed) == len(set(world.shop.executed))
            for number, id in enumerate(sorted(world.results.kept)):
                if number in lost:
                    del world.results.kept[id]
        assert not world.solver._running

    asyncio.run(run())


async def test_what_an_op_tells_while_it_is_looked_up_comes_after_its_name(world: World) -> None:
    class Chatty(CountingOp):
        async def cache_map(self, step: StepContext) -> CacheMap:
            step.status("asking the server")
            return await super().cache_map(step)

    job = world.solver.job(lambda vertex: Chatty(vertex, world.shop), world.events.append)  # type: ignore[arg-type]
    await job.solve(Edge(node("source")))
    await job.close()
    kinds = [type(event) for event in world.events if isinstance(event, VertexEvent | StatusEvent)]
    assert kinds[:2] == [VertexEvent, StatusEvent]


async def test_what_is_cached_is_told_of_in_the_order_in_which_it_would_run(world: World) -> None:
    base = node("base")
    left, right = node("left", base), node("right", base)
    await world.build(node("top", left, right))
    await world.build(node("other", left, node("new", right)))
    told = [event.name for event in world.events if isinstance(event, VertexEvent) and event.cached]
    assert told in (["base", "left", "right"], ["base", "right", "left"])
