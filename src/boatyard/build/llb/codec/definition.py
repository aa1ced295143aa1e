"""Vertices and whole graphs as bytes.

A definition is a heap of encoded ops that name their inputs by digest; the last one names the result. Nothing in it is
nested, but a graph can be thousands of vertices deep, so nothing here recurses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError, EncodeError

from boatyard._pb import ops_pb2 as pb
from boatyard.build.llb.codec import messages, values
from boatyard.build.llb.graph import Edge, Graph, Op, OpMetadata, SourceLocation, SourceOp, Vertex
from boatyard.errors import InvalidError
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform

MAX_VERTICES = 50_000
"""More than any build has, and few enough that a hostile definition can't fill the memory."""


def vertex(
    op: Op,
    inputs: Sequence[Edge] = (),
    platform: Platform | None = None,
    metadata: OpMetadata = OpMetadata(),  # noqa: B008 - frozen
    locations: Sequence[SourceLocation] = (),
) -> Vertex:
    """A vertex with its encoding and digest. InvalidError when a value doesn't fit the wire: a number out of range,
    text that isn't Unicode."""
    try:
        frame = messages.frame(inputs, platform)
        # Go writes the members of a oneof after all other fields, whatever their numbers; two messages one after the
        # other are one message.
        encoding = frame.SerializeToString(deterministic=True) + messages.op(op).SerializeToString(deterministic=True)
    except (ValueError, TypeError, DecodeError, EncodeError) as error:
        raise InvalidError(f"a {type(op).__name__} can't be encoded: {error}") from error
    return Vertex(_digest(encoding), op, tuple(inputs), platform, metadata, tuple(locations), encoding)


def altered(old: Vertex, inputs: Sequence[Edge], source: SourceOp | None = None) -> Vertex:
    """The vertex with other inputs, as many as before, and another source. What isn't known here of others' encodings
    stays in it."""
    message = _parse_op(old.encoding)
    for item, edge in zip(message.inputs, inputs, strict=True):
        item.digest = edge.vertex.digest
    kind = message.WhichOneof("op")
    assert kind is not None  # it was decoded
    body = pb.Op()
    getattr(body, kind).CopyFrom(getattr(message, kind) if source is None else messages.source_op(source))
    getattr(body, kind).SetInParent()
    message.ClearField(kind)
    encoding = message.SerializeToString(deterministic=True) + body.SerializeToString(deterministic=True)
    return replace(old, digest=_digest(encoding), op=source or old.op, inputs=tuple(inputs), encoding=encoding)


def _digest(encoding: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(encoding).hexdigest())


# -- encode ----------------------------------------------------------------------------------------------------------


def encode(graph: Graph) -> bytes:
    """A `pb.Definition`: inputs before what uses them, and a last op that names the root. Nothing for scratch."""
    return to_message(graph).SerializeToString(deterministic=True)


def to_message(graph: Graph) -> pb.Definition:
    """`encode`, as a message."""
    message = pb.Definition()
    if graph.root is None:
        return message
    encodings: list[bytes] = []
    places: dict[str, dict[SourceLocation, None]] = {}
    for item in in_order(graph.root.vertex):
        if item.digest not in places:
            if not item.encoding:
                raise InvalidError(f"vertex {item.digest} has no encoding", hint="make vertices with llb.codec.vertex")
            places[item.digest] = {}
            encodings.append(item.encoding)
            message.metadata[item.digest].CopyFrom(messages.metadata(item.metadata))
        places[item.digest].update(dict.fromkeys(item.locations))
    root = pb.Op(inputs=[pb.Input(digest=graph.root.vertex.digest, index=graph.root.index)])
    encodings.append(root.SerializeToString(deterministic=True))
    getattr(message, "def").extend(encodings)
    _add_source(message.Source, places, graph.files)
    return message


def in_order(root: Vertex) -> Iterator[Vertex]:
    """Every vertex object once, inputs first. Equal vertices that are different objects all come."""
    seen: set[int] = set()
    stack: list[tuple[Vertex, bool]] = [(root, False)]
    while stack:
        item, done = stack.pop()
        if done:
            yield item
        elif id(item) not in seen:
            seen.add(id(item))
            stack.append((item, True))
            stack.extend((edge.vertex, False) for edge in reversed(item.inputs))


def _add_source(
    source: pb.Source, places: Mapping[str, Mapping[SourceLocation, None]], files: Mapping[str, str]
) -> None:
    indexes: dict[str, int] = {}
    for digest, locations in places.items():
        known = [location for location in locations if location.filename in files]
        if not known:
            continue
        into = source.locations[digest].locations
        for location in known:
            if location.filename not in indexes:
                indexes[location.filename] = len(indexes)
                source.infos.add(filename=location.filename, data=files[location.filename].encode())
            into.add(
                sourceIndex=indexes[location.filename],
                ranges=[pb.Range(start=pb.Position(line=location.start), end=pb.Position(line=location.end))],
            )


# -- decode ----------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> Graph:
    """The graph of a `pb.Definition`. InvalidError when it is not well-formed: bytes that are none, an input that isn't
    there, an index out of range, a cycle, too many vertices."""
    message = pb.Definition()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidError("the build graph is not a definition in protobuf") from error
    return from_message(message)


def from_message(message: pb.Definition) -> Graph:
    """`decode`, of what is a message already."""
    encodings = getattr(message, "def")
    if len(encodings) > MAX_VERTICES + 1:
        raise InvalidError(f"the build graph has {len(encodings) - 1} vertices; {MAX_VERTICES} are allowed")
    if not encodings:
        return Graph(None)
    files, locations = _read_source(message.Source)
    last = _parse_op(encodings[-1])
    if last.WhichOneof("op") is not None or len(last.inputs) != 1:
        raise InvalidError("the last op of the build graph doesn't name the result")
    builder = _Builder(encodings[:-1], message.metadata, locations)
    return Graph(builder.edge(last.inputs[0]), files)


def _parse_op(encoding: bytes) -> pb.Op:
    message = pb.Op()
    try:
        message.ParseFromString(encoding)
    except DecodeError as error:
        raise InvalidError("a step of the build graph is not an op in protobuf") from error
    return message


class _Builder:
    """Makes vertices from encoded ops, each once. Lives for one `decode`."""

    def __init__(
        self,
        encodings: Sequence[bytes],
        metadata: Mapping[str, pb.OpMetadata],
        locations: Mapping[str, tuple[SourceLocation, ...]],
    ) -> None:
        self._encodings = {_digest(encoding): encoding for encoding in encodings}
        self._parsed: dict[str, pb.Op] = {}
        self._metadata = metadata
        self._locations = locations
        self._made: dict[str, Vertex] = {}

    def edge(self, root: pb.Input) -> Edge:
        stack = [root.digest]
        open_: set[str] = set()
        while stack:
            digest = stack[-1]
            if digest in self._made:
                stack.pop()
                continue
            message = self._op(digest)
            missing = [item.digest for item in message.inputs if item.digest not in self._made]
            if not missing:
                self._made[digest] = self._vertex(Digest(digest), message)
                open_.discard(digest)
                stack.pop()
                continue
            open_.add(digest)
            if not open_.isdisjoint(missing):
                raise InvalidError("the build graph has a cycle")
            stack.extend(dict.fromkeys(missing))
        return self._output(root)

    def _op(self, digest: str) -> pb.Op:
        message = self._parsed.get(digest)
        if message is None:
            encoding = self._encodings.get(Digest(digest))
            if encoding is None:
                raise InvalidError(f"the build graph names a step that it doesn't hold: {digest[:80]!r}")
            message = self._parsed[digest] = _parse_op(encoding)
        return message

    def _vertex(self, digest: Digest, message: pb.Op) -> Vertex:
        return Vertex(
            digest,
            values.op(message),
            tuple(self._output(item) for item in message.inputs),
            values.platform(message.platform) if message.HasField("platform") else None,
            values.metadata(self._metadata[digest]) if digest in self._metadata else OpMetadata(),
            self._locations.get(digest, ()),
            self._encodings[digest],
        )

    def _output(self, item: pb.Input) -> Edge:
        made = self._made[item.digest]
        if item.index < 0 or item.index not in values.outputs(made.op):
            raise InvalidError(f"the build graph names output {item.index} of a step that doesn't have it")
        return Edge(made, item.index)


def _read_source(source: pb.Source) -> tuple[dict[str, str], dict[str, tuple[SourceLocation, ...]]]:
    files: dict[str, str] = {}
    names: list[str] = []
    for info in source.infos:
        text = info.data.decode("utf-8", "replace")
        name = info.filename
        number = 1
        while files.get(name, text) != text:  # two files of one name: bake builds of several projects have that
            number += 1
            name = f"{info.filename} ({number})"
        files[name] = text
        names.append(name)
    locations: dict[str, tuple[SourceLocation, ...]] = {}
    for digest, message in source.locations.items():
        found = []
        for item in message.locations:
            if not 0 <= item.sourceIndex < len(names):
                raise InvalidError(f"the build graph names source file {item.sourceIndex} of {len(names)}")
            name = names[item.sourceIndex]
            found += [SourceLocation(name, lines.start.line, lines.end.line) for lines in item.ranges]
        locations[digest] = tuple(found)
    return files, locations
