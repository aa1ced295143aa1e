"""The details of errors: typed messages in a google.rpc.Status, in the trailer grpc-status-details-bin."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from boatyard._pb.status_pb2 import Status
from boatyard._pb.wellknown import Any

HEADER = "grpc-status-details-bin"


def encode(code: int, message: str, details: Sequence[Any]) -> str:
    """As the trailer's value."""
    return encode_binary(Status(code=code, message=message, details=details).SerializeToString())


def decode(value: str) -> list[Any]:
    """Of a trailer's value; none when it is damaged, since the error itself is told elsewhere."""
    try:
        return list(Status.FromString(decode_binary(value)).details)
    except (ValueError, DecodeError):
        return []


def encode_binary(value: bytes) -> str:
    """Metadata whose names end in -bin are base64, without padding."""
    return b64encode(value).rstrip(b"=").decode()


def decode_binary(value: str) -> bytes:
    """With padding or without. ValueError when it is no base64."""
    try:
        return b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{value[:40]!r} is no base64") from error
