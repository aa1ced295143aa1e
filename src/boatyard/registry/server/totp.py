"""One-time passwords by time: what authenticator programs show. Pure.

Specification: RFC 6238 with RFC 4226 (SHA-1, 6 digits, 30 seconds), and the key URI of authenticator programs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable
from urllib.parse import quote, urlencode

STEP = 30
DIGITS = 6
_DRIFT = 1
"""Steps that a clock may be off, either way."""


def new_secret(random: Callable[[int], bytes]) -> str:
    """In base 32, as people type it."""
    return base64.b32encode(random(20)).decode("ascii")


def code(secret: str, step: int) -> str:
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1)
    offset = digest[-1] & 15
    (number,) = struct.unpack_from(">I", digest, offset)
    return f"{(number & 0x7FFFFFFF) % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: str, text: str, now: float, *, after: int) -> int | None:
    """The time step that a code is of; None when it is of none near now, or of one not after the last one used."""
    current = int(now // STEP)
    found = None
    for step in range(current - _DRIFT, current + _DRIFT + 1):
        # All of them, so that the time this takes tells nothing.
        if hmac.compare_digest(code(secret, step).encode(), text.encode("utf-8", "replace")) and step > after:
            found = step
    return found


def uri(secret: str, *, issuer: str, account: str) -> str:
    """For a QR code."""
    label = quote(f"{issuer}:{account}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"
