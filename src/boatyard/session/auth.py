"""The client's registry credentials.

Where a registry wants tokens, the client can fetch them itself, and its password stays with it. Tokens and connections
of one session may then serve another, but only if that one's client has the same password: it proves that by signing
with a key that is made of it (the token authority).

Specification: moby/buildkit, `session/auth`; NaCl, crypto_sign.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.auth_grpc import AuthStub
from boatyard._pb.auth_pb2 import (
    CredentialsRequest,
    FetchTokenRequest,
    GetTokenAuthorityRequest,
    VerifyTokenAuthorityRequest,
)
from boatyard.errors import UnavailableError
from boatyard.session.failure import told
from boatyard.session.session import Session

_SERVICE = "/moby.filesync.v1.Auth/"
TIMEOUT = 60.0
"""Seconds: a person may have to unlock something."""
_SIGNATURE = 64


@dataclass(frozen=True, slots=True)
class Credentials:
    """Without a username, the secret is an identity token."""

    username: str
    secret: str


@dataclass(frozen=True, slots=True)
class Token:
    """Seconds; `issued_at` since 1970, 0 if it isn't known."""

    token: str
    expires_in: int
    issued_at: int


async def credentials(session: Session, host: str) -> Credentials | None:
    """None when the client has none for that registry."""
    if not session.supports(_SERVICE + "Credentials"):
        return None
    with told(f"the client can't give its credentials for {host}"):
        try:
            answer = await AuthStub(session.channel).Credentials(CredentialsRequest(Host=host), timeout=TIMEOUT)
        except GRPCError as error:
            if error.status is Status.UNIMPLEMENTED:
                return None
            raise
    return Credentials(answer.Username, answer.Secret) if answer.Secret else None


def fetches_tokens(session: Session) -> bool:
    return session.supports(_SERVICE + "FetchToken")


async def fetch_token(
    session: Session, host: str, *, realm: str, service: str, scopes: Sequence[str], client_id: str = "boatyard"
) -> Token:
    """By the client, from the token service `realm` of the registry `host`."""
    request = FetchTokenRequest(ClientID=client_id, Host=host, Realm=realm, Service=service, Scopes=scopes)
    with told(f"the client can't get a token for {host}"):
        answer = await AuthStub(session.channel).FetchToken(request, timeout=TIMEOUT)
    return Token(answer.Token, answer.ExpiresIn, answer.IssuedAt)


async def token_authority(session: Session, host: str, salt: bytes) -> bytes | None:
    """The public key of the client's credentials for a registry, the same for all clients that have the same and only
    for them; None when it makes none. `salt`: of this daemon, so that keys tell nothing elsewhere."""
    if not session.supports(_SERVICE + "GetTokenAuthority"):
        return None
    with told(f"the client can't tell its token authority for {host}"):
        try:
            request = GetTokenAuthorityRequest(Host=host, Salt=salt)
            answer = await AuthStub(session.channel).GetTokenAuthority(request, timeout=TIMEOUT)
        except GRPCError as error:
            if error.status in (Status.UNIMPLEMENTED, Status.UNAVAILABLE):
                return None
            raise
    if len(answer.PublicKey) != 32:
        raise UnavailableError(f"the client's token authority for {host} is no key")
    return answer.PublicKey


async def verify_token_authority(session: Session, host: str, public_key: bytes, salt: bytes) -> bool:
    """Whether the client's credentials are those of which `token_authority` gave the key."""
    if not session.supports(_SERVICE + "VerifyTokenAuthority"):
        return False
    payload = os.urandom(32)
    with told(f"the client can't prove its token authority for {host}"):
        try:
            request = VerifyTokenAuthorityRequest(Host=host, Payload=payload, Salt=salt)
            answer = await AuthStub(session.channel).VerifyTokenAuthority(request, timeout=TIMEOUT)
        except GRPCError as error:
            if error.status is Status.UNIMPLEMENTED:
                return False
            raise
    return _is_signed(answer.Signed, payload, public_key)


def _is_signed(signed: bytes, payload: bytes, public_key: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signed[_SIGNATURE:] != payload:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed[:_SIGNATURE], payload)
    except (InvalidSignature, ValueError):
        return False
    return True
