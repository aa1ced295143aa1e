"""What answers HTTP/2 clients where nothing serves HTTP/2: an error that their library shows."""

from __future__ import annotations

import asyncio
import struct
from typing import cast

_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_GOAWAY = 7
_HTTP_1_1_REQUIRED = 13
_TEXT = b"this daemon does not serve HTTP/2 here; use its HTTP/1.1 API"


class Http2Refusal(asyncio.Protocol):
    """An empty SETTINGS frame and a GOAWAY with a reason (RFC 9113, 6.8), then the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        payload = struct.pack("!II", 0, _HTTP_1_1_REQUIRED) + _TEXT
        frame = struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", _GOAWAY, 0, 0) + payload
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_SETTINGS + frame)
        self._transport.write_eof()
        # The client's own frames are read and dropped until it closes: closing first would reset what was just sent.
        self._cut = asyncio.get_running_loop().call_later(2.0, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cut.cancel()
