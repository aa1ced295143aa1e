"""The trace of each build, kept with its record: what its client reports meanwhile and shortly after, and its steps.

Spans come in calls of their own, before and after the build's: they are kept by trace, those of the traces that
reported last, in bounded memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from boatyard._pb.trace_grpc import TraceServiceBase
from boatyard._pb.trace_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from boatyard.api.buildkit import spans
from boatyard.api.buildkit.spans import TraceContext
from boatyard.build.history import History
from boatyard.errors import BoatyardError, InvalidError, NotFoundError, UnavailableError
from boatyard.image.interruption import run_settled

log = logging.getLogger(__name__)

NAME = "trace"
"""Of the attachment."""
MOST_BYTES = 32 << 20
MOST_OF_ONE = 4 << 20
PATIENCE = 3.0
"""Seconds after a build for which its client may still report."""
PARENT = "traceparent"


class Spans:
    """What clients report, by trace. One per daemon."""

    def __init__(self, *, most: int = MOST_BYTES, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._traces: dict[str, list[bytes]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, trace: str, span: bytes) -> bool:
        """False when a trace has too many."""
        size = self._sizes.pop(trace, 0) + len(span)
        if size > self._most_of_one:
            self._sizes[trace] = size - len(span)
            return False
        kept = self._traces.pop(trace, [])
        kept.append(span)
        self._traces[trace], self._sizes[trace] = kept, size  # the last, now
        while sum(self._sizes.values()) > self._most:
            self.take(next(iter(self._traces)))
        return True

    def of(self, trace: str) -> list[bytes]:
        return list(self._traces.get(trace, ()))

    def take(self, trace: str) -> list[bytes]:
        self._sizes.pop(trace, None)
        return self._traces.pop(trace, [])


class TraceService(TraceServiceBase):
    def __init__(self, known: Spans) -> None:
        self._known = known

    async def Export(self, stream: Any) -> None:  # noqa: N802
        request: ExportTraceServiceRequest = await stream.recv_message()
        refused = sum(not self._known.add(trace, span) for trace, span in spans.reported(request.resource_spans))
        response = ExportTraceServiceResponse()
        if refused:
            response.partial_success.CopyFrom(
                ExportTracePartialSuccess(rejected_spans=refused, error_message="the trace has too many spans")
            )
        await stream.send_message(response)


class BuildTraces:
    """Writes the trace of each build beside its record. One per daemon; closed before the history is."""

    def __init__(self, history: History, known: Spans, *, patience: float = PATIENCE) -> None:
        self._history = history
        self._known = known
        self._patience = patience
        self._contexts: dict[str, TraceContext] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, ref: str, metadata: Mapping[str, Any]) -> None:
        """A build that a call with this metadata asks for."""
        if timer := self._waiting.pop(ref, None):
            timer.cancel()
        self._contexts[ref] = spans.context_of(ref, str(metadata.get(PARENT, "")))

    def ended(self, ref: str) -> None:
        def due() -> None:
            task = loop.create_task(self._keep_quietly(ref))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop = asyncio.get_running_loop()
        self._waiting[ref] = loop.call_later(self._patience, due)

    async def finalize(self, ref: str) -> None:
        """Write it now, unless it was. NotFoundError, UnavailableError while the build runs."""
        if self._history.running(ref) is not None:
            raise UnavailableError(f"build {ref} is running: its trace is not complete")
        known = await asyncio.to_thread(self._history.attachments.of, ref)
        if NAME not in known:
            await self._keep(ref)

    async def _keep_quietly(self, ref: str) -> None:
        try:
            await self._keep(ref)
        except (NotFoundError, InvalidError):
            pass  # it is no build of the past (any more), or never was one
        except (BoatyardError, OSError) as error:
            log.warning("the trace of build %s is not kept: %s", ref, error)

    async def _keep(self, ref: str) -> None:
        if timer := self._waiting.pop(ref, None):
            timer.cancel()
        context = self._contexts.pop(ref, None) or spans.context_of(ref, "")
        others = any(each.trace == context.trace for each in self._contexts.values())
        told = self._known.of(context.trace) if others else self._known.take(context.trace)
        await run_settled(self._write, ref, context, told)
        self._history.attached(ref)

    def _write(self, ref: str, context: TraceContext, told: list[bytes]) -> None:
        record = self._history.find(ref)
        if record is None or record.internal or record.status == "running":
            raise NotFoundError(f"no build {ref!r} in the history")
        own = spans.of_build(record, self._history.events(ref), context)
        data = b"".join(span + b"\n" for span in (*told, *own))
        self._history.attachments.add(ref, NAME, spans.TYPE, data)

    async def close(self) -> None:
        """What waits is written now."""
        for ref in list(self._waiting):
            await self._keep_quietly(ref)
        if self._tasks:
            await asyncio.wait(self._tasks)
