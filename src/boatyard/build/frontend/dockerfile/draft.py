"""Vertices that aren't final yet.

A vertex is named by the digest of its content and its inputs, so it can only be made once these are known. What of
the build context the steps use is known when all of them were seen; yet each step stands on it. So steps are drafted
first, and `finish` makes vertices of the drafts that the result needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Op, OpMetadata, SourceLocation, Vertex
from boatyard.image.platform import Platform

NO_METADATA = OpMetadata()


@dataclass(eq=False, slots=True)
class Draft:
    """A vertex to be. A callable `op` is called when it is made, once. Owned by one conversion."""

    op: Op | Callable[[], Op]
    inputs: Sequence[Draft] = ()
    platform: Platform | None = None
    metadata: OpMetadata = NO_METADATA
    locations: tuple[SourceLocation, ...] = ()
    edge: Edge | None = field(default=None, repr=False)
    """What became of it."""

    @property
    def fixed_op(self) -> Op | None:
        """The op, if it is known already."""
        return None if callable(self.op) else self.op


def of_edge(edge: Edge) -> Draft:
    """A finished edge, as an input of drafts."""
    return Draft(edge.vertex.op, edge=edge)


def finish(root: Draft | None) -> Edge | None:
    """The edge of a draft (its first output) and everything below it. None is scratch, and stays so."""
    if root is None:
        return None
    stack = [root]
    while stack:
        draft = stack[-1]
        if draft.edge is not None:
            stack.pop()
            continue
        missing = [item for item in draft.inputs if item.edge is None]
        if missing:
            stack.extend(missing)
        else:
            draft.edge = Edge(_vertex(draft))
            stack.pop()
    return root.edge


def _vertex(draft: Draft) -> Vertex:
    op = draft.op() if callable(draft.op) else draft.op
    inputs = [item.edge for item in draft.inputs if item.edge is not None]
    return codec.vertex(op, inputs, draft.platform, draft.metadata, draft.locations)


class Inputs:
    """The inputs of a draft in the making: each source once, by number."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []

    def index(self, draft: Draft | None) -> int:
        """-1 for scratch."""
        if draft is None:
            return -1
        for number, known in enumerate(self.drafts):
            if known is draft:
                return number
        self.drafts.append(draft)
        return len(self.drafts) - 1
