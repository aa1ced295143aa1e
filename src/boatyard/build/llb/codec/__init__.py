"""Graphs to bytes and back: the only importer of the protobuf classes.

    vertex(op, inputs, ...)  ->  Vertex      with its deterministic encoding and the digest of that
    altered(vertex, ...)     ->  Vertex      with other inputs, or another source
    encode(graph)            ->  bytes       a `pb.Definition`
    decode(bytes)            ->  Graph       everything checked; InvalidError, never a crash
    as_json(graph)           ->  dict        as BuildKit prints graphs (`frontend.convertllb`)

`definition` walks graphs, `messages` and `values` convert single ops.
"""

from boatyard.build.llb.codec.definition import MAX_VERTICES, altered, decode, encode, in_order, vertex
from boatyard.build.llb.codec.printed import as_json

__all__ = ["MAX_VERTICES", "altered", "as_json", "decode", "encode", "in_order", "vertex"]
