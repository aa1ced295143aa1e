"""Copies of clients' directories, kept from build to build so that only what has changed travels.

A mirror holds what one set of patterns leaves of one directory of one client. It belongs to one build at a time: a
second build that wants the same gets a mirror of its own, in which what is the same is linked, not sent. Files in
mirrors never change, they are replaced.

Mirrors outlive the daemon, but not the machine's being up: what wasn't on disk when the power went may look whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from boatyard.errors import ConflictError, StorageError
from boatyard.image.interruption import run_settled
from boatyard.image.snapshot.area import spread
from boatyard.session import filesync
from boatyard.session.filesync import Progress, Wanted
from boatyard.session.session import Session

log = logging.getLogger(__name__)

MOST_OF_A_DIRECTORY = 8
"""Mirrors of the same directory of the same client, that no build uses."""
MOST_SEEDS = 4
_CARD = "mirror.json"
_FILES = "files"


class Occupancy(Protocol):
    """Who is at work where: `build.source.occupancy` has one."""

    def using(self, path: Path) -> AbstractContextManager[None]: ...
    def remove(self, path: Path) -> None: ...


class _Card(msgspec.Struct, frozen=True):
    """What a mirror is of. `boot`: the machine's boot in which it was written."""

    key: str
    name: str
    boot: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mirror:
    """In use by one build. `identity` is never given twice."""

    directory: Path
    fd: int
    identity: str


class Mirrors:
    """All mirrors, below one directory. One per daemon."""

    def __init__(self, directory: Path, occupancy: Occupancy, *, boot: str | None = None) -> None:
        self._directory = directory
        self._occupancy = occupancy
        self._boot = _boot_id() if boot is None else boot
        self._lock = threading.Lock()
        self._taken: set[Path] = set()

    @asynccontextmanager
    async def received(
        self,
        session: Session,
        wanted: Wanted,
        *,
        hint: str = "",
        trusted: bool = True,
        progress: Progress | None = None,
    ) -> AsyncIterator[Mirror]:
        """The client's directory as it is now. It stays as it is until the context is left. `hint` tells directories
        of one name apart. Unless `trusted`, all files are sent again: times say nothing then. Errors: see
        `filesync.receive`."""
        card = _Card(
            # Many clients say no key: a directory of one name is then taken to be the same, as BuildKit takes it.
            repr((wanted.name, hint, session.shared_key, session.peer)),
            wanted.name,
            self._boot,
            wanted.include,
            wanted.exclude,
            wanted.follow,
        )
        with ExitStack() as stack:
            mirror, seeds = await run_settled(self._taken_for, card, stack)
            seeds = seeds if trusted else []
            await filesync.receive(session, wanted, mirror.fd, seeds=seeds, trusted=trusted, progress=progress)
            os.utime(mirror.directory)
            yield mirror

    def _taken_for(self, card: _Card, stack: ExitStack) -> tuple[Mirror, list[int]]:
        """A mirror to receive into, and those to take files from. Given back when the stack is."""
        try:
            with self._lock:
                known = list(self._of(card.key))
                directory = next(
                    (path for path, its in known if its == card and path not in self._taken), None
                ) or self._made(card)
                stack.enter_context(self._taking(directory))
            others = [path for path, its in known if path != directory and its.boot == self._boot]
            self._drop(directory, known)
            return (
                Mirror(directory, _opened(directory / _FILES, stack), directory.name),
                [_opened(path / _FILES, stack) for path in others[:MOST_SEEDS] if path.exists()],
            )
        except OSError as error:
            raise StorageError(f"can't keep a copy of the client's directory: {error.strerror}") from error

    @contextmanager
    def _taking(self, directory: Path) -> Iterator[None]:
        with self._occupancy.using(directory):
            self._taken.add(directory)
            try:
                yield
            finally:
                self._taken.discard(directory)

    def _of(self, key: str) -> Iterator[tuple[Path, _Card]]:
        """Those of a directory, the last used first. Of what is no mirror: its place."""
        found = []
        for path in self._directory.glob(f"{_stem(key)}-*"):
            try:
                card = msgspec.json.decode((path / _CARD).read_bytes(), type=_Card)
                found.append((path.stat().st_mtime_ns, path, card))
            except (OSError, msgspec.DecodeError) as error:
                log.debug("%s is no mirror: %s", path, error)
                found.append((0, path, _Card("", "", "")))
        for _, path, card in sorted(found, key=lambda each: -each[0]):
            yield path, card

    def _made(self, card: _Card) -> Path:
        directory = self._directory / f"{_stem(card.key)}-{os.urandom(6).hex()}"
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, mode=0o700)
            spread(self._directory)
        (directory / _FILES).mkdir(parents=True, mode=0o700)
        (directory / _CARD).write_bytes(msgspec.json.encode(card))
        return directory

    def _drop(self, used: Path, known: list[tuple[Path, _Card]]) -> None:
        """What is of no use any more, and the oldest of what is too much."""
        others = [(path, card) for path, card in known if path != used]
        current = [path for path, card in others if card.boot == self._boot]
        useless = [path for path, card in others if card.boot != self._boot]
        for path in useless + current[MOST_OF_A_DIRECTORY - 1 :]:
            try:
                self._occupancy.remove(path)
            except ConflictError:
                continue


def _opened(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _stem(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
