"""containerd's content service, read-only: what history records name, and the documents and layers of images.

Specification: containerd `api/services/content/v1/content.proto`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from boatyard._pb import content_pb2
from boatyard._pb.content_grpc import ContentBase
from boatyard._pb.content_pb2 import (
    InfoRequest,
    InfoResponse,
    ListContentRequest,
    ListContentResponse,
    ListStatusesResponse,
    ReadContentRequest,
    ReadContentResponse,
)
from boatyard.api.buildkit import values
from boatyard.build.attachments import Attachments
from boatyard.errors import DeniedError, InvalidError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.digest import Digest

_PIECE = 1 << 20
_AT_ONCE = 100


class Content(ContentBase):
    """`attachments` of the history come first: they are there as long as their record."""

    def __init__(self, attachments: Attachments, content: DirectoryStore) -> None:
        self._attachments = attachments
        self._content = content

    async def Info(self, stream: Any) -> None:  # noqa: N802
        request: InfoRequest = await stream.recv_message()
        digest = digests.parse(request.digest)
        await stream.send_message(InfoResponse(info=await asyncio.to_thread(self._info, digest)))

    def _info(self, digest: Digest) -> content_pb2.Info:
        with self._open(digest) as file:
            return _info_of(digest, os.fstat(file.fileno()))

    def _open(self, digest: Digest) -> BinaryIO:
        path = self._attachments.find(digest)
        if path is not None:
            try:
                return open(path, "rb")
            except FileNotFoundError:
                pass  # its record went meanwhile; an image may have it, too
        return self._content.open(digest)

    async def Read(self, stream: Any) -> None:  # noqa: N802
        request: ReadContentRequest = await stream.recv_message()
        digest = digests.parse(request.digest)
        file = await asyncio.to_thread(self._open, digest)
        try:
            size = os.fstat(file.fileno()).st_size
            offset = request.offset
            if offset < 0 or offset > size or request.size < 0:
                raise InvalidError(f"{digest} has {size} bytes: nothing can be read from {offset} on")
            end = min(size, offset + request.size) if request.size else size
            await asyncio.to_thread(file.seek, offset)
            while offset < end:
                data = await asyncio.to_thread(file.read, min(_PIECE, end - offset))
                if not data:
                    raise NotFoundError(f"{digest} was cut short while it was read")
                await stream.send_message(ReadContentResponse(offset=offset, data=data))
                offset += len(data)
        finally:
            file.close()

    async def List(self, stream: Any) -> None:  # noqa: N802
        """What belongs to history records."""
        request: ListContentRequest = await stream.recv_message()
        if request.filters:
            raise InvalidError("filters of a content list are not known here", hint="leave them out")
        infos = await asyncio.to_thread(lambda: list(self._infos()))
        for start in range(0, len(infos), _AT_ONCE):
            await stream.send_message(ListContentResponse(info=infos[start : start + _AT_ONCE]))

    def _infos(self) -> Iterator[content_pb2.Info]:
        for digest, path in self._attachments.walk():
            if (status := _status(path)) is not None:
                yield _info_of(digest, status)

    async def Status(self, stream: Any) -> None:  # noqa: N802
        request = await stream.recv_message()
        raise NotFoundError(f"nothing is being written as {request.ref[:200]!r}")

    async def ListStatuses(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        await stream.send_message(ListStatusesResponse())

    async def Update(self, stream: Any) -> None:  # noqa: N802
        raise _read_only()

    async def Delete(self, stream: Any) -> None:  # noqa: N802
        raise _read_only()

    async def Write(self, stream: Any) -> None:  # noqa: N802
        raise _read_only()

    async def Abort(self, stream: Any) -> None:  # noqa: N802
        raise _read_only()


def _read_only() -> DeniedError:
    return DeniedError("this content store is read-only")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _info_of(digest: Digest, status: os.stat_result) -> content_pb2.Info:
    moment = values.timestamp(status.st_mtime)
    return content_pb2.Info(digest=digest, size=status.st_size, created_at=moment, updated_at=moment)
