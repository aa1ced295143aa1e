"""Handing descriptors to memlogd: it reads them from then on, and no byte passes through whoever had them."""

from __future__ import annotations

import os
import socket

from boatyard.errors import InvalidError, UnavailableError

NAME_BYTES = 512


def hand_over(path: str, name: str, *descriptors: int) -> None:
    """Let memlogd read `descriptors` (the caller's copies can be closed afterwards) as the source `name`.
    InvalidError for a name that memlogd would cut off, UnavailableError without a memlogd."""
    encoded = name.encode("utf-8", "surrogateescape")
    if not 0 < len(encoded) <= NAME_BYTES:
        raise InvalidError(f"a source's name has 1 to {NAME_BYTES} bytes, not {len(encoded)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(path)
            socket.send_fds(sock, [encoded], descriptors)
        except OSError as error:
            raise UnavailableError(
                f"memlogd can't be reached at {path}: {error.strerror}", hint="start one (`boat logd`)"
            ) from error


def open_source(path: str, name: str) -> int:
    """The writable end of a pipe that memlogd reads as the source `name`; close-on-exec, owned by the caller."""
    readable, writable = os.pipe2(os.O_CLOEXEC)
    try:
        hand_over(path, name, readable)
    except BaseException:
        os.close(writable)
        raise
    finally:
        os.close(readable)
    return writable
