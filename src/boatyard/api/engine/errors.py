"""Errors as Docker's API tells them. The only place that knows which status a class of error has there."""

from __future__ import annotations

import msgspec

from boatyard import errors
from boatyard.progress import printable

_STATUSES: tuple[tuple[type[errors.BoatyardError], int], ...] = (
    (errors.InvalidError, 400),
    (errors.DockerfileError, 400),
    (errors.LayerError, 400),
    (errors.DeniedError, 403),
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.UnsupportedError, 501),
    (errors.UnavailableError, 503),
)


def status_of(error: BaseException) -> int:
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def message_of(error: BaseException) -> str:
    """What and why, and what to do: clients show one text."""
    if not isinstance(error, errors.BoatyardError):
        return f"internal error: {type(error).__name__}; the daemon's log has the details"
    place = ""
    if isinstance(error, errors.DockerfileError) and error.source is not None:
        place = f"{error.source.filename}:{error.source.start}: "
    return printable(f"{place}{error.message}{f' ({error.hint})' if error.hint else ''}")


def body_of(message: str) -> bytes:
    return msgspec.json.encode({"message": message}) + b"\n"
