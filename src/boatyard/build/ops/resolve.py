"""The table of ops: which class does which vertex."""

from __future__ import annotations

from boatyard.build.llb import graph
from boatyard.build.llb.graph import Vertex
from boatyard.build.ops.build import BuildStep
from boatyard.build.ops.diff import DiffStep
from boatyard.build.ops.exec import ExecStep
from boatyard.build.ops.file import FileStep
from boatyard.build.ops.merge import MergeStep
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.solver.types import Op, OpResolver
from boatyard.build.source.git import GitStep
from boatyard.build.source.http import HttpStep
from boatyard.build.source.image import ImageStep
from boatyard.build.source.local import LocalStep
from boatyard.build.source.oci_layout import OciLayoutStep
from boatyard.errors import InvalidError, UnsupportedError


def resolver(worker: Worker, build: BuildContext) -> OpResolver:
    """Makes the ops of one build."""

    def resolve(vertex: Vertex) -> Op:
        match vertex.op:
            case graph.ExecOp() as op:
                return ExecStep(vertex, op, worker, build)
            case graph.FileOp() as op:
                return FileStep(vertex, op, worker.layers, worker.contexts)
            case graph.SourceOp() as op:
                return _source(vertex, op, worker, build)
            case graph.MergeOp() as op:
                return MergeStep(op, worker.layers)
            case graph.DiffOp() as op:
                return DiffStep(op, worker.layers)
            case graph.BuildOp() as op:
                return BuildStep(vertex, op, build)
            case graph.PassthroughOp():
                raise UnsupportedError("passthrough ops are not supported yet")

    return resolve


def _source(vertex: Vertex, op: graph.SourceOp, worker: Worker, build: BuildContext) -> Op:
    scheme = op.identifier.partition("://")[0]
    platform = vertex.platform or worker.platform
    match scheme:
        case "docker-image":
            return ImageStep(op.identifier, op.attrs, platform, worker.images, build.requester)
        case "local":
            return LocalStep(op.identifier, op.attrs, build.requester, worker.layers, worker.contexts)
        case "git":
            return GitStep(op.identifier, op.attrs, build.requester, worker.layers, worker.directory, worker.occupancy)
        case "http" | "https":
            return HttpStep(op.identifier, op.attrs, build.requester, worker.layers, worker.directory, worker.occupancy)
        case "oci-layout":
            return OciLayoutStep(op.identifier, op.attrs, platform, build.requester, worker.images, worker.layers)
        case "docker-image+blob" | "oci-layout+blob":
            raise UnsupportedError(f"{scheme} sources are not supported yet")
    raise InvalidError(f"unknown source {op.identifier!r}")
