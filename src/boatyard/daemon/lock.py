"""One daemon a root: a lock file there, which says who holds it.

A POSIX record lock (fcntl(2)), not flock(2): it belongs to the process alone, so that a helper that outlives a killed
daemon doesn't hold the root. The price: the file must be opened only once in the daemon.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from boatyard.client.places import Card
from boatyard.errors import ConflictError, StorageError

NAME = "boatd.lock"


@contextmanager
def hold(root: str, card: Card, *, patience: float = 0.0) -> Iterator[None]:
    """ConflictError names the holder, after `patience` seconds. The lock goes with the process, however it ends."""
    path = f"{root}/{NAME}"
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(
            f"can't use the root {root}: {error.strerror}", hint="choose another with --root or BOATD_ROOT"
        ) from error
    try:
        _take(descriptor, root, patience)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(card) + b"\n", 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, root: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except (BlockingIOError, PermissionError):
            if time.monotonic() >= deadline:
                raise ConflictError(
                    f"the root {root} is in use by {_holder(descriptor)}",
                    hint="stop it (`boat daemon stop`), or choose another root with --root",
                ) from None
        time.sleep(0.02)


def _holder(descriptor: int) -> str:
    try:
        card = msgspec.json.decode(os.pread(descriptor, 65536, 0), type=Card)
    except msgspec.DecodeError:
        return "another process"  # it has the lock but has not said yet who it is
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(card.started))
    return f"boatd {card.version} (process {card.pid}, since {since})"
