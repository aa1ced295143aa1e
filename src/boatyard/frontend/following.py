"""A build's progress, from BuildKit's messages to events.

Specification: moby/buildkit `api/services/control/control.proto`, StatusResponse.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message
from grpclib.exceptions import GRPCError

from boatyard._pb import control_pb2 as pb
from boatyard._pb.control_grpc import ControlStub
from boatyard._pb.wellknown import Timestamp
from boatyard.frontend import problem
from boatyard.progress import Emit, Event, LogEvent, Range, StatusEvent, VertexEvent, WarningEvent


async def follow(control: ControlStub, ref: str, tell: Emit) -> None:
    """Until the build has ended. BridgeError when it can't be followed."""
    try:
        async with control.Status.open() as call:
            await call.send_message(pb.StatusRequest(Ref=ref), end=True)
            while (message := await call.recv_message()) is not None:
                for event in events(message):
                    tell(event)
    except GRPCError as error:
        told = problem.of_call(error)
        raise told from told.reason


def events(message: pb.StatusResponse) -> Iterator[Event]:
    for vertex in message.vertexes:
        yield VertexEvent(
            digest=vertex.digest,
            name=vertex.name,
            inputs=tuple(vertex.inputs),
            started=_time(vertex, "started"),
            completed=_time(vertex, "completed"),
            cached=vertex.cached,
            error=vertex.error,
            group=vertex.progressGroup.name,
        )
    for status in message.statuses:
        yield StatusEvent(
            vertex=status.vertex,
            id=status.ID,
            name=status.name or status.ID,
            current=status.current,
            total=status.total,
            started=_time(status, "started"),
            completed=_time(status, "completed"),
        )
    for log in message.logs:
        text = log.msg.decode("utf-8", "replace")
        yield LogEvent(vertex=log.vertex, stream=log.stream, data=text, time=_seconds(log.timestamp))
    for warning in message.warnings:
        lines = warning.ranges[0] if warning.ranges else None
        yield WarningEvent(
            vertex=warning.vertex,
            short=warning.short.decode("utf-8", "replace"),
            detail="\n".join(line.decode("utf-8", "replace") for line in warning.detail),
            url=warning.url,
            filename=warning.info.filename,
            range=Range(lines.start.line, max(lines.start.line, lines.end.line)) if lines else None,
        )


def _time(message: Message, name: str) -> float | None:
    return _seconds(getattr(message, name)) if message.HasField(name) else None


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9
