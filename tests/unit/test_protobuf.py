"""The messages that others define too."""

from __future__ import annotations

import subprocess
import sys

from boatyard._pb import content_grpc, control_grpc, control_pb2, filesync_grpc, gateway_grpc, health_grpc, trace_grpc
from boatyard._pb.wellknown import Timestamp

FOREIGN = """
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

for package, name in (("google.rpc", "Status"), ("grpc.health.v1", "HealthCheckRequest"), ("pb", "Op")):
    file = FileDescriptorProto(name=f"{name}.proto", package=package)
    file.message_type.add(name=name)
    descriptor_pool.Default().Add(file)

from boatyard._pb import control_pb2, health_pb2, status_pb2

assert status_pb2.Status(code=5, message="gone").SerializeToString() == b"\\x08\\x05\\x12\\x04gone"
"""


def test_messages_of_the_same_names_from_other_packages_can_be_in_the_process() -> None:
    subprocess.run([sys.executable, "-c", FOREIGN], check=True)


def test_a_timestamp_in_a_message_has_the_conveniences_of_googles() -> None:
    vertex = control_pb2.Vertex(started=Timestamp(seconds=1))
    vertex.completed.FromNanoseconds(2_000_000_005)
    read = control_pb2.Vertex.FromString(vertex.SerializeToString())
    assert (read.started.ToNanoseconds(), read.completed.nanos) == (1_000_000_000, 5)


def test_services_have_the_paths_that_clients_call() -> None:
    paths: set[str] = set()
    for base in (
        control_grpc.ControlBase,
        gateway_grpc.LLBBridgeBase,
        content_grpc.ContentBase,
        filesync_grpc.FileSyncBase,
        filesync_grpc.FileSendBase,
        health_grpc.HealthBase,
        trace_grpc.TraceServiceBase,
    ):
        methods = {name: (lambda self, stream: None) for name in base.__abstractmethods__}
        paths |= type("Served", (base,), methods)().__mapping__().keys()
    assert {
        "/moby.buildkit.v1.Control/Solve",
        "/moby.buildkit.v1.Control/Session",
        "/moby.buildkit.v1.frontend.LLBBridge/ExecProcess",
        "/containerd.services.content.v1.Content/Delete",
        "/moby.filesync.v1.FileSync/DiffCopy",
        "/moby.filesync.v1.FileSend/DiffCopy",
        "/grpc.health.v1.Health/Watch",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    } <= paths
