"""What steps of a build hand to each other: files, lazily.

A `Result` is either a chain of layers (`LayersResult`) or a view of a client's directory (`source.local.LocalTree`). It
is turned into a mounted tree, a chain or a checksum only when somebody needs that.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from boatyard.build.solver.types import ContentKey
from boatyard.build.tree import checksum
from boatyard.build.tree.checksum import Selector
from boatyard.build.tree.layers import LayerTree
from boatyard.build.tree.lookup import find
from boatyard.build.tree.node import Node, Tree
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore

__all__ = ["LayersResult", "Result", "Selector", "entries", "layer_files", "read_file", "stat"]


class Result(Protocol):
    async def chain(self) -> Chain:
        """As layers in the layer store. A view of a client's directory is copied for that; a chain is free."""

    def tree(self) -> AbstractAsyncContextManager[Path]:
        """A readable directory with exactly these files, while the context lasts."""

    async def content_key(self, selectors: Sequence[Selector]) -> ContentKey:
        """The checksum of the selected files: names, modes, owners, links, xattrs and bytes; not times. NotFoundError
        when a selector without wildcard matches nothing."""

    async def read_file(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        """One file's bytes (-1: to the end), without materialising anything else. Symlinks are followed inside the
        tree; `path` "/" with a tail that leads nowhere or to a directory raises NotFoundError."""

    async def read_dir(self, path: str) -> Sequence[str]:
        """The names in a directory, sorted."""

    async def entries(self, path: str) -> Sequence[Node]:
        """What is in a directory, sorted by name. NotFoundError unless links lead to one."""

    async def stat(self, path: str) -> Node:
        """What links lead to. NotFoundError."""


class LayersResult:
    """A chain of layers, which are held as long as this lives. Implements `Result`."""

    def __init__(self, layers: Chain, store: LayerStore) -> None:
        self.layers = layers
        self._store = store
        store.hold(layers)

    def __del__(self) -> None:
        self._store.let_go(self.layers)

    async def chain(self) -> Chain:
        return self.layers

    @asynccontextmanager
    async def tree(self) -> AsyncIterator[Path]:
        mount = self._store.mount(self.layers)
        path = await asyncio.to_thread(mount.__enter__)
        try:
            yield path
        finally:
            await asyncio.to_thread(mount.__exit__, None, None, None)

    async def content_key(self, selectors: Sequence[Selector]) -> ContentKey:
        return await asyncio.to_thread(lambda: checksum.content_key(self.files(), selectors))

    def files(self) -> LayerTree:
        """The files, merged from the layers' directories. Unpacks what is not on disk yet; blocks."""
        return layer_files(self._store, self.layers)

    async def read_file(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        return await asyncio.to_thread(lambda: read_file(self.files(), path, offset, length))

    async def read_dir(self, path: str) -> Sequence[str]:
        return tuple(node.name for node in await self.entries(path))

    async def entries(self, path: str) -> Sequence[Node]:
        return await asyncio.to_thread(lambda: entries(self.files(), path))

    async def stat(self, path: str) -> Node:
        return await asyncio.to_thread(lambda: stat(self.files(), path))


def layer_files(store: LayerStore, chain: Chain) -> LayerTree:
    """Blocks: unpacks what is not on disk yet."""
    store.materialise(chain)
    return LayerTree(store.directories(chain))


def read_file(tree: Tree, path: str, offset: int = 0, length: int = -1) -> bytes:
    """Blocks. NotFoundError unless links lead to a regular file."""
    node = stat(tree, path)
    if not node.is_regular:
        raise checksum.not_found(tree, path)
    with tree.reader() as reader, open(reader.open(node), "rb", buffering=0) as file:
        if not offset and length < 0:
            return file.readall()
        file.seek(offset)
        # In one piece, whatever the kernel gives at once.
        with io.BufferedReader(file) as buffered:
            return buffered.read(length)


def entries(tree: Tree, path: str) -> Sequence[Node]:
    """Blocks. NotFoundError unless links lead to a directory."""
    node = stat(tree, path)
    if not node.is_directory:
        raise checksum.not_found(tree, path)
    return tree.children(node)


def stat(tree: Tree, path: str) -> Node:
    """Blocks. NotFoundError unless links lead to something."""
    node = find(tree, path)
    if node is None:
        raise checksum.not_found(tree, path)
    return node
