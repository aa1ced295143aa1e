"""A transfer's line: what, how much of it, how fast."""

from __future__ import annotations

from boatyard.cli import units
from boatyard.progress import StatusEvent


def describe(status: StatusEvent, now: float) -> str:
    """`transferring context: 12.3MB / 40MB 10.1MB/s`, or with the duration and `done` at its end. Statuses without
    bytes are sub-tasks: name and time only."""
    name = status.name if status.name.rstrip().endswith(":") or not status.current else f"{status.name}:"
    started = now if status.started is None else status.started
    elapsed = max((now if status.completed is None else status.completed) - started, 0.0)
    if status.completed is not None:
        amount = f" {units.size(status.current)}" if status.current else ""
        return f"{name}{amount} {units.seconds(elapsed)} done"
    if not status.current and not status.total:
        return name
    total = f" / {units.size(status.total)}" if status.total else ""
    speed = units.speed(status.current, elapsed)
    return f"{name} {units.size(status.current)}{total}{' ' + speed if speed else ''}"
