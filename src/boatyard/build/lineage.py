"""Which vertices give an image its layers: those from whose outputs the chain of an edge is put together.

Pure. Other vertices only lend files to these (a stage that is copied from), and their layers go into no image.
"""

from __future__ import annotations

from collections.abc import Iterator

from boatyard.build.llb.graph import Edge, ExecOp, FileOp, MergeOp, Vertex
from boatyard.image.digest import Digest


def lineage(root: Edge | None) -> set[Digest]:
    """The digests of the vertices below `root` whose layers are in its chain."""
    found: set[Digest] = set()
    stack = [root] if root else []
    while stack:
        edge = stack.pop()
        if edge.vertex.digest not in found:
            found.add(edge.vertex.digest)
            stack.extend(edge.vertex.inputs[index] for index in _bases(edge.vertex, edge.index))
    return found


def _bases(vertex: Vertex, output: int) -> Iterator[int]:
    """The inputs whose chains an output's chain begins with."""
    count = len(vertex.inputs)
    match vertex.op:
        case ExecOp(mounts=mounts):
            yield from (mount.input for mount in mounts if mount.output == output and 0 <= mount.input < count)
        case MergeOp(inputs=inputs):
            yield from (index for index in inputs if 0 <= index < count)
        case FileOp(actions=actions):
            at = next((number for number, action in enumerate(actions) if action.output == output), None)
            while at is not None:
                base = actions[at].input
                if base < count:
                    if base >= 0:
                        yield base
                    return
                at = base - count
