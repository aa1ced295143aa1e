"""What one connection may cost, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes. A client that doesn't *read* is never cut off (somebody may have stopped a terminal)."""

    header_bytes: int = 65536
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its header."""
    idle_timeout: float = 75.0
    """Without any byte, before a request and between two."""
    body_timeout: float = 300.0
    """Without any byte of a body that is being waited for."""
    body_buffer: int = 262144
    """What is read ahead of the application, of a body or of pipelined requests."""
    linger: float = 2.0
    """How long an answered client may go on sending what nobody reads, before the connection is cut."""
    connections: int = 4000
    """Of one server; one more is answered 503."""
