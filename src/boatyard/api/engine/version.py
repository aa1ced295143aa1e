"""The versions of Docker's API: a request names one in its path (`/v1.41/…`), and gets answers in that version's form.

Specification: docs.docker.com, Engine API, "Versioned API and SDK".
"""

from __future__ import annotations

import re

from boatyard.errors import InvalidError

Version = tuple[int, ...]

MAXIMUM: Version = (1, 50)
MINIMUM: Version = (1, 24)

_PREFIX = re.compile(r"/v([0-9.]+)(/.*)")
_DIGITS = 9
"""More are not a version but an attempt at something."""


def text(version: Version) -> str:
    return ".".join(map(str, version))


def split(path: str) -> tuple[str, str]:
    """The version that a path begins with, as it is written there ("" for none), and the rest of the path."""
    match = _PREFIX.fullmatch(path)
    return (match[1], match[2]) if match else ("", path)


def parse(written: str) -> Version:
    """InvalidError for a version that this daemon doesn't speak. No version is the newest."""
    if not written:
        return MAXIMUM
    parts = [part.lstrip("0") for part in written.split(".")]
    version = tuple(int(part or "0") if len(part) <= _DIGITS else 10**_DIGITS for part in parts)
    while len(version) > 2 and version[-1] == 0:
        version = version[:-1]
    if version < MINIMUM:
        raise InvalidError(
            f"client version {written} is too old. Minimum supported API version is {text(MINIMUM)}, "
            "please upgrade your client to a newer version"
        )
    if version > MAXIMUM:
        raise InvalidError(
            f"client version {written} is too new. Maximum supported API version is {text(MAXIMUM)}",
        )
    return version


def is_ancient(written: str) -> bool:
    """Whether a client of that version expects errors as plain text."""
    try:
        return parse(written) < MINIMUM
    except InvalidError as error:
        return "too old" in error.message
