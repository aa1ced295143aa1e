"""What travels beside messages: names and values in header lists, and the status of a call."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import quote, unquote

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline
from multidict import MultiDict

from boatyard._pb.wellknown import Any
from boatyard.wire.grpc import details
from boatyard.wire.http2.frames import ErrorCode
from boatyard.wire.http2.headers import Headers
from boatyard.wire.http2.stream import StreamClosedError

CONTENT_TYPE = "application/grpc"
Value = str | bytes
Metadata = MultiDict[Value]
MetadataLike = Mapping[str, Value] | Collection[tuple[str, Value]]

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
_RESERVED = frozenset(("te", "content-type", "user-agent"))
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

_OF_HTTP = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}
_OF_STREAM = {
    ErrorCode.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCode.CONNECT_ERROR: Status.UNAVAILABLE,
    ErrorCode.CANCEL: Status.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}


def read_metadata(headers: Headers) -> Metadata:
    """Those fields that are the application's. ValueError for a binary one that is no base64."""
    metadata: Metadata = MultiDict()
    for name, value in headers:
        if name[0:1] == ":" or name in _RESERVED or name.startswith("grpc-"):
            continue
        if name.endswith("-bin"):
            metadata.add(name, details.decode_binary(value))
        else:
            metadata.add(name, value)
    return metadata


def write_metadata(metadata: MetadataLike | None) -> Headers:
    """ValueError for names that are reserved, and values that no header can hold."""
    if not metadata:
        return []
    headers = []
    for name, value in metadata.items() if isinstance(metadata, Mapping) else metadata:
        if name in _RESERVED or name.startswith("grpc-") or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't be the name of metadata")
        if name.endswith("-bin") != isinstance(value, bytes):
            raise ValueError(f"metadata {name!r}: bytes are for names that end in -bin, and only for them")
        if isinstance(value, bytes):
            headers.append((name, details.encode_binary(value)))
        elif _VALUE.fullmatch(value):
            headers.append((name, value))
        else:
            raise ValueError(f"metadata {name!r}: {value!r} is not printable ASCII")
    return headers


def read_deadline(fields: Mapping[str, str]) -> Deadline | None:
    """ValueError for a malformed one."""
    value = fields.get("grpc-timeout")
    if value is None:
        return None
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise ValueError(f"{value[:40]!r} is no timeout")
    return Deadline.from_timeout(int(match[1]) * _UNITS[match[2]])


def write_timeout(seconds: float) -> str:
    """At most eight digits."""
    for unit in "num":
        if seconds < 99_999_999 * _UNITS[unit]:
            return f"{max(int(seconds / _UNITS[unit]), 1)}{unit}"
    return f"{min(int(seconds), 99_999_999)}S"


def write_status(status: Status, message: str, attached: Collection[Any] | None) -> Headers:
    headers = [("grpc-status", str(status.value))]
    if message:
        headers.append(("grpc-message", quote(message, safe=_PLAIN)))
    if attached:
        headers.append((details.HEADER, details.encode(status.value, message, list(attached))))
    return headers


def read_status(headers: Headers) -> GRPCError | None:
    """How a call ended; None when it succeeded."""
    fields = dict(headers)
    try:
        status = Status(int(fields.get("grpc-status", "")))
    except ValueError:
        return GRPCError(Status.UNKNOWN, f"the other end told no status: {fields.get('grpc-status')!r}")
    if status is Status.OK:
        return None
    attached = details.decode(fields[details.HEADER]) if details.HEADER in fields else None
    return GRPCError(status, unquote(fields.get("grpc-message", ""), errors="replace"), attached)


def http_problem(headers: Headers) -> GRPCError | None:
    """Why the first headers of an answer aren't gRPC's."""
    fields = dict(headers)
    code = fields.get(":status", "")
    if code != "200":
        return GRPCError(_OF_HTTP.get(code, Status.UNKNOWN), f"the other end answered with HTTP status {code!r}")
    kind = fields.get("content-type", "")
    if not is_grpc(kind):
        return GRPCError(Status.UNKNOWN, f"the other end answered with {kind or 'no content type'}, not with gRPC")
    return None


def is_grpc(content_type: str) -> bool:
    """Messages may be said to be protobuf; nothing else is spoken here."""
    kind = content_type.partition(";")[0].strip()
    return kind in (CONTENT_TYPE, CONTENT_TYPE + "+proto")


def broken_off(error: StreamClosedError) -> GRPCError:
    return GRPCError(_OF_STREAM.get(error.code, Status.INTERNAL), str(error))
