"""Values in the metadata of calls, which may only be printable ASCII: others are URL-escaped, and it is said so.

Specification: moby/buildkit, `session/filesync/filesync.go` (encodeOpts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus, unquote_plus

_ENCODED = "-encoded"


def encode(values: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Several values of a name are several fields; none are left out."""
    fields: list[tuple[str, str]] = []
    for name, texts in values.items():
        if not texts:
            continue
        if all(_is_plain(text) for text in texts):
            fields += [(name, text) for text in texts]
        else:
            fields += [(name, quote_plus(text, errors="surrogateescape")) for text in texts]
            fields.append((name + _ENCODED, "1"))
    return fields


def decode(fields: Iterable[tuple[str, str | bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    for name in list(found):
        if name.endswith(_ENCODED) and found[name][0].lower() in ("1", "t", "true"):
            plain = name.removesuffix(_ENCODED)
            if plain in found:
                found[plain] = [unquote_plus(text, errors="surrogateescape") for text in found[plain]]
    return found


def one(call: Any, name: str) -> str:
    """Of a call that is answered; "" when it isn't there."""
    value = (call.metadata or {}).get(name, "")
    return value if isinstance(value, str) else ""


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip()
