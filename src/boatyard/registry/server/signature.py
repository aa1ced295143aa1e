"""AWS's signature of requests, version 4, as S3-compatible stores want it. Pure.

Specification: AWS, "Authenticating Requests (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Key:
    """Whose requests these are. `session`: the token of temporary keys."""

    id: str
    secret: str
    region: str
    session: str = ""


def headers(
    key: Key,
    method: str,
    host: str,
    path: str,
    query: Sequence[tuple[str, str]],
    now: float,
    *,
    payload: str = UNSIGNED,
    more: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What to send besides `more`, which is signed, too. `payload`: the body's SHA-256."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    sent = {"x-amz-content-sha256": payload, "x-amz-date": stamp}
    if key.session:
        sent["x-amz-security-token"] = key.session
    signed = {name.lower(): value.strip() for name, value in {**(more or {}), **sent, "host": host}.items()}
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/-_.~"),
            encoded(query),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            payload,
        )
    )
    scope = f"{stamp[:8]}/{key.region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    secret = f"AWS4{key.secret}".encode()
    for part in (stamp[:8], key.region, "s3", "aws4_request"):
        secret = hmac.digest(secret, part.encode(), hashlib.sha256)
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    sent["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key.id}/{scope},SignedHeaders={names},Signature={signature}"
    return sent


def encoded(query: Sequence[tuple[str, str]]) -> str:
    """A query as it is signed and sent."""
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query))
