"""What a list of files must be like: sorted name by name, directories before what they hold, nothing twice, no name
that leads elsewhere. A list that is so can't make a receiver write through a link, or outside."""

from __future__ import annotations

import re
import stat

from boatyard.errors import InvalidError
from boatyard.session.fsutil.entry import Entry

MOST_ENTRIES = 2_000_000
MOST_BYTES = 256 << 20
"""Of all names and attributes of a list."""
LONGEST_PATH = 4095
LONGEST_NAME = 255
MOST_XATTR_BYTES = 1 << 16

_UNCLEAN = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\0")
"""An empty name, `.` or `..`, at any place: absolute paths have one, too."""


class Order:
    """Of one list, looked at entry by entry."""

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._count = 0
        self._size = 0
        self._directory = ""
        self._last = ""
        self._above: list[tuple[str, str]] = []
        """The directories that are open above, and the last name in each."""
        self._files: set[str] = set()

    def check(self, entry: Entry) -> None:
        """InvalidError when it can't stand at this place of a list."""
        path = entry.path
        self._count += 1
        if self._count > self._most:
            raise InvalidError(f"the list has more than {self._most} names", hint="leave some out with .dockerignore")
        if _UNCLEAN.search(path):
            raise InvalidError(f"{_shown(path)} is no path inside a directory")
        directory, _, name = path.rpartition("/")
        if len(path) > LONGEST_PATH // 4 or len(name) > LONGEST_NAME // 4:
            self._check_length(path, name)
        while directory != self._directory:
            if not self._above:
                raise InvalidError(f"{_shown(path)} comes without its directory, or too late")
            self._directory, self._last = self._above.pop()
        if not _is_before(self._last, name):
            raise InvalidError(f"{_shown(path)} is out of order: it comes after {_shown(self._last)}")
        self._last = name
        if stat.S_ISDIR(entry.mode):
            self._above.append((self._directory, self._last))
            self._directory, self._last = path, ""
        elif not stat.S_ISLNK(entry.mode):
            if not entry.link:
                self._files.add(path)
            elif entry.link not in self._files:
                raise InvalidError(f"{_shown(path)} is a link to {_shown(entry.link)}, which did not come before it")
        self._size += len(path) + len(entry.link)
        if entry.xattrs:
            size = sum(len(key) + len(value) for key, value in entry.xattrs.items())
            if size > MOST_XATTR_BYTES:
                raise InvalidError(f"{_shown(path)} has too many extended attributes")
            self._size += size
        if self._size > MOST_BYTES:
            raise InvalidError(f"the names and attributes of the list have more than {MOST_BYTES >> 20} MB")

    def _check_length(self, path: str, name: str) -> None:
        if len(_bytes(path)) > LONGEST_PATH or len(_bytes(name)) > LONGEST_NAME:
            raise InvalidError(f"{_shown(path)} is too long a path")


def _is_before(one: str, other: str) -> bool:
    """By bytes."""
    if one.isascii() and other.isascii():
        return one < other
    return _bytes(one) < _bytes(other)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(path: str) -> str:
    return ascii(path[:200])
