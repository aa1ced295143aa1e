"""Why a request is refused, in the words of the distribution API: a status, a code, a message.

Specification: OCI distribution-spec 1.1, "Error Codes".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from boatyard.errors import BoatyardError

Headers = list[tuple[bytes, bytes]]


class RefusedError(BoatyardError):
    """A request can't be done. `code` is one of the specification's."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: object = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers

    def body(self) -> bytes:
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return msgspec.json.encode({"errors": [error]}) + b"\n"


def name_invalid(name: str) -> RefusedError:
    return RefusedError(400, "NAME_INVALID", "invalid repository name", detail={"name": name[:300]})


def name_unknown(name: str) -> RefusedError:
    return RefusedError(404, "NAME_UNKNOWN", "repository name not known to registry", detail={"name": name})


def digest_invalid(text: str, why: str = "the digest is malformed, or of an unknown algorithm") -> RefusedError:
    return RefusedError(400, "DIGEST_INVALID", why, detail={"digest": text[:300]})


def blob_unknown(digest: str) -> RefusedError:
    return RefusedError(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})


def upload_unknown() -> RefusedError:
    return RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")


def manifest_unknown(reference: str) -> RefusedError:
    return RefusedError(404, "MANIFEST_UNKNOWN", "manifest unknown to registry", detail={"reference": reference[:300]})


def manifest_invalid(why: str) -> RefusedError:
    return RefusedError(400, "MANIFEST_INVALID", f"manifest invalid: {why}")


def too_many(wait: float) -> RefusedError:
    headers = [(b"retry-after", b"%d" % math.ceil(wait))]
    return RefusedError(429, "TOOMANYREQUESTS", "too many requests", headers=headers)


def method_not_allowed(allowed: str) -> RefusedError:
    return RefusedError(
        405, "UNSUPPORTED", "the operation is unsupported here", headers=[(b"allow", allowed.encode("ascii"))]
    )
