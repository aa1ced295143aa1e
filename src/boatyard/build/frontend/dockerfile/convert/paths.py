"""Paths in an image and in a context: always `/`-separated, whatever the client runs on."""

from __future__ import annotations

import posixpath


def absolute(path: str, directory: str = "/") -> str:
    """Clean and absolute; a relative one is meant below `directory`. `..` never leads out of the root."""
    joined = posixpath.normpath(posixpath.join("/", directory, path))
    return "/" + joined.lstrip("/")


def destination(path: str, directory: str) -> str:
    """Where COPY writes. A trailing `/` (or `/.`) stays: it says that a directory is meant. `.` and nothing mean one,
    too."""
    path = path if path not in (".", "") else "./"
    clean = absolute(path, directory)
    if path.endswith("/"):
        return clean if clean == "/" else clean + "/"
    if path.endswith("/."):
        return "/." if clean == "/" else clean + "/."
    return clean


def has_wildcards(path: str) -> bool:
    """Whether `path` is a pattern; a backslash takes the meaning off what follows it."""
    escaped = False
    for char in path:
        if not escaped and char in "*?[":
            return True
        escaped = not escaped and char == "\\"
    return False
