"""A graph with other sources in it. Pure.

Vertices above a changed source get other inputs, and so other digests; the rest of the graph is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, SourceOp, Vertex
from boatyard.image.digest import Digest


def source_vertices(root: Vertex) -> dict[Digest, Vertex]:
    """Every source of a graph, once."""
    return {vertex.digest: vertex for vertex in codec.in_order(root) if isinstance(vertex.op, SourceOp)}


def with_sources(root: Edge, sources: Mapping[Digest, SourceOp]) -> Edge:
    """The graph below `root`, with these ops in the vertices of these digests."""
    made: dict[int, Vertex] = {}
    for vertex in codec.in_order(root.vertex):
        inputs = tuple(Edge(made[id(edge.vertex)], edge.index) for edge in vertex.inputs)
        op = sources.get(vertex.digest)
        if op is None and all(new.vertex is old.vertex for new, old in zip(inputs, vertex.inputs, strict=True)):
            made[id(vertex)] = vertex
        else:
            made[id(vertex)] = codec.altered(vertex, inputs, op)
    return Edge(made[id(root.vertex)], root.index)
