"""Builds of the past as BuildKit's records, whose logs, errors and results are blobs (`content.py` serves them).

What a record names is made when somebody first asks for the record, and kept beside it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec

from boatyard._pb.control_pb2 import (
    BuildHistoryEvent,
    BuildHistoryEventType,
    BuildHistoryRecord,
    BuildHistoryRequest,
    BuildResultInfo,
    Descriptor,
    Exporter,
)
from boatyard._pb.status_pb2 import Status
from boatyard.api.buildkit import errors, provenance, values
from boatyard.api.buildkit.filters import matcher
from boatyard.api.buildkit.status import RECORDED, StatusMessages, framed
from boatyard.build.attachments import Attachment
from boatyard.build.history import Change, History
from boatyard.build.recording import BuildRecord
from boatyard.errors import BoatyardError, InvalidError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image.content.store import Provider
from boatyard.image.platform import host_platform

log = logging.getLogger(__name__)

ERROR_TYPE = "application/vnd.googeapis.google.rpc.status+proto"
"""It is spelled like that."""
LOGS, ERROR, TRACE, PROVENANCE = "logs", "error", "trace", "provenance"
_DESCRIPTOR = "containerimage.descriptor"
_MOST_DOCUMENTS = 64


class Records:
    """Makes messages of records. One per daemon. `content` has the images that builds made."""

    def __init__(self, history: History, content: Provider) -> None:
        self._history = history
        self._content = content

    async def listen(self, request: BuildHistoryRequest) -> AsyncGenerator[BuildHistoryEvent, None]:
        """Running builds, builds of the past, newest first, and then what changes."""
        wanted = matcher(request.Filter, time.time())
        if request.Limit < 0:
            raise InvalidError(f"invalid limit {request.Limit}")
        watcher = self._history.watch()
        try:
            records = await asyncio.to_thread(self._known, request.Ref)
            running = [record for record in records if record.status == "running"]
            for record in running:
                yield self._event(BuildHistoryEventType.STARTED, record)
            if not request.ActiveOnly:
                ended = [record for record in records if record.status != "running" and wanted(record)]
                for record in ended[: request.Limit or None]:
                    yield await self._ended(record)
            while not request.EarlyExit:
                for ref, change in await watcher.take():
                    if (not request.Ref or ref == request.Ref) and (event := await self._changed(ref, change)):
                        yield event
        finally:
            self._history.unwatch(watcher)

    def _known(self, ref: str) -> Sequence[BuildRecord]:
        if not ref:
            return self._history.records()
        try:
            found = self._history.find(ref)
        except InvalidError:
            return []  # nothing has such a name
        return [found] if found is not None and not found.internal else []

    async def _changed(self, ref: str, change: Change) -> BuildHistoryEvent | None:
        if change is Change.DELETED:
            return BuildHistoryEvent(type=BuildHistoryEventType.DELETED, record=BuildHistoryRecord(Ref=ref))
        record = await asyncio.to_thread(self._history.find, ref)
        if record is None:
            return None  # deleted since; that is told next
        if change is Change.STARTED and record.status == "running":
            return self._event(BuildHistoryEventType.STARTED, record)
        return await self._ended(record)

    async def _ended(self, record: BuildRecord) -> BuildHistoryEvent:
        message = await asyncio.to_thread(self.complete, record)
        return BuildHistoryEvent(type=BuildHistoryEventType.COMPLETE, record=message)

    def _event(self, type: BuildHistoryEventType, record: BuildRecord) -> BuildHistoryEvent:
        return BuildHistoryEvent(type=type, record=_message(record))

    def complete(self, record: BuildRecord) -> BuildHistoryRecord:
        """An ended build with all that it names. Blocks."""
        message = _message(record)
        try:
            known = self._attached(record)
        except BoatyardError as error:
            log.warning("the record of build %s is not complete: %s", record.ref, error)
            known = {}
        for name, field in ((LOGS, message.logs), (TRACE, message.trace), (ERROR, message.externalError)):
            if name in known:
                field.CopyFrom(_descriptor(known[name]))
        if record.status not in ("completed", "running"):
            message.error.CopyFrom(_brief(self._error(record)))
        if target := _target(record):
            result = Descriptor(
                media_type=target.media_type,
                digest=target.digest,
                size=target.size,
                annotations=target.annotations,
            )
            message.Result.CopyFrom(BuildResultInfo(ResultDeprecated=result, Results={0: result}))
        for name, attachment in known.items():
            kind, _, platform = name.partition("/")
            if kind == PROVENANCE:
                info = message.Results[platform] if platform else message.Result
                info.Attestations.append(_descriptor(attachment))
        return message

    def _attached(self, record: BuildRecord) -> dict[str, Attachment]:
        """What belongs to a record, made where it isn't there yet."""
        attachments = self._history.attachments
        known = dict(attachments.of(record.ref))
        if LOGS not in known:
            known[LOGS] = attachments.add(record.ref, LOGS, RECORDED, self._logs(record.ref))
        if ERROR not in known and record.status in ("failed", "interrupted"):
            document = self._error(record).SerializeToString()
            known[ERROR] = attachments.add(record.ref, ERROR, ERROR_TYPE, document)
        if record.status == "completed" and not any(name.partition("/")[0] == PROVENANCE for name in known):
            self._add_provenance(record, known)
        if (target := _target(record)) and f"result/{target.digest}" not in known:
            self._keep_documents(record.ref, target)
        return known

    def _add_provenance(self, record: BuildRecord, known: dict[str, Attachment]) -> None:
        try:
            graphs = self._history.graphs(record.ref)
        except NotFoundError:
            return  # nothing was built
        for platform, document in provenance.of_build(record, graphs, host_platform()):
            name = f"{PROVENANCE}/{platform}" if platform else PROVENANCE
            known[name] = self._history.attachments.add(
                record.ref, name, provenance.TYPE, document, provenance.ANNOTATIONS
            )

    def _logs(self, ref: str) -> bytes:
        messages = StatusMessages(lambda: self._history.sources(ref))
        events = list(self._history.events(ref))
        return b"".join(framed(messages.of(events)))

    def _error(self, record: BuildRecord) -> Status:
        return errors.of_record(record, dict(self._history.sources(record.ref)), self._history.failure(record.ref))

    def _keep_documents(self, ref: str, target: spec.Descriptor) -> None:
        """The image may be removed, and its manifest and config with it: here, they stay readable."""
        waiting = [target]
        for _ in range(_MOST_DOCUMENTS):
            if not waiting:
                return
            descriptor = waiting.pop()
            try:
                data = documents.read_bytes(self._content, descriptor)
            except NotFoundError:
                continue  # it is gone already
            self._history.attachments.add(ref, f"result/{descriptor.digest}", descriptor.media_type, data)
            if descriptor.media_type in spec.INDEXES:
                waiting += documents.parse_index(data).manifests
            elif descriptor.media_type in spec.MANIFESTS:
                waiting.append(documents.parse_manifest(data).config)


def _message(record: BuildRecord) -> BuildHistoryRecord:
    options = {name: value for name, value in record.options.items() if name != "frontend"}
    return BuildHistoryRecord(
        Ref=record.ref,
        Frontend=record.frontend,
        FrontendAttrs=options,
        Exporters=[
            Exporter(Type=export.get("type", ""), Attrs=values.without(export, "type")) for export in record.exports
        ],
        CreatedAt=values.timestamp(record.created),
        CompletedAt=values.timestamp(record.completed),
        ExporterResponse=record.response,
        Generation=record.generation,
        pinned=record.pinned,
        numCachedSteps=record.cached_steps,
        numTotalSteps=record.steps,
        numCompletedSteps=record.completed_steps,
        numWarnings=record.warnings,
    )


def _descriptor(attachment: Attachment) -> Descriptor:
    return Descriptor(
        media_type=attachment.media_type,
        digest=attachment.digest,
        size=attachment.size,
        annotations=attachment.annotations,
    )


def _target(record: BuildRecord) -> spec.Descriptor | None:
    data = record.response.get(_DESCRIPTOR)
    if not data:
        return None
    try:
        return msgspec.json.decode(data, type=spec.Descriptor)
    except msgspec.MsgspecError as error:
        log.warning("build %s names a result that can't be read: %s", record.ref, error)
        return None


def _brief(status: Status) -> Status:
    """Details may be large: they are in the blob."""
    return Status(code=status.code, message=status.message)
