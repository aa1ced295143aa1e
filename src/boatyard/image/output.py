"""What goes wrong with a file or pipe that a client wants written, in Boatyard's vocabulary."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from boatyard.errors import BoatyardError, StorageError, UnavailableError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def output_error(error: OSError, what: str) -> BoatyardError:
    """`what` was being written: "the archive"."""
    if isinstance(error, BrokenPipeError):
        return UnavailableError(f"whoever reads {what} went away before its end")
    return StorageError(
        f"can't write {what}: {error.strerror or error}",
        hint="free disk space there, or write it somewhere else" if error.errno in _FULL else None,
    )


@contextmanager
def output_errors(what: str) -> Iterator[None]:
    """Around a file that is opened, too: what it has buffered is written when it is closed."""
    try:
        yield
    except OSError as error:
        raise output_error(error, what) from error
