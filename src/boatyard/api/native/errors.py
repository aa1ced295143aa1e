"""Errors as HTTP answers. The only place that knows which status a class of error has."""

from __future__ import annotations

from boatyard import errors
from boatyard.client.documents.envelope import ErrorAnswer
from boatyard.client.failure import describe
from boatyard.progress import encode

_STATUSES: tuple[tuple[type[errors.BoatyardError], int], ...] = (
    (errors.InvalidError, 400),
    (errors.DeniedError, 403),
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.LayerError, 422),
    (errors.BuildError, 422),
    (errors.CancelledBuildError, 409),
    (errors.UnsupportedError, 501),
    (errors.UnavailableError, 503),
    (errors.StorageError, 507),
)


def status_of(error: BaseException) -> int:
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def body_of(error: BaseException) -> bytes:
    return encode(ErrorAnswer(error=describe(error)))
