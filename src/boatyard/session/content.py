"""A content store of the client's: the directory of a local cache, or an OCI image layout.

Specification: containerd, `services/content`; moby/buildkit, `session/content`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.content_grpc import ContentStub
from boatyard._pb.content_pb2 import COMMIT, STAT, WRITE, InfoRequest, ReadContentRequest, WriteContentRequest
from boatyard.errors import IntegrityError, UnsupportedError
from boatyard.session.failure import told
from boatyard.session.session import Session

METHOD = "/containerd.services.content.v1.Content/Read"
STORE = "buildkit-attachable-store-id"
_PIECE = 1 << 20


class ClientContent:
    """The client's store `store`: "local:PATH", "oci:NAME", "export". Digests are strings."""

    def __init__(self, session: Session, store: str) -> None:
        """UnsupportedError when the client offers no stores."""
        if not session.supports(METHOD):
            raise UnsupportedError(f"the client offers no content stores, but {store!r} is wanted")
        self._stub = ContentStub(session.channel)
        self._metadata = {STORE: store}
        self._what = f"the client's store {store!r}"

    async def size(self, digest: str) -> int | None:
        """Of a blob; None if there is none."""
        with told(self._what):
            try:
                answer = await self._stub.Info(InfoRequest(digest=digest), metadata=self._metadata)
            except GRPCError as error:
                if error.status is Status.NOT_FOUND:
                    return None
                raise
        return answer.info.size

    async def read(self, digest: str, offset: int = 0, size: int = 0) -> AsyncIterator[bytes]:
        """A blob, or `size` bytes of it (0: to the end); nothing is verified. NotFoundError."""
        with told(self._what):
            request = ReadContentRequest(digest=digest, offset=offset, size=size)
            async with self._stub.Read.open(metadata=self._metadata) as call:
                await call.send_message(request, end=True)
                async for answer in call:
                    yield answer.data

    @asynccontextmanager
    async def write(
        self, ref: str, digest: str, size: int, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Writer]:
        """A blob to the client, committed when the context is left. Several writers of one `ref` exclude each other; a
        write that broke off is taken up again. ConflictError if the blob is there already."""
        with told(self._what):
            async with self._stub.Write.open(metadata=self._metadata) as call:
                writer = Writer(call, ref, digest, size)
                await writer.begin()
                yield writer
                await writer.commit(labels or {})
                await call.end()


class Writer:
    """Belongs to the context that yielded it."""

    def __init__(self, call: Any, ref: str, digest: str, size: int) -> None:
        self._call = call
        self._ref = ref
        self._digest = digest
        self._size = size
        self.offset = 0
        """Bytes that the client has: where to go on."""

    async def begin(self) -> None:
        self.offset = (await self._ask(STAT)).offset

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            answer = await self._ask(WRITE, offset=self.offset, data=piece)
            self.offset += len(piece)
            if answer.offset != self.offset:
                raise IntegrityError(f"the client has {answer.offset} bytes of {self._digest}, not {self.offset}")

    async def commit(self, labels: Mapping[str, str]) -> None:
        answer = await self._ask(COMMIT, offset=self.offset, labels=labels)
        if answer.digest and answer.digest != self._digest:
            raise IntegrityError(f"the client wrote {answer.digest}, not {self._digest}")

    async def _ask(self, action: int, **fields: Any) -> Any:
        request = WriteContentRequest(
            action=action,  # type: ignore[arg-type]
            ref=self._ref,
            total=self._size,
            expected=self._digest,
            **fields,
        )
        await self._call.send_message(request)
        answer = await self._call.recv_message()
        if answer is None:
            await self._call.recv_trailing_metadata()  # raises what the client failed with
            raise IntegrityError(f"the client ended the write of {self._digest} before it was committed")
        return answer
