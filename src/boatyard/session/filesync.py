"""A directory of the client's, received into one of ours: only what has changed travels.

Specification: moby/buildkit, `session/filesync/filesync.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from boatyard.errors import UnsupportedError
from boatyard.image.interruption import run_settled
from boatyard.session.failure import told
from boatyard.session.fsutil import transfer
from boatyard.session.fsutil.known import known_files
from boatyard.session.fsutil.receiver import Receiver
from boatyard.session.line import CallLine, open_call
from boatyard.session.metadata import encode
from boatyard.session.session import Session

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
NAME, INCLUDE, EXCLUDE, FOLLOW = "dir-name", "include-patterns", "exclude-patterns", "followpaths"

Progress = Callable[[int, int], None]
"""Files and bytes that came so far. Called on the event loop, now and then and at the end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The directory that the client calls `name`, or so much of it as patterns leave in."""

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


async def receive(
    session: Session,
    wanted: Wanted,
    root: int,
    *,
    seeds: Iterable[int] = (),
    trusted: bool = True,
    progress: Progress | None = None,
) -> None:
    """Make the directory `root` like the client's. UnsupportedError when the client offers no directories,
    NotFoundError when it has none of that name, InvalidError when what it sends can't be, StorageError when it can't
    be written. Whatever is written before an error is as good as what was there before.

    `seeds`, `trusted`: see `fsutil.receiver`."""
    if not session.supports(METHOD):
        raise UnsupportedError(f"the client offers no directories, but the build wants {wanted.name!r}")
    fields = encode(
        {
            NAME: (wanted.name,),
            INCLUDE: wanted.include,
            EXCLUDE: wanted.exclude,
            FOLLOW: wanted.follow,
        }
    )
    with told(f"the client can't send its directory {wanted.name!r}"):
        async with open_call(session.channel, METHOD, fields) as call:
            await call.send_request()
            # The client looks at its directory meanwhile.
            receiver = Receiver(root, await run_settled(known_files, root), seeds=seeds, trusted=trusted)
            try:
                await transfer.receive(CallLine(call), receiver, progress)
            finally:
                if receiver.finished:
                    receiver.close()
                else:
                    await run_settled(receiver.close)  # what came in part is deleted
            await call.end()
