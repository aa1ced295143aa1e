"""The descriptor pool of this package's messages, and Google's well-known types in it.

Not protobuf's default pool: that one takes each full name once a process, and a program that uses our library may have
the same messages (google.rpc.Status, grpc.health.v1, OTLP, LLB) from another package.
"""

from __future__ import annotations

from google.protobuf import any_pb2, empty_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()

for module in (any_pb2, empty_pb2, field_mask_pb2, timestamp_pb2):
    POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
