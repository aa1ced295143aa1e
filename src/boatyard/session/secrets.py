"""The client's secrets. Specification: moby/buildkit, `session/secrets`."""

from __future__ import annotations

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest
from boatyard.errors import InvalidError
from boatyard.session.failure import told
from boatyard.session.session import Session

MAX_SECRET = 500 * 1024
"""Bytes. Clients refuse to send larger ones."""


async def get_secret(session: Session, id: str) -> bytes | None:
    """None if the client has none of that id."""
    with told(f"the client can't give the secret {id!r}"):
        try:
            answer = await SecretsStub(session.channel).GetSecret(GetSecretRequest(ID=id))
        except GRPCError as error:
            if error.status in (Status.NOT_FOUND, Status.UNIMPLEMENTED):
                return None
            raise
    if len(answer.data) > MAX_SECRET:
        raise InvalidError(f"the secret {id!r} is larger than {MAX_SECRET // 1024} KiB")
    return answer.data
