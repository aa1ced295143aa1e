"""A source's name as a file's: readable where it can be, and never a way out of the directory.

What is no letter, digit or one of `._-+=@:,~ ` is written `%XX`; so is a dot at the beginning (hidden files, and
`..`), and a space at either end. A name that would be too long ends with a digest of all of it. Different names
stay different.
"""

from __future__ import annotations

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+=@:,~ ")
LONGEST = 200
"""Bytes; `.log.10.gz` and a temporary name's ending have to fit a file system's 255."""


def stem(source: bytes) -> str:
    """The file's name without `.log`."""
    written = "".join(chr(code) if code in _PLAIN else f"%{code:02X}" for code in source)
    if not written:
        return "%"
    if written[0] in ". ":
        written = f"%{ord(written[0]):02X}{written[1:]}"
    if written[-1] == " ":
        written = written[:-1] + "%20"
    if len(written) <= LONGEST:
        return written
    from hashlib import sha256

    return f"{written[: LONGEST - 20]}%~{sha256(source).hexdigest()[:16]}"
