"""Graphs to bytes and back: the only importer of the protobuf classes.

    vertex(op, inputs, ...)  ->  Vertex      with its deterministic encoding and the digest of that
    altered(vertex, ...)     ->  Vertex      with other inputs, or another source
    encode(graph)            ->  bytes       a `pb.Definition`
    decode(bytes)            ->  Graph       everything checked; InvalidError, never a crash
    to_message, from_message         the same, for those who have the message anyway
    as_json(graph)           ->  dict        as BuildKit prints graphs (`frontend.convertllb`)

`definition` walks graphs, `messages` and `values` convert single ops.
"""

from boatyard.build.llb.codec.definition import (
    MAX_VERTICES,
    altered,
    decode,
    encode,
    from_message,
    in_order,
    to_message,
    vertex,
)
from boatyard.build.llb.codec.printed import as_json
from boatyard.build.llb.codec.values import mount

__all__ = [
    "MAX_VERTICES",
    "altered",
    "as_json",
    "decode",
    "encode",
    "from_message",
    "in_order",
    "mount",
    "to_message",
    "vertex",
]
