"""Secrets out of text, before it leaves this machine.

By what their names say (`password = ...`, `"token": ...`, `API_KEY=...`), and by where they stand (in addresses, in
Authorization headers). It errs on the side of hiding; a secret that looks like nothing is still there, so whoever gives
an archive away is told to look through it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden]"

_NAMES = r"[\w.-]*(?:passw(?:or)?d|secret|token|api[_-]?key|private[_-]?key|credential|auth(?!or)\w*)[\w.-]*"
_ASSIGNED = re.compile(
    rf"""(?P<name>["']?\b{_NAMES}["']?\s*[=:]\s*)(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;"'}}\]]+)""", re.IGNORECASE
)
_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
_HEADER = re.compile(r"\b((?:Proxy-)?Authorization:\s*)\S.*", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}")
_NAMED = re.compile(rf"^{_NAMES}$", re.IGNORECASE)


def redact(text: str) -> str:
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _ADDRESS.sub(rf"\1{HIDDEN}@", text)
    return _ASSIGNED.sub(_without_value, text)


def redact_bytes(data: bytes) -> bytes:
    return redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def redact_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment: values by their names, and what is in the others."""
    return {name: HIDDEN if _NAMED.match(name) and value else redact(value) for name, value in variables.items()}


def redact_document(value: Any) -> Any:
    """A JSON-like value: what stands under a secret's name, and what is in all texts."""
    if isinstance(value, dict):
        return {
            key: HIDDEN if _NAMED.match(str(key)) and isinstance(each, str) and each else redact_document(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [redact_document(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def _without_value(match: re.Match[str]) -> str:
    value = match["value"]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{match['name']}{quote}{HIDDEN}{quote}"
