"""What steps of a build hand to each other: files, lazily.

A `Result` is either a chain of layers (`LayersResult`) or a view of a client's directory (`source.local.LocalTree`). It
is turned into a mounted tree, a chain or a checksum only when somebody needs that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from boatyard.build.solver.types import ContentKey
from boatyard.image.layer.chain import Chain


@dataclass(frozen=True, slots=True)
class Selector:
    """Which files of a result an op reads. `path` is absolute inside the result. With `wildcard`, its last elements are
    patterns."""

    path: str
    wildcard: bool = False
    follow_links: bool = True
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()


class Result(Protocol):
    async def chain(self) -> Chain:
        """As layers in the layer store. A view of a client's directory is copied for that; a chain is free."""

    def tree(self) -> AbstractAsyncContextManager[Path]:
        """A readable directory with exactly these files, while the context lasts."""

    async def content_key(self, selectors: Sequence[Selector]) -> ContentKey:
        """The checksum of the selected files: names, modes, owners, links, xattrs and bytes; not times. NotFoundError
        when a selector without wildcard matches nothing."""

    async def read_file(self, path: str) -> bytes:
        """One file's bytes, without materialising anything else. Symlinks are followed inside the tree; `path` "/" with
        a tail that leads nowhere or to a directory raises NotFoundError."""

    async def read_dir(self, path: str) -> Sequence[str]:
        """The names in a directory, sorted."""
