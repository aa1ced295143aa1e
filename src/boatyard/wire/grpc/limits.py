"""What gRPC may cost, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field

from boatyard.wire.http2.limits import Http2Limits


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    message_bytes: int = 16 << 20
    """Of one message, either way. BuildKit's clients have the same limit."""
    large_bytes: int = 256 << 20
    """Of all messages of a server that are longer than a stream's window and haven't arrived whole."""
    http2: Http2Limits = field(default_factory=Http2Limits)


class Budget:
    """An amount that many draw on. Used on one event loop."""

    def __init__(self, amount: int) -> None:
        self._left = amount

    def take(self, amount: int) -> bool:
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def put_back(self, amount: int) -> None:
        self._left += amount
