"""What a server asks for when it answers 401: the header WWW-Authenticate. Specification: RFC 9110, 11.6.1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LONGEST = 16384
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|$|(?=,))")
_PARAMETER = re.compile(rf"\s*({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}[=/:A-Za-z0-9._~+-]*))\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse(header: str) -> list[Challenge]:
    """All challenges of a header, in order; what can't be read ends the list."""
    found: list[Challenge] = []
    position = 0
    header = header[:_LONGEST]
    while position < len(header):
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            break
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters.setdefault(name.lower(), value)
            position = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
        comma = re.compile(r"\s*,").match(header, position)
        if comma is not None:
            position = comma.end()
    return found
