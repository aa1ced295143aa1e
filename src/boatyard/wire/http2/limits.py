"""What one HTTP/2 connection may cost, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """Seconds and bytes. A client that doesn't *read* is never cut off, unless it makes us answer all the while."""

    streams: int = 256
    """That the other end may have open at once."""
    header_bytes: int = 65536
    """Of one header list, compressed or not."""
    frame_bytes: int = 131072
    """The largest frame that is taken."""
    stream_window: int = 1 << 20
    """What is read ahead of a stream's reader."""
    connection_window: int = 16 << 20
    """Of all streams together; at least 65,535."""
    unread: int = 16 << 20
    """What all streams of a connection may hold unread before the other end is held up."""
    handshake_timeout: float = 10.0
    """Until the preface and SETTINGS have come, and from the first byte of a header list to its last."""
    unsent: int = 4 << 20
    """Of answers that nobody asked to wait for (PING, SETTINGS, resets), while the other end doesn't read."""
    resets: int = 1000
    """Streams that are begun and given up, before RESETS_A_SECOND more."""
    resets_a_second: float = 100.0
    settings: int = 100
    """SETTINGS frames at once, before SETTINGS_A_SECOND more."""
    settings_a_second: float = 10.0
    linger: float = 2.0
    """How long an ended connection is read from, so that the reason arrives."""
