"""Registry credentials of this client.

Specification: moby/buildkit, `session/auth/authprovider`.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from boatyard._pb.auth_grpc import AuthBase
from boatyard._pb.auth_pb2 import (
    CredentialsRequest,
    CredentialsResponse,
    FetchTokenRequest,
    FetchTokenResponse,
    GetTokenAuthorityRequest,
    GetTokenAuthorityResponse,
    VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
)
from boatyard.errors import StorageError
from boatyard.session.auth import Token
from boatyard.session.offered.login import Login
from boatyard.session.offered.tokens import DEFAULT_LIFE, fetch_token


class Auth(AuthBase):
    def __init__(self, find: Callable[[str], Login], seeds: Path, *, gives_tokens: bool = True) -> None:
        """`find`: what is known for a registry; may block. `seeds`: docker's directory, where clients keep secrets of
        their own. Without `gives_tokens`, the daemon is given passwords and gets tokens itself."""
        self._find = find
        self._seeds = _Seeds(seeds)
        self._gives_tokens = gives_tokens
        self._asking = asyncio.Lock()

    async def Credentials(self, stream: Stream[CredentialsRequest, CredentialsResponse]) -> None:  # noqa: N802
        request = await stream.recv_message()
        assert request is not None
        login = await self._login(request.Host)
        await stream.send_message(CredentialsResponse(Username=login.user, Secret=login.secret))

    async def FetchToken(self, stream: Stream[FetchTokenRequest, FetchTokenResponse]) -> None:  # noqa: N802
        request = await stream.recv_message()
        assert request is not None
        login = await self._login(request.Host)
        if login.registry_token:
            token = Token(login.registry_token, DEFAULT_LIFE, 0)
        else:
            token = await asyncio.to_thread(
                fetch_token,
                login,
                realm=request.Realm,
                service=request.Service,
                scopes=list(request.Scopes),
                client_id=request.ClientID or "boatyard",
            )
        await stream.send_message(
            FetchTokenResponse(Token=token.token, ExpiresIn=token.expires_in, IssuedAt=token.issued_at)
        )

    async def GetTokenAuthority(  # noqa: N802
        self, stream: Stream[GetTokenAuthorityRequest, GetTokenAuthorityResponse]
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        key = await self._key(request.Host, request.Salt)
        await stream.send_message(GetTokenAuthorityResponse(PublicKey=_public(key)))

    async def VerifyTokenAuthority(  # noqa: N802
        self, stream: Stream[VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse]
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        key = await self._key(request.Host, request.Salt)
        await stream.send_message(VerifyTokenAuthorityResponse(Signed=_signed(key, request.Payload)))

    async def _login(self, host: str) -> Login:
        async with self._asking:  # helper programs aren't made to be asked two things at once
            return await asyncio.to_thread(self._find, host)

    async def _key(self, host: str, salt: bytes) -> bytes:
        """The seed of a key that whoever has the same credentials has, too: the salt is the daemon's, the seed below is
        ours, so that it can't find out the password by trying."""
        if not self._gives_tokens:
            raise GRPCError(Status.UNAVAILABLE, "client side tokens disabled")
        login = await self._login(host)
        seed = await asyncio.to_thread(self._seeds.seed, host)
        return hmac.digest(salt, seed if login.secret else b"", hashlib.sha256)


class _Seed(msgspec.Struct, frozen=True, rename={"seed": "Seed"}):
    seed: str
    """Base64."""


class _Seeds:
    """Secrets of this user, one for each registry: in docker's directory, shared with other clients."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / ".token_seed"
        self._own: dict[str, _Seed] = {}

    def seed(self, host: str) -> bytes:
        """Made when there is none. Blocks."""
        try:
            with self._locked():
                known = {**self._own, **self._read()}
                if host not in known:
                    known[host] = _Seed(base64.b64encode(os.urandom(16)).decode())
                    self._write(known)
                self._own = known
        except OSError as error:
            raise StorageError(f"can't keep a seed in {self._directory}: {error.strerror}") from error
        return base64.b64decode(known[host].seed)

    def _read(self) -> dict[str, _Seed]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Seed])
        except (FileNotFoundError, PermissionError, NotADirectoryError, msgspec.DecodeError):
            return {}  # another client may have been killed while it wrote

    def _write(self, seeds: Mapping[str, _Seed]) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # a read-only directory: it lasts as long as this session
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(dict(seeds))))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _public(seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _signed(seed: bytes, payload: bytes) -> bytes:
    """NaCl's form: the signature, then what is signed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).sign(payload) + payload
