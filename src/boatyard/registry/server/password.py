"""Passwords as they are kept: by scrypt, with their parameters beside them, so that these can grow.

Specification: RFC 7914. The form: `scrypt$N$R$P$SALT$HASH`, the last two in base 64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

COST = 1 << 15
_R, _P = 8, 1
_MEMORY = 128 << 20


def make(password: str, random: Callable[[int], bytes], cost: int = COST) -> str:
    """Blocks for a tenth of a second: that's the point."""
    salt = random(16)
    return "$".join(("scrypt", str(cost), str(_R), str(_P), _text(salt), _text(_hash(password, salt, cost, _R, _P))))


def verify(password: str, kept: str) -> bool:
    """Blocks as long as `make`."""
    _, n, r, p, salt, expected = kept.split("$")
    found = _hash(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(expected))


NOBODYS = "scrypt$32768$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
"""What a password is verified against for a user who isn't there: it takes as long."""


def _hash(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
