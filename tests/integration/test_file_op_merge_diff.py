"""Merging and diffing: chains put together and taken apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard.build.llb.graph import DiffOp, FileAction, FileOp, MergeOp, MkFile, Rm
from boatyard.build.ops.diff import DiffStep, difference
from boatyard.build.ops.merge import MergeStep, merged
from boatyard.build.result import LayersResult, Result
from boatyard.image.interruption import Stop
from boatyard.image.layer.chain import LayerId
from fixtures.filework import Dir, File, Link, Spec, Workshop

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


async def merge(workshop: Workshop, *inputs: Result) -> LayersResult:
    step = MergeStep(MergeOp(tuple(range(len(inputs)))), workshop.store)
    (result,) = await step.execute(workshop.told, inputs)
    assert isinstance(result, LayersResult)
    return result


async def diff(workshop: Workshop, lower: Result, upper: Result) -> LayersResult:
    step = DiffStep(DiffOp(0, 1), workshop.store)
    (result,) = await step.execute(workshop.told, [lower, upper])
    assert isinstance(result, LayersResult)
    return result


async def test_a_merge_shows_later_files_over_earlier_ones(workshop: Workshop) -> None:
    one = workshop.layers({"a": "1", "d/x": "1"})
    two = workshop.layers({"a": "2", "d/y": "2"})
    result = await merge(workshop, one, two)
    assert await workshop.shown(result) == {"a": "2", "d/": "", "d/x": "1", "d/y": "2"}
    assert result.layers == (*one.layers, *two.layers)


async def test_a_layer_that_comes_twice_counts_where_it_comes_last(workshop: Workshop) -> None:
    a, b, c = LayerId("a"), LayerId("b"), LayerId("c")
    assert merged([(a, b), (a, c)]) == (b, a, c)
    base = workshop.layers({"f": "base"})
    (one,) = await workshop.run(FileOp((FileAction(0, MkFile("/f", b"one"), output=0),)), base)
    (two,) = await workshop.run(FileOp((FileAction(0, MkFile("/g", b"two"), output=0),)), base)
    assert await workshop.shown(await merge(workshop, one, two)) == {"f": "base", "g": "two"}


async def test_the_difference_to_a_prefix_is_the_rest_of_the_chain(workshop: Workshop) -> None:
    whole = workshop.layers({"a": "a"}, {"b": "b"}, {"c": "c"})
    prefix = LayersResult(whole.layers[:1], workshop.store)
    assert (await diff(workshop, prefix, whole)).layers == whole.layers[1:]
    assert (await diff(workshop, whole, whole)).layers == ()
    step = DiffStep(DiffOp(-1, 0), workshop.store)
    (all_of_it,) = await step.execute(workshop.told, [whole])
    assert isinstance(all_of_it, LayersResult)
    assert all_of_it.layers == whole.layers


async def test_a_difference_has_whiteouts_for_what_is_gone(workshop: Workshop) -> None:
    lower = workshop.layers({"a": "a", "d/x": "x", "d/y": "y", "e/z": "z"})
    upper = workshop.layers({"a": "a", "d/y": "y", "d/n": "n", "e": "now a file"})
    made = await diff(workshop, lower, upper)
    assert await workshop.added(made) == {"d/": "", "d/n": "n", "d/x": "mode 20000", "e": "now a file"}
    assert await workshop.shown(await merge(workshop, lower, made)) == await workshop.shown(upper)


async def test_what_is_alike_is_left_out_and_what_differs_is_in(workshop: Workshop) -> None:
    lower: Spec = {"same": "s", "mode": "m", "time": "t", "owner": "o", "link": Link("x"), "d": Dir(), "text": "1"}
    upper: Spec = {
        "same": "s",
        "mode": File("m", 0o755),
        "time": File("t", time=5),
        "owner": File("o", owner=(1, 1)),
        "link": Link("y"),
        "d": Dir(0o700),
        "text": "2",
    }
    made = await diff(workshop, workshop.layers(lower), workshop.layers(upper))
    assert list(await workshop.added(made)) == ["d/", "link", "mode", "owner", "text", "time"]


async def test_a_difference_over_whiteouts_is_right(workshop: Workshop) -> None:
    base = workshop.layers({"d/a": "a", "d/b": "b"})
    (gone,) = await workshop.run(FileOp((FileAction(0, Rm("/d/a"), output=0),)), base)
    only = await diff(workshop, base, gone)
    other = workshop.layers({"d/a": "other", "d/c": "c"})
    assert await workshop.shown(await merge(workshop, other, only)) == {"d/": "", "d/c": "c"}


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/f", "c/x"])
TREES = st.lists(
    st.dictionaries(NAMES, st.one_of(st.sampled_from(["1", "2", "33"]), st.just(Link("a")), st.just(Dir(0o711)))),
    min_size=1,
    max_size=3,
)


def consistent(spec: dict[str, str | Link | Dir]) -> Spec:
    """Without names below what is no directory."""
    return {
        name: what
        for name, what in spec.items()
        if not any(isinstance(spec.get(above), str | Link) for above in _above(name))
    }


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(TREES, TREES)
async def test_lower_and_difference_make_upper(
    workshop: Workshop, lower: list[dict[str, str | Link | Dir]], upper: list[dict[str, str | Link | Dir]]
) -> None:
    below = workshop.layers(*map(consistent, lower))
    above = workshop.layers(*map(consistent, upper))
    made = difference(workshop.store, below.layers, above.layers, Stop())
    both = LayersResult((*below.layers, *made), workshop.store)
    assert await workshop.shown(both) == await workshop.shown(above)
    async with both.tree() as one, above.tree() as two:
        for path in await workshop.shown(above):
            first, second = (root / path for root in (one, two))
            assert first.lstat().st_mode == second.lstat().st_mode, path
    assert os.listdir(workshop.root / "snapshots/.active") == []
