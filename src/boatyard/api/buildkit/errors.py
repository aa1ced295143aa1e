"""Errors as gRPC statuses. The only place that knows which code a class of error has.

Codes: a failed build is UNKNOWN, as with BuildKit: clients then show the message alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError

from boatyard import errors
from boatyard._pb.status_pb2 import Status
from boatyard._pb.wellknown import Any
from boatyard.api.buildkit import details
from boatyard.build.recording import BuildRecord
from boatyard.errors import SourceExcerpt
from boatyard.progress import printable

CANCELED = "context canceled"
"""Clients look for these words."""

_CODES: tuple[tuple[type[errors.BoatyardError], Code], ...] = (
    (errors.BuildError, Code.UNKNOWN),
    (errors.InvalidError, Code.INVALID_ARGUMENT),
    (errors.NotFoundError, Code.NOT_FOUND),
    (errors.ConflictError, Code.ALREADY_EXISTS),
    (errors.DeniedError, Code.PERMISSION_DENIED),
    (errors.UnsupportedError, Code.UNIMPLEMENTED),
    (errors.IntegrityError, Code.DATA_LOSS),
    (errors.StorageError, Code.RESOURCE_EXHAUSTED),
    (errors.UnavailableError, Code.UNAVAILABLE),
    (errors.CancelledBuildError, Code.CANCELLED),
)
_MOST_CAUSES = 16


def code_of(error: BaseException) -> Code:
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.UNKNOWN)


def status_of(error: BaseException, extra: Iterable[Any] = ()) -> Status:
    """The whole of an error. `extra` details stand first."""
    if isinstance(error, errors.FrontendError) and error.document:
        return _with(Status.FromString(error.document), extra)
    shown = _shown(error)
    message = printable(str(shown) or type(shown).__name__)
    hint = getattr(error, "hint", None) or getattr(shown, "hint", None)
    if hint:
        message += f"\n({printable(hint)})"
    found = [*extra, *_details(error)]
    if isinstance(error, errors.BoatyardError):
        found.append(details.whole(error))
    return Status(code=code_of(error).value, message=message, details=found)


def grpc_error(error: BaseException, extra: Iterable[Any] = ()) -> GRPCError:
    return raised(status_of(error, extra))


def raised(status: Status) -> GRPCError:
    """A status as it is raised by a method. A frontend may have said anything: OK is no failure."""
    try:
        code = Code(status.code)
    except ValueError:
        code = Code.UNKNOWN
    return GRPCError(Code.UNKNOWN if code is Code.OK else code, status.message, list(status.details))


def translate(error: Exception) -> GRPCError | None:
    """For the gRPC server: None is none of the client's business."""
    return grpc_error(error) if isinstance(error, errors.BoatyardError) else None


def restore(status: Status) -> errors.FrontendError:
    """The failure that a frontend outside of the builder returned."""
    named = details.of_kind(status.details, details.VERTEX)
    told = details.told_whole(status.details)
    return errors.FrontendError(
        (told.message if told else status.message) or "the frontend gave up, and doesn't say why",
        hint=told.hint if told else None,
        document=status.SerializeToString(),
        vertex=str(named[0].get("digest", "")) if named else "",
        source=details.excerpt(status.details),
    )


def of_record(record: BuildRecord, sources: dict[str, str], document: bytes | None) -> Status:
    """Why a build of the past failed. `document`: what a frontend outside of the builder said."""
    if record.status == "cancelled":
        return Status(code=Code.CANCELLED.value, message=CANCELED)
    if record.status == "interrupted":
        return Status(code=Code.ABORTED.value, message="the daemon was killed while the build ran")
    if document:
        return Status.FromString(document)
    kind = getattr(errors, record.error_kind, errors.BoatyardError)
    code = next((code for known, code in _CODES if issubclass(kind, known)), Code.UNKNOWN)
    found = []
    if record.frontend:
        found.append(details.frontend(record.frontend, record.options.get("source", "")))
    if record.exit_code is not None:
        found.append(details.exit_code(record.exit_code))
    if record.failed_vertex:
        found.append(details.vertex(record.failed_vertex))
    if (place := record.error_place) and place.filename in sources:
        found.append(details.source(SourceExcerpt(place.filename, sources[place.filename], place.start, place.end)))
    message = (record.error_reason or record.error) + (f"\n({record.error_hint})" if record.error_hint else "")
    return Status(code=code.value, message=printable(message), details=found)


def _with(status: Status, extra: Iterable[Any]) -> Status:
    return Status(code=status.code, message=status.message, details=[*extra, *status.details])


def _shown(error: BaseException) -> BaseException:
    """A step's name stands beside its failure already: the reason alone is the message."""
    cause = error.__cause__
    return cause if isinstance(error, errors.SolveError) and isinstance(cause, errors.BoatyardError) else error


def _details(error: BaseException) -> Sequence[Any]:
    """Of the error and those that led to it, the innermost first."""
    found: list[Any] = []
    for cause in reversed(_chain(error)):
        match cause:
            case errors.ExitError():
                found.append(details.exit_code(cause.exit_code))
            case errors.SourceDeniedError() if cause.messages:
                found.append(details.denial(cause.messages))
            case errors.MissingCapabilityError():
                found.append(details.capability(cause.name))
            case errors.UnknownQuestionError():
                found.append(details.subrequest(cause.name))
            case errors.SolveError() | errors.FrontendError() if cause.vertex:
                found.append(details.vertex(cause.vertex))
            case _:
                pass
    source = next((each.source for each in _chain(error) if isinstance(each, errors.BuildError) and each.source), None)
    return [*found, details.source(source)] if source else found


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and len(chain) < _MOST_CAUSES:
        chain.append(cause)
    return chain
