"""Content stores of this client: directories of local caches, OCI image layouts.

Specification: containerd, `services/content`; moby/buildkit, `session/content`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from boatyard._pb.content_pb2 import (
    COMMIT,
    STAT,
    WRITE,
    Info,
    InfoRequest,
    InfoResponse,
    ReadContentRequest,
    ReadContentResponse,
    WriteContentRequest,
    WriteContentResponse,
)
from boatyard.errors import ConflictError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image.content.directory import DirectoryStore, DirectoryWriter
from boatyard.image.content.store import BlobInfo
from boatyard.image.digest import Digest
from boatyard.image.interruption import run_settled
from boatyard.session.content import STORE
from boatyard.session.metadata import one

_PIECE = 1 << 20
_SERVICE = "/containerd.services.content.v1.Content/"


class Store(Protocol):
    def info(self, digest: Digest) -> BlobInfo | None: ...
    def open(self, digest: Digest) -> BinaryIO: ...


class Layout:
    """An image layout that is only read, and left as it is."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def info(self, digest: Digest) -> BlobInfo | None:
        try:
            status = self._path(digest).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return BlobInfo(digest, status.st_size, status.st_mtime)

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return open(self._path(digest), "rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"there is no content {digest}") from error

    def _path(self, digest: Digest) -> Path:
        return self._root / "blobs" / digests.algorithm(digest) / digests.encoded(digest)


class Content:
    """`stores`, by the ids that the daemon asks for ("local:PATH", "oci:NAME"). A DirectoryStore can be written to."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = stores

    def __mapping__(self) -> Mapping[str, Handler]:
        return {
            _SERVICE + "Info": Handler(self._info, Cardinality.UNARY_UNARY, InfoRequest, InfoResponse),
            _SERVICE + "Read": Handler(self._read, Cardinality.UNARY_STREAM, ReadContentRequest, ReadContentResponse),
            _SERVICE + "Write": Handler(
                self._write, Cardinality.STREAM_STREAM, WriteContentRequest, WriteContentResponse
            ),
        }

    async def _info(self, stream: Any) -> None:
        store = self._chosen(stream)
        request = await stream.recv_message()
        digest = digests.parse(request.digest)
        found = await asyncio.to_thread(store.info, digest)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"content {digest}: not found")
        info = Info(digest=digest, size=found.size)
        for moment in (info.created_at, info.updated_at):
            moment.seconds = int(found.modified)
        await stream.send_message(InfoResponse(info=info))

    async def _read(self, stream: Any) -> None:
        store = self._chosen(stream)
        request = await stream.recv_message()
        digest = digests.parse(request.digest)
        found = await asyncio.to_thread(store.info, digest)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"content {digest}: not found")
        if request.offset < 0 or request.offset > found.size:
            raise GRPCError(Status.OUT_OF_RANGE, f"read past object length {found.size} bytes")
        end = min(found.size, request.offset + request.size) if request.size > 0 else found.size
        file = await asyncio.to_thread(store.open, digest)
        try:
            offset = request.offset
            await asyncio.to_thread(file.seek, offset)
            while offset < end and (data := await asyncio.to_thread(file.read, min(_PIECE, end - offset))):
                await stream.send_message(ReadContentResponse(offset=offset, data=data))
                offset += len(data)
        finally:
            file.close()

    async def _write(self, stream: Any) -> None:
        store = self._chosen(stream)
        if not isinstance(store, DirectoryStore):
            raise GRPCError(Status.FAILED_PRECONDITION, "this store is only read")
        with ExitStack() as stack:
            writer: DirectoryWriter | None = None
            written = 0
            while (request := await stream.recv_message()) is not None:
                if writer is None:
                    writer = await run_settled(_begun, store, request, stack)
                    written = writer.offset
                elif request.action not in (STAT, WRITE, COMMIT):
                    raise GRPCError(Status.INVALID_ARGUMENT, f"unknown action {request.action}")
                if request.action in (WRITE, COMMIT) and request.data:
                    if request.offset != written:
                        raise GRPCError(Status.OUT_OF_RANGE, f"write @offset {request.offset}, not {written}")
                    await run_settled(writer.write, request.data)
                    written = writer.offset
                answer = WriteContentResponse(action=request.action, offset=written, total=request.total)
                if request.action == COMMIT:
                    answer.digest = await run_settled(_committed, writer, request)
                await stream.send_message(answer)
                if request.action == COMMIT:
                    return

    def _chosen(self, stream: Any) -> Store:
        id = one(stream, STORE)
        store = self._stores.get(id)
        if store is None:
            raise GRPCError(Status.NOT_FOUND, f"unknown store {id}")
        return store


def _begun(store: DirectoryStore, request: WriteContentRequest, stack: ExitStack) -> DirectoryWriter:
    """By the first request of a write. What an earlier one under this ref had written is there."""
    if not request.ref:
        raise GRPCError(Status.INVALID_ARGUMENT, "first message must have a reference")
    if request.expected and store.info(digests.parse(request.expected)) is not None:
        raise GRPCError(Status.ALREADY_EXISTS, f"content {request.expected}: already exists")
    try:
        return stack.enter_context(store.ingest(request.ref, resume=True))
    except ConflictError as error:
        raise GRPCError(Status.UNAVAILABLE, f"ref {request.ref} locked: unavailable") from error


def _committed(writer: DirectoryWriter, request: WriteContentRequest) -> Digest:
    return writer.commit(
        size=request.total or None, digest=digests.parse(request.expected) if request.expected else None
    )
