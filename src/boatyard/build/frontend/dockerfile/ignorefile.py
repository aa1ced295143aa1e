"""The text of a `.dockerignore` file as patterns for `build.patterns`.

Specification: the Docker documentation, "Build context", ".dockerignore files".
"""

from __future__ import annotations

import posixpath

_BOM = b"\xef\xbb\xbf"
_BLANKS = "\t\n\v\f\r \x85\xa0"


def parse_ignore_file(data: bytes) -> tuple[str, ...]:
    """One pattern a line, cleaned as a path; a leading `/` means nothing. Lines that begin with `#` are comments.
    Names that aren't UTF-8 are kept as the file system layer keeps them (surrogate escapes)."""
    patterns: list[str] = []
    for line in data.removeprefix(_BOM).decode("utf-8", "surrogateescape").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(_BLANKS)
        if not pattern:
            continue
        negated = pattern.startswith("!")
        if negated:
            pattern = pattern[1:].strip(_BLANKS)
        patterns.append(("!" if negated else "") + _cleaned(pattern))
    return tuple(patterns)


def _cleaned(pattern: str) -> str:
    if not pattern:
        return ""
    # normpath keeps two leading slashes, which POSIX leaves a meaning of their own.
    pattern = posixpath.normpath("/" + pattern.lstrip("/") if pattern.startswith("/") else pattern)
    return pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
