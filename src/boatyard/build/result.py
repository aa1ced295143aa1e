"""What steps of a build hand to each other: files, lazily.

A `Result` is either a chain of layers (`LayersResult`) or a view of a client's directory (`source.local.LocalTree`). It
is turned into a mounted tree, a chain or a checksum only when somebody needs that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from boatyard.build.solver.types import ContentKey
from boatyard.build.tree import checksum
from boatyard.build.tree.checksum import Selector
from boatyard.build.tree.layers import LayerTree
from boatyard.build.tree.lookup import find
from boatyard.build.tree.node import Tree
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore

__all__ = ["LayersResult", "Result", "Selector", "layer_files", "read_dir", "read_file"]


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

    async def read_file(self, path: str) -> bytes:
        return await asyncio.to_thread(lambda: read_file(self.files(), path))

    async def read_dir(self, path: str) -> Sequence[str]:
        return await asyncio.to_thread(lambda: read_dir(self.files(), path))


def layer_files(store: LayerStore, chain: Chain) -> LayerTree:
    """Blocks: unpacks what is not on disk yet."""
    store.materialise(chain)
    return LayerTree(store.directories(chain))


def read_file(tree: Tree, path: str) -> bytes:
    """Blocks. NotFoundError unless links lead to a regular file."""
    node = find(tree, path)
    if node is None or not node.is_regular:
        raise checksum.not_found(tree, path)
    with tree.reader() as reader, open(reader.open(node), "rb", buffering=0) as file:
        return file.readall()


def read_dir(tree: Tree, path: str) -> tuple[str, ...]:
    """Blocks. NotFoundError unless links lead to a directory."""
    node = find(tree, path)
    if node is None or not node.is_directory:
        raise checksum.not_found(tree, path)
    return tuple(child.name for child in tree.children(node))
