"""Exit codes. The one place that turns an error's class into a number; `docs/reference/cli.md` shows this table."""

from __future__ import annotations

from boatyard.errors import (
    BoatyardError,
    BuildError,
    CancelledBuildError,
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidError,
    LayerError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)

OK = 0
FAILED = 1
USAGE = 2
NOT_REPRODUCIBLE = 11
INTERNAL = 70
NOT_STARTED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
CANCELLED = 130
TERMINATED = 143
BROKEN_PIPE = 141

CODES: tuple[tuple[type[BoatyardError], int, str], ...] = (
    (BuildError, FAILED, "a build failed: a step ended badly, or the Dockerfile or the definition is wrong"),
    (InvalidError, USAGE, "wrong usage: an unknown command or flag, a malformed value"),
    (NotFoundError, 3, "what was named doesn't exist"),
    (ConflictError, 4, "it exists already, or is in use"),
    (DeniedError, 5, "not allowed"),
    (UnsupportedError, 6, "not supported, here or at all"),
    (IntegrityError, 7, "stored bytes are damaged"),
    (StorageError, 8, "the disk is full, read-only or failing"),
    (UnavailableError, 9, "the daemon, or another party, can't be reached"),
    (LayerError, 10, "a layer is malformed"),
    (CancelledBuildError, CANCELLED, "interrupted (Ctrl-C)"),
)

OTHERS: tuple[tuple[int, str], ...] = (
    (OK, "done"),
    (FAILED, "any other failure"),
    (NOT_REPRODUCIBLE, "`boat build --check-reproducible`: two builds gave different images"),
    (INTERNAL, "a bug in boat: please report it with the output of `boat --debug ...`"),
    (NOT_STARTED, "`boat run`: the container could not be started; any other number is its command's own"),
    (NOT_EXECUTABLE, "`boat run`: the command is there, but can't be executed"),
    (NOT_FOUND, "`boat run`: there is no such command in the container"),
    (BROKEN_PIPE, "whoever read the output went away"),
    (TERMINATED, "ended by SIGTERM"),
)


def code_of(error: BaseException) -> int:
    """The number a command ends with when `error` ends it."""
    if isinstance(error, KeyboardInterrupt):
        return CANCELLED
    if isinstance(error, OSError):  # a file or a socket of this command's own
        return FAILED
    if not isinstance(error, BoatyardError):
        return INTERNAL
    return next((code for kind, code, _ in CODES if isinstance(error, kind)), FAILED)
