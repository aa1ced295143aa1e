"""What is in a directory of ours."""

from __future__ import annotations

from boatyard.session.fsutil.entry import Entry
from boatyard.session.fsutil.walk import everything, walk


def known_files(root: int) -> dict[str, Entry]:
    """By path. Blocks."""
    return {entry.path: entry for entry in walk(root, everything(), xattrs=False)}
