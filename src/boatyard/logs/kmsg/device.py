"""/dev/kmsg, read record by record, with what was overwritten before it was read."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterator

from boatyard.errors import DeniedError, UnavailableError
from boatyard.logs.kmsg.record import Record, parse

PATH = "/dev/kmsg"
_RECORD = 1 << 14


class Overwritten:
    """Records `first` to `last` were overwritten before they were read."""

    __slots__ = ("first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last


def open_device(path: str = PATH) -> int:
    """A descriptor that doesn't wait. DeniedError or UnavailableError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise DeniedError(f"{path} can't be read: {error.strerror}", hint="run it as root") from error
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error


def records(descriptor: int, *, follow: bool, after: int = -1) -> Iterator[Record | Overwritten]:
    """What the kernel has, behind the record `after`; with `follow` also what comes, for ever. The first record
    there is tells nothing about those before it, unless `after` was given."""
    expected = after + 1 if after >= 0 else None
    while True:
        try:
            data = os.read(descriptor, _RECORD)
        except BlockingIOError:
            if not follow:
                return
            select.select([descriptor], [], [])
            continue
        except OSError as error:
            if error.errno == errno.EPIPE:
                continue  # it was overwritten while we stood before it: the next one's number tells how many
            raise UnavailableError(f"the kernel's messages can't be read: {error.strerror}") from error
        if not data:
            return
        record = parse(data)
        if record is None or (expected is not None and record.sequence < expected):
            continue
        if expected is not None and record.sequence > expected:
            yield Overwritten(expected, record.sequence - 1)
        expected = record.sequence + 1
        yield record


def boot_time() -> int:
    """Nanoseconds since 1970 at which the kernel's clock was zero, by the wall clock as it is now."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
