"""Errors of calls to a client, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from boatyard.errors import (
    BoatyardError,
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)

_KINDS: dict[Status, type[BoatyardError]] = {
    Status.NOT_FOUND: NotFoundError,
    Status.ALREADY_EXISTS: ConflictError,
    Status.PERMISSION_DENIED: DeniedError,
    Status.UNAUTHENTICATED: DeniedError,
    Status.UNIMPLEMENTED: UnsupportedError,
    Status.INVALID_ARGUMENT: InvalidError,
    Status.FAILED_PRECONDITION: InvalidError,
    Status.OUT_OF_RANGE: InvalidError,
    Status.RESOURCE_EXHAUSTED: StorageError,
    Status.DATA_LOSS: IntegrityError,
}


@contextmanager
def told(what: str) -> Iterator[None]:
    """`what` couldn't be done: "the client can't send the directory 'context'"."""
    try:
        yield
    except GRPCError as error:
        kind = _KINDS.get(error.status, UnavailableError)
        raise kind(f"{what}: {error.message or error.status.name.lower().replace('_', ' ')}") from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise UnavailableError(f"{what}: its session broke off ({error})") from error
    except TimeoutError as error:
        raise UnavailableError(f"{what}: it did not answer in time") from error
