"""A header list as it arrives: in a HEADERS frame, and CONTINUATIONs where it is long."""

from __future__ import annotations

from boatyard.wire.http2 import frames
from boatyard.wire.http2.frames import ErrorCode, ProtocolError
from boatyard.wire.http2.headers import Decoder, HeaderError, Headers, HeaderSizeError

_MAX_CONTINUATIONS = 64


class HeaderBlock:
    """One per connection: lists come one at a time, and each depends on those before it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._decoder = Decoder(most)
        self._pieces: list[bytes] = []
        self.open = False
        """Between a HEADERS frame and the end of its list; nothing else may come then."""
        self.stream = 0
        self.ends_stream = False

    def begin(self, flags: int, number: int, payload: bytes) -> Headers | None:
        """The list, when it is whole. ProtocolError when it can't be."""
        if not number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a header list for no stream")
        start, stop = 0, len(payload)
        if flags & frames.PADDED:
            start, stop = frames.without_padding(payload, start, stop)
        if flags & frames.PRIORITISED:
            start += 5
        if start > stop:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a wrong HEADERS")
        self.open = True
        self.stream = number
        self.ends_stream = bool(flags & frames.END_STREAM)
        self._pieces = [payload[start:stop]]
        return self._whole(flags)

    def go_on(self, flags: int, payload: bytes) -> Headers | None:
        """The same, with a CONTINUATION's bytes."""
        if not self.open:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        self._pieces.append(payload)
        return self._whole(flags)

    def _whole(self, flags: int) -> Headers | None:
        if len(self._pieces) > _MAX_CONTINUATIONS or sum(map(len, self._pieces)) > self._most:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, f"a header list of over {self._most} bytes")
        if not flags & frames.END_HEADERS:
            return None
        self.open = False
        try:
            return self._decoder.decode(b"".join(self._pieces))
        except HeaderSizeError as error:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except HeaderError as error:
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
