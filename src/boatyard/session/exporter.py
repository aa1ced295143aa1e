"""Outputs that the client chooses when the result is known. Specification: moby/buildkit, `session/exporter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.exporter_grpc import ExporterStub
from boatyard._pb.exporter_pb2 import FinalizeExportRequest, FindExportersRequest
from boatyard.session.failure import told
from boatyard.session.session import Session

FIND, FINALIZE = "/moby.exporter.v1.Exporter/FindExporters", "/moby.exporter.v1.Exporter/FinalizeExport"


@dataclass(frozen=True, slots=True)
class Chosen:
    type: str
    attrs: Mapping[str, str]


async def find_exporters(session: Session, metadata: Mapping[str, bytes], refs: Sequence[str]) -> list[Chosen]:
    """None if the client doesn't choose."""
    if not session.supports(FIND):
        return []
    with told("the client can't say which outputs it wants"):
        answer = await ExporterStub(session.channel).FindExporters(FindExportersRequest(metadata=metadata, refs=refs))
    return [Chosen(each.Type, dict(each.Attrs)) for each in answer.exporters]


async def finalize(session: Session, response: Mapping[str, str]) -> None:
    """Tell the client what came of its outputs. Nothing happens when it doesn't care."""
    if not session.supports(FINALIZE):
        return
    with told("the client can't finish its outputs"):
        try:
            await ExporterStub(session.channel).FinalizeExport(FinalizeExportRequest(exporter_response=response))
        except GRPCError as error:
            if error.status is not Status.UNIMPLEMENTED:
                raise
