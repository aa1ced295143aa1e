"""What an error says beside its message, in the form that BuildKit's clients decode: JSON in a `google.protobuf.Any`.

Names and fields: moby/buildkit `solver/errdefs/errdefs.proto`, `frontend/gateway/pb/exit.go`. Go's encoder leaves out
empty fields and writes bytes in base64; `errdefs.Solve` is protobuf's own JSON.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any as AnyType

import msgspec
from google.protobuf.json_format import MessageToDict

from boatyard._pb import ops_pb2
from boatyard._pb.wellknown import Any
from boatyard.build.policy.rule import Action
from boatyard.client import failure
from boatyard.client.documents.envelope import ErrorDocument
from boatyard.errors import BoatyardError, SourceExcerpt

_PREFIX = "github.com/moby/buildkit/"
VERTEX = "errdefs.Vertex"
SOURCE = "errdefs.Source"
SOLVE = "errdefs.Solve"
FRONTEND = "errdefs.Frontend"
CAPABILITY = "errdefs.FrontendCap"
SUBREQUEST = "errdefs.Subrequest"
EXIT = "gatewayapi.ExitMessage"
DECISION = "policysession.DecisionResponse"
WHOLE = "boatyard/errors.BoatyardError+json"
"""An error of ours as it is: the only type whose name is ours."""


def vertex(digest: str) -> Any:
    return _detail(VERTEX, {"digest": digest})


def source(excerpt: SourceExcerpt) -> Any:
    """The whole file, and which lines of it."""
    info = {"filename": excerpt.filename, "data": b64encode(excerpt.text.encode("utf-8", "replace")).decode()}
    lines = {"start": {"line": excerpt.start}, "end": {"line": excerpt.end}}
    return _detail(SOURCE, {"info": info, "ranges": [lines]})


def solve(
    encoded_op: bytes, description: Mapping[str, str], inputs: Sequence[str] = (), mounts: Sequence[str] = ()
) -> Any:
    """A failed step, and the ids of results that show what it was given and left behind, mount by mount."""
    document: dict[str, AnyType] = {"op": MessageToDict(ops_pb2.Op.FromString(encoded_op))}
    for name, value in (("inputIDs", list(inputs)), ("mountIDs", list(mounts)), ("description", dict(description))):
        if value:
            document[name] = value
    return _detail(SOLVE, document)


def frontend(name: str, image: str = "") -> Any:
    """The frontend that failed; `image` where it came from one."""
    return _detail(FRONTEND, _present(name=name, source=image))


def capability(name: str) -> Any:
    return _detail(CAPABILITY, {"name": name})


def subrequest(name: str) -> Any:
    return _detail(SUBREQUEST, {"name": name})


def exit_code(code: int) -> Any:
    return _detail(EXIT, _present(Code=code))


def whole(error: BoatyardError) -> Any:
    """The error as the native API tells it, without the source, which `source` tells: between two ends of ours nothing
    is lost."""
    return Any(type_url=WHOLE, value=msgspec.json.encode(failure.without_sources(failure.describe(error))))


def told_whole(details: Iterable[Any]) -> BoatyardError | None:
    for detail in details:
        if detail.type_url == WHOLE:
            try:
                return failure.restore(msgspec.json.decode(detail.value, type=ErrorDocument))
            except msgspec.MsgspecError:
                return None  # what a frontend says can be anything
    return None


def denial(messages: Iterable[str]) -> Any:
    """What a client that judged for itself said."""
    return _detail(
        DECISION, {"action": Action.DENY.name, "denyMessages": [{"message": message} for message in messages]}
    )


def of_kind(details: Iterable[Any], kind: str) -> list[dict[str, AnyType]]:
    """The documents of one type among details, those that can be read."""
    found = []
    for detail in details:
        if detail.type_url == f"{_PREFIX}{kind}+json":
            try:
                found.append(msgspec.json.decode(detail.value, type=dict[str, AnyType]))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # what a frontend says can be anything; the rest still tells something
    return found


def excerpt(known: Iterable[Any]) -> SourceExcerpt | None:
    """The last place in a source file that details name."""
    for document in reversed(of_kind(known, SOURCE)):
        try:
            source = msgspec.convert(document, _Source)
            lines = source.ranges[0]
            text = b64decode(source.info.data, validate=True).decode("utf-8", "replace")
        except (msgspec.ValidationError, IndexError, ValueError):
            continue
        start = lines.start.line
        return SourceExcerpt(source.info.filename, text, start, max(start, lines.end.line))
    return None


class _Position(msgspec.Struct, frozen=True):
    line: int = 0


class _Range(msgspec.Struct, frozen=True):
    start: _Position = _Position()
    end: _Position = _Position()


class _Info(msgspec.Struct, frozen=True):
    filename: str = ""
    data: str = ""


class _Source(msgspec.Struct, frozen=True):
    info: _Info
    ranges: list[_Range] = []


def _detail(kind: str, document: Mapping[str, AnyType]) -> Any:
    return Any(type_url=f"{_PREFIX}{kind}+json", value=msgspec.json.encode(document))


def _present(**fields: AnyType) -> dict[str, AnyType]:
    return {name: value for name, value in fields.items() if value}
