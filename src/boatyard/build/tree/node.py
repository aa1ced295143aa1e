"""One name in a tree of files, and what a tree is.

Paths are relative to the tree's root, with slashes, without `.` and `..`; "" is the root. Bytes that aren't UTF-8 are
kept as surrogate escapes.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec

DIGEST = hashlib.sha256
"""Of files' bytes."""
NO_XATTRS: Mapping[str, bytes] = {}


class Node(msgspec.Struct, gc=False):
    """A file, directory, link or special file. What is read of it stands in the first block and never changes; trees
    fill in the rest when somebody asks for it."""

    path: str
    mode: int
    """As `st_mode`, with the type."""
    uid: int
    gid: int
    size: int
    mtime_ns: int
    nlink: int
    device: int
    inode: int
    rdev: int = 0
    link: str = ""
    """The target of a symbolic link."""

    digest: bytes = b""
    """Of a regular file's bytes. See `Tree.learn`."""
    xattrs: Mapping[str, bytes] = NO_XATTRS
    """Those that are copied with the file. See `Tree.learn`."""
    record: bytes = b""
    """What counts of it; see `checksum`."""
    learned: bool = False
    """`digest` and `xattrs` are known."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


class Reader(Protocol):
    """Reads files of a tree, best in the order of their directories. Belongs to one thread; a context manager."""

    def open(self, node: Node) -> int:
        """A descriptor to read a regular file from; the caller closes it."""

    def wants_digest(self, node: Node) -> bool:
        """Whether `confirm` needs the digest of what was read."""

    def confirm(self, node: Node, descriptor: int, digest: bytes) -> Mapping[str, bytes]:
        """After everything was read: the file is what the tree says it is, or ContextChangedError. Its xattrs."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Tree(Protocol):
    """Files that don't change while they are looked at; a tree that finds out otherwise raises ConflictError. All
    methods block."""

    @property
    def root(self) -> Node: ...

    def child(self, directory: Node, name: str) -> Node | None: ...

    def children(self, directory: Node) -> Sequence[Node]:
        """Sorted by name."""

    def learn(self, nodes: Sequence[Node]) -> None:
        """Fill in `digest` and `xattrs`. Reads what it doesn't know yet, several files at once."""

    def reader(self) -> Reader: ...

    def missing(self, path: str) -> str | None:
        """Why there is nothing at a path, if there is more to say than that (it is excluded): what to do about it."""


def join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
