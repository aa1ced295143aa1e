"""Errors of this client, as the daemon's calls end with them."""

from __future__ import annotations

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard.errors import (
    BoatyardError,
    CancelledBuildError,
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)

_STATUSES: tuple[tuple[type[BoatyardError], Status], ...] = (
    (NotFoundError, Status.NOT_FOUND),
    (ConflictError, Status.ALREADY_EXISTS),
    (DeniedError, Status.PERMISSION_DENIED),
    (UnsupportedError, Status.UNIMPLEMENTED),
    (InvalidError, Status.INVALID_ARGUMENT),
    (IntegrityError, Status.DATA_LOSS),
    (StorageError, Status.RESOURCE_EXHAUSTED),
    (UnavailableError, Status.UNAVAILABLE),
    (CancelledBuildError, Status.CANCELLED),
)


def status_of(error: BoatyardError) -> GRPCError:
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return GRPCError(status, error.message)
    return GRPCError(Status.UNKNOWN, error.message)
