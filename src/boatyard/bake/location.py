"""Where things are that a definition names: here, below the file that names them, or elsewhere."""

from __future__ import annotations

import posixpath
import re

from boatyard.bake.definition import LINK

WORKING = "cwd://"
"""The working directory, in whatever definition."""
ELSEWHERE = (LINK, "docker-image:", "oci-layout:")
_REMOTE = re.compile(r"(?:https?|git|ssh)://|git@|github\.com/")


def is_remote(path: str) -> bool:
    """A git repository or a URL."""
    return _REMOTE.match(path) is not None


def directory(file: str) -> str | None:
    """Where the file of a definition is; None for standard input and what is elsewhere."""
    return None if file == "-" or is_remote(file) else posixpath.dirname(file) or "."


def below(base: str | None, path: str) -> str:
    """A path that a file says which is in the directory `base`."""
    if base is None or not path or path.startswith((WORKING, *ELSEWHERE)) or is_remote(path) or posixpath.isabs(path):
        return path
    return posixpath.normpath(posixpath.join(base, path))
