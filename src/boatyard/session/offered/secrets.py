"""Secrets of this client. They are read when the daemon asks. Specification: moby/buildkit, `session/secrets`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from boatyard._pb.secrets_grpc import SecretsBase
from boatyard._pb.secrets_pb2 import GetSecretRequest, GetSecretResponse
from boatyard.session.secrets import MAX_SECRET


class Secrets(SecretsBase):
    """`secrets`: functions that give the bytes, by id. They may block, and raise errors of ours."""

    def __init__(self, secrets: Mapping[str, Callable[[], bytes]]) -> None:
        self._secrets = secrets

    async def GetSecret(self, stream: Stream[GetSecretRequest, GetSecretResponse]) -> None:  # noqa: N802
        request = await stream.recv_message()
        id = request.ID if request is not None else ""
        read = self._secrets.get(id)
        if read is None:
            raise GRPCError(Status.NOT_FOUND, f"secret {id}: not found")
        data = await asyncio.to_thread(read)
        if len(data) > MAX_SECRET:
            raise GRPCError(Status.INVALID_ARGUMENT, f"secret {id} is larger than {MAX_SECRET // 1024} KiB")
        await stream.send_message(GetSecretResponse(data=data))
