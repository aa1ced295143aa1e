"""PAX extended headers: records of keys and values, and how values are written.

Specification: POSIX.1-2017 `pax`, "pax Extended Header"; xattrs as star (SCHILY) and libarchive write them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from boatyard.errors import LayerError

MAX_SIZE = (1 << 63) - 1
NO_XATTRS: Mapping[bytes, bytes] = {}


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """`LENGTH KEY=VALUE` lines, where LENGTH counts the whole line."""
    found: list[tuple[bytes, bytes]] = []
    position = 0
    end = len(data)
    while position < end:
        if data[position] == 0:  # some writers pad
            break
        space = data.find(b" ", position, position + 12)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise LayerError("a PAX header in the tar stream is malformed")
        stop = position + int(digits)
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if stop > end or stop <= space + 1 or not equals or not key or data[stop - 1] != 10:
            raise LayerError("a PAX header in the tar stream is malformed")
        found.append((key, value))
        position = stop
    return found


def decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 20:
        raise LayerError(f"a PAX header has an unreadable {what}: {text[:40]!r}")
    value = int(text)
    if value > MAX_SIZE:
        raise LayerError(f"a PAX header has an impossible {what}: {value}")
    return value


def nanoseconds(text: bytes) -> int:
    negative = text.startswith(b"-")
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    if not (seconds or b"0").isdigit() or not (fraction or b"0").isdigit() or len(seconds) > 20:
        raise LayerError(f"a PAX header has an unreadable mtime: {text[:40]!r}")
    value = int(seconds or b"0") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -value if negative else value


def xattrs(values: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key, value in values.items():
        if key.startswith(b"LIBARCHIVE.xattr."):
            try:
                found[unquote_to_bytes(key[17:])] = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except binascii.Error as error:
                raise LayerError(f"a PAX header has an unreadable xattr {key[17:]!r}") from error
    for key, value in values.items():
        if key.startswith(b"SCHILY.xattr."):
            found[key[13:]] = value
    return found or NO_XATTRS
