"""One vocabulary of errors.

    BoatyardError                 everything below; may carry a .hint ("what to do")
    ├── InvalidError              the request or document is malformed: the caller's fault
    │   └── ExecutableError       a program can't be started: not there, or not a program
    ├── NotFoundError             what was named doesn't exist
    ├── ConflictError             it exists already, is in use, or somebody else holds it
    ├── DeniedError               not allowed by policy, entitlement, credentials or the kernel
    │   └── SourceDeniedError     a source policy doesn't let a build use a source
    ├── UnsupportedError          not supported (yet), here or at all
    │   ├── MissingCapabilityError    a frontend can't do what the client needs of it
    │   └── UnknownQuestionError      a frontend isn't asked such things
    ├── IntegrityError            bytes don't match their digest, or a stored document is damaged
    ├── StorageError              the disk is full, read-only or failing
    ├── UnavailableError          another party (daemon, registry, agent) can't be reached or stalls
    │   └── LostLayerError        a layer that is known can't be had from where it is
    ├── LayerError                a layer is not well-formed, or can't be applied or made
    ├── BuildError                a build failed
    │   ├── DockerfileError       the Dockerfile is wrong; carries source positions
    │   ├── FrontendError         a frontend outside of the builder gave up; may carry source positions
    │   ├── DefinitionError       a build definition (bake or compose file) is wrong; carries source positions
    │   ├── SolveError            a vertex failed; carries the vertex and its source positions
    │   └── ExitError             a process ended with another exit code than asked for
    └── CancelledBuildError       the client ended the build, or vanished

Messages are one line, lower case, and say what and why; `.hint` says what to do. HTTP and gRPC codes are chosen in
`api/`, exit codes in `cli/exits.py`; nothing else looks at the class to find a number.
"""

from __future__ import annotations


class BoatyardError(Exception):
    """Base of every error that is meant to be shown to a person."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidError(BoatyardError):
    """The request or document is malformed."""


class ExecutableError(InvalidError):
    """A program can't be started: not there (exit code 127), or not a program (126), as a shell tells it."""

    def __init__(self, message: str, *, exit_code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class NotFoundError(BoatyardError):
    """What was named doesn't exist."""


class ConflictError(BoatyardError):
    """It exists already, is in use, or somebody else holds it."""


class DeniedError(BoatyardError):
    """Not allowed by policy, entitlement, credentials or the kernel."""


class SourceDeniedError(DeniedError):
    """A source policy doesn't let a build use a source. `messages`: what a client that judged for itself said."""

    def __init__(self, message: str, *, hint: str | None = None, messages: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.messages = messages


class UnsupportedError(BoatyardError):
    """Not supported (yet), on this host or at all."""


class MissingCapabilityError(UnsupportedError):
    """A frontend can't do what the client needs of it. `name`: of the capability."""

    def __init__(self, message: str, *, hint: str | None = None, name: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class UnknownQuestionError(UnsupportedError):
    """A frontend isn't asked such things. `name`: of the question (`frontend.outline`)."""

    def __init__(self, message: str, *, hint: str | None = None, name: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class IntegrityError(BoatyardError):
    """Bytes don't match their digest, or a stored document is damaged."""


class StorageError(BoatyardError):
    """The disk is full, read-only or failing."""


class UnavailableError(BoatyardError):
    """Another party (daemon, registry, agent) can't be reached, or stalls."""


class LostLayerError(UnavailableError):
    """A layer that is known can't be had from where it is."""


class LayerError(BoatyardError):
    """A layer is not well-formed, or can't be applied or made."""


class SourceExcerpt:
    """A place in a source file, as an error shows it. Lines count from 1; `text` is the whole file. `columns`: where in
    the line it begins and ends (from 1, the end exclusive), when that is known and the place is within one line. A
    frozen value like others, but no dataclass: what imports nothing but this module (memlogd) starts in half the
    time."""

    __slots__ = ("columns", "end", "filename", "start", "text")

    def __init__(self, filename: str, text: str, start: int, end: int, columns: tuple[int, int] | None = None) -> None:
        self.filename = filename
        self.text = text
        self.start = start
        self.end = end
        self.columns = columns

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SourceExcerpt):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def _fields(self) -> tuple[object, ...]:
        return self.filename, self.text, self.start, self.end, self.columns


class BuildError(BoatyardError):
    """A build failed."""

    def __init__(self, message: str, *, hint: str | None = None, source: SourceExcerpt | None = None) -> None:
        super().__init__(message, hint=hint)
        self.source = source


class DockerfileError(BuildError):
    """The Dockerfile is wrong."""


class FrontendError(BuildError):
    """A frontend outside of the builder refused the build, or failed itself. `document` is its failure in the form it
    came in (an encoded google.rpc.Status), `vertex` the digest of the step it names, if any."""

    def __init__(
        self,
        message: str,
        *,
        document: bytes = b"",
        vertex: str = "",
        hint: str | None = None,
        source: SourceExcerpt | None = None,
    ) -> None:
        super().__init__(message, hint=hint, source=source)
        self.document = document
        self.vertex = vertex


class DefinitionError(BuildError):
    """A build definition (a bake file, a compose file) is wrong."""


class ExitError(BuildError):
    """A process ended with another exit code than asked for. `exit_code` is 128 + N for signal N."""

    def __init__(
        self, message: str, *, exit_code: int, hint: str | None = None, source: SourceExcerpt | None = None
    ) -> None:
        super().__init__(message, hint=hint, source=source)
        self.exit_code = exit_code


class SolveError(BuildError):
    """A vertex failed. The reason is `__cause__`; `vertex` is its digest and `vertex_name` what progress calls it."""

    def __init__(
        self,
        message: str,
        *,
        vertex: str,
        vertex_name: str,
        hint: str | None = None,
        source: SourceExcerpt | None = None,
    ) -> None:
        super().__init__(message, hint=hint, source=source)
        self.vertex = vertex
        self.vertex_name = vertex_name


class CancelledBuildError(BoatyardError):
    """The client ended the build, or vanished."""
