"""Bearer tokens: JSON documents that this registry signed (Ed25519), as its token service hands them out.

Only tokens of exactly this kind are read: the algorithm isn't the token's to choose. Specification: RFC 7519, RFC 8037;
distribution, "Docker Registry v2 Bearer token specification".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from boatyard.errors import DeniedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LONGEST = 32 << 10
LEEWAY = 5.0
"""Seconds that another process's clock may be behind."""


class Access(msgspec.Struct, frozen=True):
    type: str
    name: str
    actions: list[str]


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    iss: str
    aud: str
    sub: str
    """The user; "" is anybody."""
    exp: float
    nbf: float
    iat: float
    jti: str
    access: list[Access] = []
    pat: str = ""
    """The id of the access token that this one was got with: it ends with that one."""
    session: bool = False
    """Whether it was got with all factors, for managing one's own account."""


class _Head(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str = "JWT"


class Signer:
    """One key. Loads OpenSSL when it is first used."""

    def __init__(self, id: str, key: bytes) -> None:
        self.id = id
        self._raw = key
        self._loaded: Ed25519PrivateKey | None = None

    def _key(self) -> Ed25519PrivateKey:
        if self._loaded is None:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            self._loaded = Ed25519PrivateKey.from_private_bytes(self._raw)
        return self._loaded

    def sign(self, claims: Claims) -> str:
        head = _Head("EdDSA", self.id)
        signed = b".".join(_encoded(msgspec.json.encode(each)) for each in (head, claims))
        return (signed + b"." + _encoded(self._key().sign(signed))).decode("ascii")

    def verified(self, signed: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            self._key().public_key().verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def read(text: str, signers: Sequence[Signer], *, issuer: str, now: float) -> Claims:
    """What a token says, when one of these signed it and it is valid now. DeniedError."""
    parts = text.encode("utf-8", "replace").split(b".")
    if len(parts) != 3 or len(text) > _LONGEST:
        raise DeniedError("this is no bearer token")
    try:
        head = msgspec.json.decode(_decoded(parts[0]), type=_Head)
        claims = msgspec.json.decode(_decoded(parts[1]), type=Claims)
        signature = _decoded(parts[2])
    except (msgspec.MsgspecError, binascii.Error, ValueError, UnicodeDecodeError) as error:
        raise DeniedError("this is no bearer token of this registry") from error
    signer = next((each for each in signers if each.id == head.kid), None)
    if head.alg != "EdDSA" or signer is None or not signer.verified(b".".join(parts[:2]), signature):
        raise DeniedError("the bearer token is not signed by this registry")
    if claims.iss != issuer or claims.aud != issuer:
        raise DeniedError("the bearer token is for another service")
    if claims.nbf - LEEWAY > now or claims.exp <= now:
        raise DeniedError("the bearer token has expired")
    return claims


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(data: bytes) -> bytes:
    found = base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    if _encoded(found) != data:
        raise ValueError("not as it would be written")  # no two texts are one token
    return found
