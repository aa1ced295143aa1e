"""Google's well-known types as this package's messages hold them: those of `google.protobuf` are others (`pool`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ("Any", "Empty", "FieldMask", "Timestamp")

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.field_mask_pb2 import FieldMask
    from google.protobuf.timestamp_pb2 import Timestamp
else:
    from google.protobuf.message_factory import GetMessageClass

    from boatyard._pb.pool import POOL

    Any, Empty, FieldMask, Timestamp = (
        GetMessageClass(POOL.FindMessageTypeByName(f"google.protobuf.{name}"))
        for name in ("Any", "Empty", "FieldMask", "Timestamp")
    )
