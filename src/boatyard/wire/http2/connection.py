"""One HTTP/2 connection, either end, over any asyncio transport.

Frames that carry data are taken apart and put together without a copy more than needed: a build's context of thousands
of files comes through. The rest is rare, and handled where it is clearest. Whatever the other end sends, this costs
what `Http2Limits` says and no more; what can't be, ends the connection with a reason in a GOAWAY.

Specification: RFC 9113. Knows nothing of what streams are for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from boatyard.wire.http2 import frames
from boatyard.wire.http2.allowance import Allowance
from boatyard.wire.http2.block import HeaderBlock
from boatyard.wire.http2.frames import ErrorCode, ProtocolError, Setting
from boatyard.wire.http2.headers import Headers
from boatyard.wire.http2.limits import Http2Limits
from boatyard.wire.http2.outgoing import Outgoing
from boatyard.wire.http2.stream import Stream, StreamClosedError

log = logging.getLogger(__name__)

_HEADER_SIZE = frames.HEADER.size
_STREAMS_BEFORE_SETTINGS = 100
"""What a server takes for sure is known with its SETTINGS only."""
_GONE = ErrorCode.CONNECT_ERROR
"""Nobody sends this one over a connection that still stands."""


class Connection(asyncio.Protocol):
    """Lives as long as its transport. Used on its event loop only."""

    def __init__(
        self,
        *,
        client: bool,
        limits: Http2Limits,
        make_stream: Callable[[Connection, int], Stream],
        on_lost: Callable[[Connection], None] | None = None,
    ) -> None:
        """`make_stream` makes the streams that the other end begins; `on_lost` hears of the end."""
        self.client = client
        self.limits = limits
        self.out = Outgoing()
        self._make_stream = make_stream
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self.transport = cast(asyncio.Transport, None)
        self.streams: dict[int, Stream] = {}
        self.refuse_streams = False
        """More than the streams that are open: the owner is still busy with closed ones."""
        self.peer_streams: int | None = _STREAMS_BEFORE_SETTINGS
        """How many the other end takes."""
        self.ended: StreamClosedError | None = None
        """Why there can be no new streams."""
        # Receiving
        self.unread = 0
        """Bytes that streams hold and nobody has read."""
        self.withheld = False
        """Too much is unread for the other end to send more."""
        self.initial_receive_window = max(limits.stream_window, frames.DEFAULT_WINDOW)
        """Of new streams. Until the other end has our SETTINGS, it may take the window for the default."""
        self._receive_window = frames.DEFAULT_WINDOW
        self._preface = b"" if client else frames.PREFACE
        self._incoming = b""
        self._block = HeaderBlock(limits.header_bytes)
        self._last_remote = 0
        self._next_local = 1 if client else 2
        self._room_for_stream: asyncio.Future[None] | None = None
        # Life
        self._settled = False
        self._draining = False
        self._failed = False
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._resets = Allowance(limits.resets, limits.resets_a_second)
        self._settings = Allowance(limits.settings, limits.settings_a_second)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.out.connect(self.transport)
        limits = self.limits
        settings = {
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_FRAME_SIZE: limits.frame_bytes,
            Setting.MAX_HEADER_LIST_SIZE: limits.header_bytes,
        }
        if self.client:
            self.out.write(frames.PREFACE)
            settings[Setting.ENABLE_PUSH] = 0
        else:
            settings[Setting.MAX_CONCURRENT_STREAMS] = limits.streams
        self.out.write(frames.settings(settings))
        if limits.connection_window > frames.DEFAULT_WINDOW:
            self.out.write(frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW))
            self._receive_window = limits.connection_window
        self._arm("the other end doesn't speak HTTP/2: its SETTINGS did not come in time")
        self._wake_opener()

    def data_received(self, data: bytes) -> None:
        if self._preface and not self._failed:
            data = self._take_preface(data)
        if self._failed:
            return
        if self._incoming:
            data = self._incoming + data
        try:
            position = self._take_frames(data)
        except ProtocolError as error:
            self.fail(error.code, str(error))
            return
        self._incoming = data[position:] if position < len(data) else b""

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.out.paused = True

    def resume_writing(self) -> None:
        self.out.paused = False
        self.out.wake_blocked()
        self._wake_opener()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self.out.closed = True
        self._disarm()
        self._end(StreamClosedError(f"the connection was lost: {exc}" if exc else "the connection was closed", _GONE))
        if self._on_lost is not None:
            self._on_lost(self)

    # What the owner calls

    @property
    def lost(self) -> bool:
        return self._lost

    async def open_stream(self, make: Callable[[Connection, int], Stream], headers: Headers, *, end: bool) -> Stream:
        """Begin an exchange. Waits until it is connected, and while the other end takes no more of them.
        StreamClosedError when the connection has ended."""
        while self.ended is None and (
            self.transport is None
            or self.out.paused
            or (self.peer_streams is not None and len(self.streams) >= self.peer_streams)
        ):
            if self._room_for_stream is None or self._room_for_stream.done():
                self._room_for_stream = self._loop.create_future()
            await asyncio.shield(self._room_for_stream)
        if self.ended is not None:
            raise self.ended.with_traceback(None)
        number = self._next_local
        self._next_local += 2
        if number > frames.MAX_WINDOW:
            raise StreamClosedError("the connection has had all the streams that it can have", ErrorCode.REFUSED_STREAM)
        stream = make(self, number)
        self.streams[number] = stream
        self.send_headers(stream, headers, end=end)
        return stream

    def drain(self, reason: str = "") -> None:
        """Begin nothing more; close when all streams have ended."""
        if self._draining or self._lost:
            return
        self._draining = True
        if self.ended is None:
            self.out.write(frames.goaway(self._last_remote, ErrorCode.NO_ERROR, reason))
        self._close_if_drained()

    def fail(self, code: ErrorCode, reason: str) -> None:
        """End it at once, and say why."""
        if self._lost or self._failed:
            return
        log.debug("ending an HTTP/2 connection: %s (%s)", reason, code.name)
        self._say_goodbye(code, reason, StreamClosedError(reason, code))
        # Closing at once would reset what was just sent, on some sockets: what comes is read and dropped for a while.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._disarm()
        self._timer = self._loop.call_later(self.limits.linger, self.transport.abort)

    def close(self) -> None:
        """Say goodbye and close. Streams that are open fail."""
        if self._lost or self._failed:
            return
        self._say_goodbye(ErrorCode.NO_ERROR, "", StreamClosedError("the connection was closed", _GONE))
        self.transport.close()

    def abort(self) -> None:
        if not self._lost:
            self.transport.abort()

    # What streams call

    def send_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None:
        self.out.headers(stream.id, headers, end=end)
        if end:
            self._local_end(stream)

    def send_data(self, stream: Stream, prefix: bytes, data: bytes | memoryview, *, end: bool) -> None:
        """Both together. At most as much as the windows allow."""
        self.out.data(stream, prefix, data, end=end)
        if end:
            self._local_end(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        self._answer(frames.reset(stream.id, code))
        self._forget(stream)

    def grant(self, stream: Stream, size: int) -> None:
        stream.receive_window += size
        if stream.closed is None:
            self.out.write(frames.window_update(stream.id, size))

    def grant_connection(self) -> None:
        """Give back what has arrived, whoever has read it, unless too much of it is unread: then one stream that is
        not read would hold up all others."""
        used = self.limits.connection_window - self._receive_window
        self.withheld = self.unread > self.limits.unread
        if not self.withheld and used >= self.limits.connection_window // 4:
            self._receive_window += used
            self.out.write(frames.window_update(0, used))

    # Receiving

    def _take_preface(self, data: bytes) -> bytes:
        """The bytes behind it; with something else in its place, the connection ends."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            self._preface = b""
            self.fail(ErrorCode.PROTOCOL_ERROR, "the other end doesn't speak HTTP/2: it did not begin with the preface")
            return b""
        self._preface = self._preface[size:]
        return data[size:]

    def _take_frames(self, data: bytes) -> int:
        """All that are whole. Returns where the rest begins."""
        position = 0
        end = len(data)
        streams = self.streams
        unpack = frames.HEADER.unpack_from
        most = self.limits.frame_bytes
        while end - position >= _HEADER_SIZE:
            high, low, kind, flags, number = unpack(data, position)
            length = high << 8 | low
            if length > most:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes is longer than {most}")
            start = position + _HEADER_SIZE
            stop = start + length
            if stop > end:
                break
            position = stop
            if kind == frames.DATA and self._settled and not self._block.open:
                number &= frames.MAX_WINDOW
                self._receive_window -= length
                if self._receive_window < 0:
                    raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window allows")
                stream = streams.get(number)
                if stream is None or stream.remote_closed:
                    self._late_data(number)
                    continue
                stream.receive_window -= length
                if stream.receive_window < 0:
                    self._refuse(stream, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window allows")
                    continue
                if flags & frames.PADDED:
                    start, stop = frames.without_padding(data, start, stop)
                self.unread += length
                stream.held += length
                stream.data_received(data, start, stop)
                if flags & frames.END_STREAM:
                    self._remote_end(stream)
            else:
                self._take_frame(kind, flags, number & frames.MAX_WINDOW, data[start:stop])
                if self._failed or self._lost:
                    return end
        if self._receive_window < self.limits.connection_window * 3 // 4:
            self.grant_connection()
        return position

    def _take_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self._settled and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if self._block.open and (kind != frames.CONTINUATION or number != self._block.stream):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "another frame within a header list")
        if kind == frames.HEADERS:
            self._take_headers(self._block.begin(flags, number, payload))
        elif kind == frames.CONTINUATION:
            self._take_headers(self._block.go_on(flags, payload))
        elif kind == frames.WINDOW_UPDATE:
            self._take_window_update(number, payload)
        elif kind == frames.RST_STREAM:
            self._take_reset(number, payload)
        elif kind == frames.SETTINGS:
            self._take_settings(flags, number, payload)
        elif kind == frames.PING:
            if number or len(payload) != 8:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR if number else ErrorCode.FRAME_SIZE_ERROR, "a wrong PING")
            if not flags & frames.ACK:
                self._answer(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY:
            self._take_goaway(number, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which nobody allowed")
        elif kind == frames.PRIORITY and (len(payload) != 5 or not number):
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a wrong PRIORITY")
        # Others are extensions, to be ignored (4.1).

    def _late_data(self, number: int) -> None:
        """For a stream that has ended: what was under way may still come."""
        if number == 0 or self._is_idle(number):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"data for stream {number}, which was never begun")
        stream = self.streams.get(number)
        if stream is not None:
            self._refuse(stream, ErrorCode.STREAM_CLOSED, "data after the end of the stream")

    def _is_idle(self, number: int) -> bool:
        if number % 2 == self._next_local % 2:
            return number >= self._next_local
        return number > self._last_remote

    def _take_headers(self, headers: Headers | None) -> None:
        if headers is None:
            if self._timer is None:
                self._arm("a header list did not arrive in time")
            return
        self._disarm()
        number = self._block.stream
        stream = self.streams.get(number) or self._begun_by_other(number)
        if stream is None:
            return
        if stream.remote_closed:
            self._refuse(stream, ErrorCode.STREAM_CLOSED, "headers after the end of the stream")
            return
        stream.headers_received(headers, end=self._block.ends_stream)
        if self._block.ends_stream:
            self._remote_end(stream)

    def _begun_by_other(self, number: int) -> Stream | None:
        """None when nobody looks at it."""
        if not self._is_idle(number):
            return None  # trailers that were under way when this end reset the stream
        if self.client or number % 2 == 0:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"stream {number} isn't the other end's to begin")
        self._last_remote = number
        if self.ended is not None or self._draining:
            return None  # the GOAWAY says so
        if len(self.streams) >= self.limits.streams or self.refuse_streams:
            self._spend(self._resets, "too many streams that are refused")
            self._answer(frames.reset(number, ErrorCode.REFUSED_STREAM))
            return None
        stream = self.streams[number] = self._make_stream(self, number)
        return stream

    def _take_window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a wrong WINDOW_UPDATE")
        increment = frames.read_word(payload) & frames.MAX_WINDOW
        if number == 0:
            self.out.window += increment
            if not increment or self.out.window > frames.MAX_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a wrong WINDOW_UPDATE")
            self.out.wake_blocked()
            return
        stream = self.streams.get(number)
        if stream is not None:
            stream.send_window += increment
            if not increment or stream.send_window > frames.MAX_WINDOW:
                self._refuse(stream, ErrorCode.FLOW_CONTROL_ERROR, "a wrong WINDOW_UPDATE")
            else:
                stream.wake_writer()
        elif self._is_idle(number):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"a window of stream {number}, which was never begun")

    def _take_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a wrong RST_STREAM")
        if number == 0 or self._is_idle(number):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"a reset of stream {number}, which was never begun")
        stream = self.streams.get(number)
        if stream is None:
            return
        if not self.client:
            self._spend(self._resets, "too many streams that are begun and given up")
        code = frames.error_code(frames.read_word(payload))
        self._forget(stream)
        stream.close(StreamClosedError(f"the other end gave the stream up ({code.name})", code))

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a wrong SETTINGS")
        if flags & frames.ACK:
            self.initial_receive_window = self.limits.stream_window
            return
        self._spend(self._settings, "too many SETTINGS")
        if not self._settled:
            self.peer_streams = None
        for name, value in frames.read_settings(payload):
            self._take_setting(name, value)
        if not self._settled:
            self._settled = True
            self._disarm()
        self._answer(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self.out.wake_blocked()
        self._wake_opener()

    def _take_setting(self, name: int, value: int) -> None:
        if name == Setting.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "an initial window that is too large")
            change = value - self.out.initial_window
            self.out.initial_window = value
            for stream in self.streams.values():
                stream.send_window += change
        elif name == Setting.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME_SIZE <= value <= frames.MAX_FRAME_SIZE:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a frame size that can't be")
            self.out.take_frame_size(value)
        elif name == Setting.MAX_HEADER_LIST_SIZE:
            self.out.header_list = value
        elif name == Setting.MAX_CONCURRENT_STREAMS:
            self.peer_streams = value
        elif name == Setting.ENABLE_PUSH and value > 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a setting that can't be")

    def _take_goaway(self, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a wrong GOAWAY")
        last, code, said = frames.read_goaway(payload)
        reason = "the other end is ending the connection" + (f": {said}" if said else "")
        self.ended = StreamClosedError(reason, ErrorCode.REFUSED_STREAM if code is ErrorCode.NO_ERROR else code)
        self._wake_opener()
        for stream in [one for one in self.streams.values() if one.id % 2 == self._next_local % 2 and one.id > last]:
            self._forget(stream)
            stream.close(self.ended)
        self._draining = True
        self._close_if_drained()

    def _answer(self, data: bytes) -> None:
        """What waits for nobody: a client that makes us send such and doesn't read must not fill memory."""
        if self.out.paused and self.transport.get_write_buffer_size() > self.limits.unsent:
            self.fail(ErrorCode.ENHANCE_YOUR_CALM, "the other end makes us answer and doesn't read")
            self.abort()  # nor would it read why
        self.out.write(data)

    def _spend(self, allowance: Allowance, reason: str) -> None:
        if not allowance.spend():
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, reason)

    def _refuse(self, stream: Stream, code: ErrorCode, reason: str) -> None:
        """End a stream on which the other end did what it must not. As many as it may give up, not more."""
        self._spend(self._resets, "too many streams that had to be ended")
        stream.reset(code, reason)

    # Ends

    def _local_end(self, stream: Stream) -> None:
        stream.local_closed = True
        if stream.remote_closed:
            self._forget(stream)

    def _remote_end(self, stream: Stream) -> None:
        if stream.closed is not None:
            return
        stream.remote_closed = True
        if stream.local_closed:
            self._forget(stream)
        stream.ended()

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        self._wake_opener()
        if self._draining:
            self._close_if_drained()

    def _close_if_drained(self) -> None:
        if not self.streams and not self._lost and not self._failed:
            self.out.flush()
            self.transport.close()

    def _say_goodbye(self, code: ErrorCode, reason: str, error: StreamClosedError) -> None:
        self.out.write(frames.goaway(self._last_remote, code, reason))
        self.out.flush()
        self._failed = self.out.closed = True
        self._incoming = b""
        self._end(error)

    def _end(self, error: StreamClosedError) -> None:
        if self.ended is None:
            self.ended = error
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            stream.close(error)
        self._wake_opener()

    def _wake_opener(self) -> None:
        if self._room_for_stream is not None and not self._room_for_stream.done():
            self._room_for_stream.set_result(None)

    def _arm(self, reason: str) -> None:
        self._disarm()
        self._timer = self._loop.call_later(
            self.limits.handshake_timeout, self.fail, ErrorCode.SETTINGS_TIMEOUT, reason
        )

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
