"""Errors as documents and back: the class that is raised in the daemon is raised in the client."""

from __future__ import annotations

import msgspec

from boatyard import errors
from boatyard.client.documents.envelope import ErrorDocument, SourceDocument

_MAX_CAUSES = 8

SEE_ITS_LOG = "its log tells why; `boat doctor` names the file"
"""The hint when a daemon went away in the middle of its work."""


def describe(error: BaseException, *, _depth: int = 0) -> ErrorDocument:
    """An error that isn't one of ours becomes a plain BoatyardError that names the class: a defect, told as one."""
    if not isinstance(error, errors.BoatyardError):
        return ErrorDocument(
            kind="BoatyardError",
            message=f"internal error: {type(error).__name__}: {error}",
            hint="this is a defect in Boatyard; the daemon's log has the details",
        )
    source = error.source if isinstance(error, errors.BuildError) else None
    cause = error.__cause__ if isinstance(error.__cause__, errors.BoatyardError) and _depth < _MAX_CAUSES else None
    return ErrorDocument(
        kind=type(error).__name__,
        message=error.message,
        hint=error.hint or "",
        source=None
        if source is None
        else SourceDocument(filename=source.filename, text=source.text, start=source.start, end=source.end),
        exit_code=error.exit_code if isinstance(error, errors.ExitError | errors.ExecutableError) else None,
        vertex=error.vertex if isinstance(error, errors.SolveError) else "",
        vertex_name=error.vertex_name if isinstance(error, errors.SolveError) else "",
        cause=None if cause is None else describe(cause, _depth=_depth + 1),
    )


def without_sources(document: ErrorDocument) -> ErrorDocument:
    """Without the texts of files, which may be long, where these are told beside it."""
    cause = document.cause and without_sources(document.cause)
    return msgspec.structs.replace(document, source=None, cause=cause)


def restore(document: ErrorDocument) -> errors.BoatyardError:
    """An unknown kind (a newer daemon) becomes its nearest known base, BoatyardError."""
    error = _restore(document)
    if document.cause is not None:
        error.__cause__ = restore(document.cause)
    return error


def _restore(document: ErrorDocument) -> errors.BoatyardError:
    hint = document.hint or None
    found = getattr(errors, document.kind, None)
    if not (isinstance(found, type) and issubclass(found, errors.BoatyardError)):
        return errors.BoatyardError(document.message, hint=hint)
    if issubclass(found, errors.ExecutableError):
        return found(document.message, exit_code=document.exit_code or 127, hint=hint)
    if not issubclass(found, errors.BuildError):
        return found(document.message, hint=hint)
    source = document.source
    excerpt = None if source is None else errors.SourceExcerpt(source.filename, source.text, source.start, source.end)
    if issubclass(found, errors.ExitError):
        return found(document.message, exit_code=document.exit_code or 1, hint=hint, source=excerpt)
    if issubclass(found, errors.SolveError):
        return found(
            document.message, vertex=document.vertex, vertex_name=document.vertex_name, hint=hint, source=excerpt
        )
    return found(document.message, hint=hint, source=excerpt)
