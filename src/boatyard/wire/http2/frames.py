"""Frames as bytes. Specification: RFC 9113, sections 4, 6 and 7."""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""A client's first bytes (3.4). No HTTP/1.1 request can start with them."""

HEADER = struct.Struct(">HBBBL")
"""Length in two parts, type, flags, stream."""
_WORD = struct.Struct(">L")
_SETTING = struct.Struct(">HL")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65535
DEFAULT_FRAME_SIZE = 16384
MAX_FRAME_SIZE = 2**24 - 1


class Setting(enum.IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(enum.IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ProtocolError(Exception):
    """What the other end sent can't be; the connection ends with `code`."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def error_code(number: int) -> ErrorCode:
    """Unknown ones count as INTERNAL_ERROR (7)."""
    try:
        return ErrorCode(number)
    except ValueError:
        return ErrorCode.INTERNAL_ERROR


def frame_header(length: int, kind: int, flags: int, stream: int) -> bytes:
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_header(len(payload), kind, flags, stream) + payload


def settings(values: Mapping[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def reset(stream: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(last_stream: int, code: ErrorCode, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream, code) + reason.encode())


def read_goaway(payload: bytes) -> tuple[int, ErrorCode, str]:
    """The last stream that was looked at, the code, and what the other end says."""
    last, code = struct.unpack_from(">LL", payload)
    return last & MAX_WINDOW, error_code(code), payload[8:].decode("utf-8", "replace")


def read_word(payload: bytes) -> int:
    return int(_WORD.unpack(payload)[0])


def header_block(block: bytes, stream: int, *, end_stream: bool, frame_size: int) -> bytes:
    """A HEADERS frame, and CONTINUATIONs where it takes more than one."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= frame_size:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    pieces = [block[start : start + frame_size] for start in range(0, len(block), frame_size)]
    frames = [frame(HEADERS, flags, stream, pieces[0])]
    frames += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    return b"".join([*frames, frame(CONTINUATION, END_HEADERS, stream, pieces[-1])])


def without_padding(data: bytes, start: int, stop: int) -> tuple[int, int]:
    """Of a payload from `start` to `stop`, where its content begins and ends."""
    if start == stop or data[start] >= stop - start:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return start + 1, stop - data[start]
