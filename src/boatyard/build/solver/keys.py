"""Cache keys.

A vertex has up to two keys. The *definition key* says which op it is and which keys its inputs have; it needs no input
to exist. The *content key* replaces the keys of those inputs whose files the op declares it reads by the checksum of
those files. A record is found by either; its *canonical* key stands for it in the keys of the vertices above it: the
content key where there is one, because equal contents then meet in one record however they came about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def definition_key(op_digest: str, inputs: Sequence[str]) -> str:
    """`inputs`: the output keys (see `output_key`) of all inputs, in order."""
    return _hash("definition", op_digest, inputs)


def content_key(op_digest: str, inputs: Sequence[str]) -> str:
    """`inputs`: for each input the checksum of what is read of it, or its output key."""
    return _hash("content", op_digest, inputs)


def salted(key: str, salt: str) -> str:
    """A key for one particular execution, which equals no other's."""
    return _hash("execution", key, (salt,))


def output_key(vertex_key: str, index: int) -> str:
    return f"{vertex_key}.{index}" if index else vertex_key


def _hash(kind: str, digest: str, parts: Iterable[str]) -> str:
    # Lengths are fixed or separators can't occur in the parts, so that no two lists read the same.
    return hashlib.sha256("\0".join((kind, digest, *parts)).encode()).hexdigest()
