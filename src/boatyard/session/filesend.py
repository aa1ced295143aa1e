"""Results to the client: a stream for an archive, or the files of a directory.

Specification: moby/buildkit, `session/filesync/filesync.go` (CopyFileWriter, CopyToCaller).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from boatyard._pb.filesync_grpc import FileSendStub
from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image.interruption import run_settled
from boatyard.session.failure import told
from boatyard.session.filesync import Progress
from boatyard.session.fsutil import transfer
from boatyard.session.fsutil.entry import Entry
from boatyard.session.fsutil.sender import Sender
from boatyard.session.fsutil.walk import everything, walk
from boatyard.session.line import CallLine, open_call
from boatyard.session.session import Session

METHOD = "/moby.filesync.v1.FileSend/DiffCopy"
EXPORTER = "buildkit-attachable-exporter-id"
DESCRIBED = "exporter-md-"
MULTI_PLATFORM = "buildkit-exporter-multi-platform"
_PIECE = 1 << 19
"""Well below the 4 MiB that old clients take."""


class Output:
    """A stream to the client. Belongs to the context that yielded it."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def write(self, data: bytes) -> None:
        with told(_WRITING):
            for start in range(0, len(data), _PIECE):
                await self._call.send_message(BytesMessage(data=data[start : start + _PIECE]))


_WRITING = "the client doesn't take the output"


@asynccontextmanager
async def stream(session: Session, exporter: int, metadata: Mapping[str, str] | None = None) -> AsyncIterator[Output]:
    """Where the output of the request's exporter number `exporter` goes. What was written has arrived when the context
    was left; it breaks off when that is left with an error. `metadata` describe the output
    (containerimage.descriptor, ...). ConflictError when the client doesn't want it."""
    _check(session)
    fields = {DESCRIBED + name: value for name, value in (metadata or {}).items()}
    for name, value in fields.items():
        if not value.isascii() or not value.isprintable():
            raise InvalidError(f"the value of {name} can't be in a header")
    with told(_WRITING):
        async with FileSendStub(session.channel).DiffCopy.open(metadata={**fields, EXPORTER: str(exporter)}) as call:
            await call.send_request()
            yield Output(call)
            await call.end()
            while await call.recv_message() is not None:
                pass


async def send_directory(
    session: Session,
    exporter: int,
    root: int,
    *,
    whole: bool = False,
    latest: int | None = None,
    progress: Progress | None = None,
) -> None:
    """The files of the directory `root`. `whole`: the client may delete what it has besides (mode=delete). `latest`: no
    file is told to be younger, in seconds since 1970."""
    _check(session)
    fields = {EXPORTER: str(exporter), **({MULTI_PLATFORM: "1"} if whole else {})}
    root = os.dup(root)
    entries = walk(root, everything())
    sender = Sender(root, entries if latest is None else _clamped(entries, latest * 1_000_000_000))
    try:
        with told(_WRITING):
            async with open_call(session.channel, METHOD, list(fields.items())) as call:
                await call.send_request()
                await transfer.send(CallLine(call), sender, progress)
                await call.end()
    finally:
        await run_settled(sender.close)
        os.close(root)


def _clamped(entries: Iterator[Entry], latest_ns: int) -> Iterator[Entry]:
    for entry in entries:
        entry.mtime_ns = min(entry.mtime_ns, latest_ns)
        yield entry


def _check(session: Session) -> None:
    if not session.supports(METHOD):
        raise UnsupportedError("the client takes no output of this build")
