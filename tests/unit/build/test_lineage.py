from __future__ import annotations

from boatyard.build.lineage import lineage
from boatyard.build.llb import codec
from boatyard.build.llb.graph import (
    Copy,
    Edge,
    ExecOp,
    FileAction,
    FileOp,
    MergeOp,
    Meta,
    MkDir,
    Mount,
    Op,
    SourceOp,
    Vertex,
)


def vertex(op: Op, *inputs: Vertex) -> Vertex:
    return codec.vertex(op, tuple(Edge(each) for each in inputs))


def run(base: Vertex, *lent: Vertex) -> Vertex:
    mounts = (
        Mount(dest="/", input=0, output=0),
        *(Mount(dest=f"/m{i}", input=i, readonly=True) for i in range(1, 1 + len(lent))),
    )
    return vertex(ExecOp(Meta(args=("true",)), mounts), base, *lent)


def source(name: str) -> Vertex:
    return vertex(SourceOp(f"docker-image://{name}"))


def test_a_step_stands_on_its_root_file_system_and_not_on_what_is_mounted() -> None:
    base, other = source("base"), source("other")
    step = run(base, other)
    assert lineage(Edge(step)) == {step.digest, base.digest}


def test_a_copy_stands_on_where_it_copies_to() -> None:
    base, context = source("base"), source("context")
    actions = (
        FileAction(input=0, action=MkDir("/d")),
        FileAction(input=2, secondary_input=1, action=Copy("/", "/d"), output=0),
    )
    copy = vertex(FileOp(actions), base, context)
    assert lineage(Edge(copy)) == {copy.digest, base.digest}


def test_a_copy_to_scratch_stands_on_nothing() -> None:
    context = source("context")
    copy = vertex(FileOp((FileAction(input=-1, secondary_input=0, action=Copy("/", "/"), output=0),)), context)
    assert lineage(Edge(copy)) == {copy.digest}


def test_a_merge_stands_on_all_its_inputs() -> None:
    one, other = source("one"), source("other")
    merged = vertex(MergeOp((0, 1)), one, other)
    assert lineage(Edge(merged)) == {merged.digest, one.digest, other.digest}


def test_scratch_has_no_lineage() -> None:
    assert lineage(None) == set()
