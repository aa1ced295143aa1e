"""Graphs as JSON, in the shape that BuildKit's `frontend.convertllb` prints: ops by digest, metadata by digest, the
source map."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from boatyard._pb import ops_pb2 as pb
from boatyard.build.llb.codec.definition import in_order, to_message
from boatyard.build.llb.graph import Graph, OpMetadata, Vertex


def as_json(graph: Graph) -> dict[str, Any]:
    """`def` and `source` are protobuf's own JSON (zero values left out, 64-bit numbers as text, bytes in base64)."""
    from google.protobuf.json_format import MessageToDict  # loads much, for who asks for this

    message = to_message(graph)
    vertices: dict[str, Vertex] = {}
    if graph.root is not None:
        vertices = {vertex.digest: vertex for vertex in in_order(graph.root.vertex)}
    ops = {digest: MessageToDict(pb.Op.FromString(vertex.encoding)) for digest, vertex in vertices.items()}
    return {
        "def": dict(sorted(ops.items())),
        "metadata": {digest: _metadata(vertices[digest].metadata) for digest in sorted(vertices)},
        "source": MessageToDict(message.Source),
    }


def _metadata(metadata: OpMetadata) -> dict[str, Any]:
    printed: dict[str, Any] = {}
    if metadata.ignore_cache:
        printed["ignore_cache"] = True
    if metadata.description:
        printed["description"] = dict(metadata.description)
    if metadata.export_cache is not None:
        printed["export_cache"] = {"Value": metadata.export_cache}
    if metadata.caps:
        printed["caps"] = dict(metadata.caps)
    if (group := metadata.progress_group) is not None:
        printed["progress_group"] = {
            key: value for key, value in (("id", group.id), ("name", group.name), ("weak", group.weak)) if value
        }
    if (limits := metadata.linux_resources) is not None:
        names = ("memory", "memorySwap", "cpuShares", "cpuPeriod", "cpuQuota", "cpusetCpus", "cpusetMems")
        printed["linux_resources"] = {name: value for name, value in zip(names, astuple(limits), strict=True) if value}
    return printed
