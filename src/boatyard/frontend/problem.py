"""Errors on their way between a frontend and the builder: ours as a gRPC status, and back.

A status carries BuildKit's typed details, which its clients show, and the error itself as the native API tells it, so
that nothing of it is lost between two ends of ours.

Specification: moby/buildkit `solver/errdefs`, `util/grpcerrors` (reference/builder.md 3.6).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

import msgspec
from google.protobuf import json_format
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb import errdefs_pb2, ops_pb2, stack_pb2, status_pb2
from boatyard._pb.wellknown import Any as AnyMessage
from boatyard.client import failure
from boatyard.client.documents.envelope import ErrorDocument
from boatyard.errors import (
    BoatyardError,
    BuildError,
    SourceExcerpt,
    UnknownQuestionError,
    UnsupportedError,
)
from boatyard.frontend import defect

_BUILDKIT = "github.com/moby/buildkit/"
SOURCE = _BUILDKIT + "errdefs.Source+json"
SUBREQUEST = _BUILDKIT + "errdefs.Subrequest+json"
STACK = _BUILDKIT + "stack.Stack+json"
ERROR = "boatyard/errors.BoatyardError+json"
"""An `ErrorDocument` of the native API, without the source."""

_MOST_FRAMES = 50


class BridgeError(BoatyardError):
    """What the builder refused or failed at, as it told it: `status` goes back to it unchanged when the frontend lets
    the error pass. `reason` is the builder's own error, where it told that, with the step and the place."""

    def __init__(
        self,
        message: str,
        *,
        status: status_pb2.Status,
        reason: BoatyardError | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason

    @property
    def missing(self) -> bool:
        """Whether something that was named isn't there. BuildKit tells it in Go's words only."""
        return self.status.code == Status.NOT_FOUND.value or "no such file or directory" in self.status.message


def unknown_question(name: str, known: Iterable[str]) -> UnknownQuestionError:
    """For a subrequest that the frontend doesn't answer."""
    told = ", ".join(sorted(known))
    hint = f"it answers {told}" if told else "it only builds"
    return UnknownQuestionError(f"the frontend doesn't answer {name!r}", hint=hint, name=name)


def of_call(error: GRPCError) -> BridgeError:
    """What a call of the bridge failed with. To be raised from its reason."""
    details = [item for item in error.details or () if isinstance(item, AnyMessage)]
    status = status_pb2.Status(code=error.status.value, message=error.message or "", details=details)
    told = _told(details)
    located = _located(details, error.message or "")
    if isinstance(told, BuildError) and located is not None:
        told.source = located.source
    return BridgeError(
        told.message if told else error.message or error.status.name.lower(),
        status=status,
        reason=told or located,
        hint=told.hint if told else None,
    )


def status_of(error: BaseException) -> status_pb2.Status:
    """How a frontend's end is told to the builder. An error that isn't ours is told with the place in the frontend's
    own code where it arose."""
    if isinstance(error, BridgeError):
        return error.status
    if isinstance(error, BoatyardError):
        return _status(error, [])
    return _status(defect.told(error), [_stack(error)])


def _status(error: BoatyardError, more: list[AnyMessage]) -> status_pb2.Status:
    details = list(more)
    if isinstance(error, BuildError) and error.source is not None:
        details.append(_detail(SOURCE, _source(error.source)))
    code = Status.UNKNOWN
    if isinstance(error, UnknownQuestionError):
        code = Status.UNIMPLEMENTED
        details.append(_detail(SUBREQUEST, errdefs_pb2.Subrequest(name=error.name)))
    elif isinstance(error, UnsupportedError):
        code = Status.UNIMPLEMENTED
    document = failure.without_sources(failure.describe(error))
    details.append(AnyMessage(type_url=ERROR, value=msgspec.json.encode(document)))
    return status_pb2.Status(code=code.value, message=error.message, details=details)


def _source(excerpt: SourceExcerpt) -> errdefs_pb2.Source:
    lines = ops_pb2.Range(start=ops_pb2.Position(line=excerpt.start), end=ops_pb2.Position(line=excerpt.end))
    info = ops_pb2.SourceInfo(filename=excerpt.filename, data=excerpt.text.encode("utf-8", "replace"))
    return errdefs_pb2.Source(info=info, ranges=[lines])


def _stack(error: BaseException) -> AnyMessage:
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    told = [stack_pb2.Frame(Name=frame.name, File=frame.filename, Line=frame.lineno or 0) for frame in frames]
    return _detail(STACK, stack_pb2.Stack(frames=reversed(told), cmdline=["boatyard.frontend"]))


def _detail(url: str, message: Any) -> AnyMessage:
    text = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)
    return AnyMessage(type_url=url, value=text.encode())


def _told(details: Iterable[AnyMessage]) -> BoatyardError | None:
    for item in details:
        if item.type_url == ERROR:
            try:
                return failure.restore(msgspec.json.decode(item.value, type=ErrorDocument))
            except msgspec.MsgspecError:
                return None
    return None


def _located(details: Iterable[AnyMessage], message: str) -> BuildError | None:
    """BuildKit's own way to tell a place."""
    for item in details:
        if item.type_url == SOURCE:
            try:
                source = json_format.Parse(item.value, errdefs_pb2.Source(), ignore_unknown_fields=True)
            except (json_format.ParseError, UnicodeDecodeError):
                return None
            if source.ranges:
                lines = source.ranges[0]
                text = source.info.data.decode("utf-8", "replace")
                excerpt = SourceExcerpt(source.info.filename, text, lines.start.line, lines.end.line)
                return BuildError(message, source=excerpt)
    return None
