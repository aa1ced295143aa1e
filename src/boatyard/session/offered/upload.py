"""Streams of this client, such as its standard input. Each can be taken once.

Specification: moby/buildkit, `session/upload/uploadprovider`.
"""

from __future__ import annotations

from collections.abc import Mapping

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from boatyard._pb.upload_grpc import UploadBase
from boatyard._pb.upload_pb2 import BytesMessage
from boatyard.session.metadata import one
from boatyard.session.offered.streams import pieces_of


class Upload(UploadBase):
    """`streams`: readable descriptors, the caller's, by the last name of the URL's path. More may be added."""

    def __init__(self, streams: Mapping[str, int]) -> None:
        self._streams = streams
        self._taken: set[str] = set()

    async def Pull(self, stream: Stream[BytesMessage, BytesMessage]) -> None:  # noqa: N802
        path = one(stream, "urlpath")
        name = path.rpartition("/")[2]
        descriptor = self._streams.get(name)
        if descriptor is None or name in self._taken:
            raise GRPCError(Status.NOT_FOUND, f"no http response from session for {path}")
        self._taken.add(name)
        await stream.send_initial_metadata()
        async for data in pieces_of(descriptor):
            await stream.send_message(BytesMessage(data=data))
