"""A stream of the client's, such as its standard input. Specification: moby/buildkit, `session/upload`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from boatyard._pb.upload_grpc import UploadStub
from boatyard.errors import StorageError
from boatyard.image.interruption import run_settled
from boatyard.session.failure import told
from boatyard.session.session import Session

METHOD = "/moby.upload.v1.Upload/Pull"
HOST = "buildkit-session"
"""URLs of uploads have it: http://buildkit-session/ID."""
_BATCH = 1 << 20


async def pull(
    session: Session, path: str, directory: Path, *, progress: Callable[[int], None] | None = None
) -> int | None:
    """The whole stream, as a file without a name on the disk of `directory`: a stream that breaks off can't be taken
    for one that ends. `path` is that of the URL. The caller closes the descriptor. None when the client offers no
    uploads."""
    if not session.supports(METHOD):
        return None
    descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with told("the client can't send its upload"):
            await _receive(session, path, descriptor, progress)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"can't keep the client's upload: {error.strerror}") from error
    except BaseException:
        os.close(descriptor)
        raise


async def _receive(session: Session, path: str, descriptor: int, progress: Callable[[int], None] | None) -> None:
    size = 0
    pieces: list[bytes] = []
    waiting = 0
    metadata = {"urlpath": path if path.startswith("/") else f"/{path}", "urlhost": HOST}
    async with UploadStub(session.channel).Pull.open(metadata=metadata) as call:
        await call.send_request(end=True)
        while (message := await call.recv_message()) is not None:
            pieces.append(message.data)
            waiting += len(message.data)
            if waiting >= _BATCH:
                await run_settled(_write, descriptor, pieces)
                size += waiting
                pieces, waiting = [], 0
                if progress is not None:
                    progress(size)
        await run_settled(_write, descriptor, pieces)


def _write(descriptor: int, pieces: list[bytes]) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]
