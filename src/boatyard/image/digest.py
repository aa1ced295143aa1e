"""Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`.

Specification: OCI image-spec, descriptor.md, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NewType

from boatyard.errors import InvalidError

if TYPE_CHECKING:
    from hashlib import _Hash

Digest = NewType("Digest", str)
"""A validated digest string. It is a plain `str` at run time, so that it costs nothing in documents and as a key."""

_PATTERN = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")


def parse(text: str) -> Digest:
    """Raise InvalidError unless `text` is a digest of an algorithm that Boatyard can verify."""
    if not _PATTERN.fullmatch(text):
        raise InvalidError(f"invalid digest {text[:160]!r}", hint="a digest looks like sha256:<64 hexadecimal digits>")
    return Digest(text)


def is_digest(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def algorithm(digest: Digest) -> str:
    return digest.partition(":")[0]


def encoded(digest: Digest) -> str:
    """The hexadecimal part."""
    return digest.partition(":")[2]


def of_bytes(data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


def of_hash(hasher: _Hash) -> Digest:
    """The digest of what a hashlib object has seen so far."""
    return Digest(f"{hasher.name}:{hasher.hexdigest()}")


def hasher(digest: Digest) -> _Hash:
    """A fresh hashlib object of the digest's algorithm."""
    return hashlib.new(algorithm(digest))
