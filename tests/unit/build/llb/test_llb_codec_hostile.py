"""Definitions that no honest client sends: each ends in InvalidError."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard._pb import ops_pb2 as pb
from boatyard.build.llb import codec
from boatyard.errors import InvalidError, UnsupportedError

SOURCE = pb.Op(source=pb.SourceOp(identifier="docker-image://busybox"))
ROOT = pb.Mount(dest="/", input=0)


def digest(op: pb.Op) -> str:
    return "sha256:" + hashlib.sha256(op.SerializeToString()).hexdigest()


def inputs(*ops: pb.Op, index: int = 0) -> list[pb.Input]:
    return [pb.Input(digest=digest(op), index=index) for op in ops]


def raw(*encodings: bytes) -> bytes:
    return pb.Definition(**{"def": encodings}).SerializeToString()  # type: ignore[arg-type]


def definition(*ops: pb.Op, index: int = 0) -> bytes:
    """Of these ops, the last of which is the result."""
    root = pb.Op(inputs=inputs(ops[-1], index=index))
    return raw(*(op.SerializeToString() for op in (*ops, root)))


def step(**kind: object) -> bytes:
    """One op of that kind on a source."""
    return definition(SOURCE, pb.Op(inputs=inputs(SOURCE), **kind))  # type: ignore[arg-type]


def test_the_well_formed_ones_of_this_page_are_accepted() -> None:
    assert codec.decode(definition(SOURCE)).root is not None
    assert codec.decode(step(exec=pb.ExecOp(meta=pb.Meta(args=["true"]), mounts=[ROOT]))).root is not None


META = pb.Meta(args=["true"])
HOSTILE: dict[str, Callable[[], bytes]] = {
    "bytes that are no protobuf": lambda: b"\xff\xff\xff",
    "an op that is no protobuf": lambda: raw(b"\xff", b"\xff"),
    "a last op that is a step": lambda: raw(SOURCE.SerializeToString()),
    "a last op without a result": lambda: raw(b""),
    "a last op with two results": lambda: raw(
        SOURCE.SerializeToString(), pb.Op(inputs=inputs(SOURCE, SOURCE)).SerializeToString()
    ),
    "a result that is not there": lambda: raw(pb.Op(inputs=inputs(SOURCE)).SerializeToString()),
    "an input that is not there": lambda: definition(pb.Op(inputs=inputs(SOURCE), merge=pb.MergeOp())),
    "an input that is no digest": lambda: definition(pb.Op(inputs=[pb.Input(digest="x")], merge=pb.MergeOp())),
    "a step of no kind": lambda: definition(SOURCE, pb.Op(inputs=inputs(SOURCE), platform=pb.Platform(OS="linux"))),
    "an output that a source has not": lambda: definition(SOURCE, index=1),
    "a negative output": lambda: definition(SOURCE, index=-1),
    "an identifier without a scheme": lambda: step(source=pb.SourceOp(identifier="busybox")),
    "an exec without meta": lambda: step(exec=pb.ExecOp(mounts=[ROOT])),
    "an exec without arguments": lambda: step(exec=pb.ExecOp(meta=pb.Meta(), mounts=[ROOT])),
    "an exec without a root": lambda: step(exec=pb.ExecOp(meta=META, mounts=[pb.Mount(dest="/a")])),
    "a mount of an input that is not there": lambda: step(
        exec=pb.ExecOp(meta=META, mounts=[pb.Mount(dest="/", input=1)])
    ),
    "a mount of input -2": lambda: step(exec=pb.ExecOp(meta=META, mounts=[pb.Mount(dest="/", input=-2)])),
    "a mount without a destination": lambda: step(exec=pb.ExecOp(meta=META, mounts=[ROOT, pb.Mount(output=1)])),
    "two mounts with one output": lambda: step(exec=pb.ExecOp(meta=META, mounts=[ROOT, pb.Mount(dest="/a")])),
    "a huge output": lambda: step(exec=pb.ExecOp(meta=META, mounts=[pb.Mount(dest="/", output=1 << 60)])),
    "a mount type that is unknown": lambda: step(
        exec=pb.ExecOp(meta=META, mounts=[ROOT, pb.Mount(dest="/a", mountType=99, output=1)])  # type: ignore[arg-type]
    ),
    "a network mode that is unknown": lambda: step(
        exec=pb.ExecOp(meta=META, mounts=[ROOT], network=7)  # type: ignore[arg-type]
    ),
    "a secret mount without its options": lambda: step(
        exec=pb.ExecOp(meta=META, mounts=[ROOT, pb.Mount(dest="/s", mountType=pb.SECRET)])
    ),
    "a file step without actions": lambda: step(file=pb.FileOp()),
    "an action of no kind": lambda: step(file=pb.FileOp(actions=[pb.FileAction(input=0)])),
    "an action on a later result": lambda: step(
        file=pb.FileOp(actions=[pb.FileAction(input=1, rm=pb.FileActionRm(path="/a"))])
    ),
    "a copy from what is not there": lambda: step(
        file=pb.FileOp(actions=[pb.FileAction(input=0, secondaryInput=9, copy=pb.FileActionCopy())])
    ),
    "an owner looked up in what is not there": lambda: step(
        file=pb.FileOp(
            actions=[
                pb.FileAction(
                    mkdir=pb.FileActionMkDir(
                        path="/a",
                        owner=pb.ChownOpt(user=pb.UserOpt(byName=pb.NamedUserOpt(name="x", input=4))),
                    )
                )
            ]
        )
    ),
    "two results of a file step with one number": lambda: step(
        file=pb.FileOp(
            actions=[pb.FileAction(rm=pb.FileActionRm(path="/a")), pb.FileAction(rm=pb.FileActionRm(path="/b"))]
        )
    ),
    "a merge of nothing": lambda: step(merge=pb.MergeOp()),
    "a merge of what is not there": lambda: step(merge=pb.MergeOp(inputs=[pb.MergeInput(input=3)])),
    "a diff with one side": lambda: step(diff=pb.DiffOp(lower=pb.LowerDiffInput())),
    "a passthrough without an id": lambda: step(passthrough=pb.PassthroughOp(outputs=[0])),
    "a passthrough of nothing": lambda: step(passthrough=pb.PassthroughOp(id="x", outputs=[-1])),
    "a place in a file that is not there": lambda: (
        pb.Definition(
            Source=pb.Source(locations={"x": pb.Locations(locations=[pb.Location(sourceIndex=3)])})
        ).SerializeToString()
        + definition(SOURCE)
    ),
    "too many steps": lambda: raw(*[b"x"] * (codec.MAX_VERTICES + 2)),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_it_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(InvalidError):
        codec.decode(make())


def test_a_constraint_on_workers_is_named_as_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="workers"):
        codec.decode(
            definition(
                pb.Op(
                    source=pb.SourceOp(identifier="docker-image://busybox"),
                    constraints=pb.WorkerConstraints(filter=["label.x==y"]),
                )
            )
        )


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash_the_decoder(data: bytes) -> None:
    try:
        codec.decode(data)
    except (InvalidError, UnsupportedError):
        pass


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_definition_never_crashes_the_decoder(data: st.DataObject) -> None:
    good = bytearray(step(exec=pb.ExecOp(meta=META, mounts=[ROOT])))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(good))
    except (InvalidError, UnsupportedError):
        pass
