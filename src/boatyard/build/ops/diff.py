"""The diff op: what makes one result into another, as layers.

When the upper chain continues the lower one, that is the rest of the chain. Otherwise both trees are compared, and the
difference is written as a layer in overlay form.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from boatyard.build.copying.copy import Copier, CopyOptions
from boatyard.build.copying.draft import Draft
from boatyard.build.llb.graph import DiffOp
from boatyard.build.result import LayersResult, Result, layer_files
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.tree.checksum import own_record
from boatyard.build.tree.layers import LayerNode, LayerTree
from boatyard.build.tree.lookup import find
from boatyard.build.tree.node import Node
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.whiteout import make_whiteout, native_flavour


class DiffStep:
    """The op of one diff vertex in one build."""

    def __init__(self, op: DiffOp, layers: LayerStore) -> None:
        self._op = op
        self._layers = layers

    async def cache_map(self, step: StepContext) -> CacheMap:
        return CacheMap(digest=f"diff {self._op.lower} {self._op.upper}")

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        lower: Chain = await inputs[self._op.lower].chain() if self._op.lower >= 0 else ()
        upper: Chain = await inputs[self._op.upper].chain() if self._op.upper >= 0 else ()
        if upper[: len(lower)] == lower:
            chain = upper[len(lower) :]
        else:
            chain = await run_interruptible(lambda stop: difference(self._layers, lower, upper, stop))
        return [LayersResult(chain, self._layers)]


def difference(store: LayerStore, lower: Chain, upper: Chain, stop: Stop) -> Chain:
    """A layer that makes the tree of `lower` into that of `upper`. Blocks."""
    draft = Draft(store, ())
    try:
        _Difference(layer_files(store, lower), layer_files(store, upper), draft, stop).run()
        return draft.commit()
    finally:
        draft.discard()


class _Difference:
    def __init__(self, lower: LayerTree, upper: LayerTree, draft: Draft, stop: Stop) -> None:
        self._lower = lower
        self._upper = upper
        self._destination = draft.destination
        self._copier = Copier(upper, draft.destination, CopyOptions(), stop, linked=draft.linked)
        self._stop = stop
        self._whiteouts: dict[str, list[str]] = {}

    def run(self) -> None:
        self._set(self._upper.root)  # the root of the highest layer is the one that shows
        pairs: list[tuple[Node, Node]] = [(self._lower.root, self._upper.root)]
        while pairs:
            self._stop.check()
            pairs += self._compare(*pairs.pop())
        self._copier.run()
        for directory, names in self._whiteouts.items():
            descriptor = self._destination.open_directory(directory)
            try:
                for name in names:
                    make_whiteout(os.fsencode(name), dir_fd=descriptor, flavour=native_flavour())
            finally:
                os.close(descriptor)

    def _compare(self, lower: Node, upper: Node) -> list[tuple[Node, Node]]:
        """Compare two directories; those below that are in both."""
        if lower.mtime_ns != upper.mtime_ns or not self._is_alike(lower, upper):
            self._make(upper)
        before = {node.name: node for node in self._lower.children(lower)}
        after = {node.name: node for node in self._upper.children(upper)}
        for name in before.keys() - after.keys():
            self._make(upper)
            self._whiteouts.setdefault(upper.path, []).append(name)
        both: list[tuple[Node, Node]] = []
        for name, node in after.items():
            earlier = before.get(name)
            if earlier is not None and node.is_directory and earlier.is_directory:
                both.append((earlier, node))
            elif earlier is None or not self._is_same(earlier, node):
                self._make(upper)
                self._copier.add(node, node.path)
        return both

    def _is_same(self, lower: LayerNode, upper: LayerNode) -> bool:
        if lower.layers == upper.layers:
            return True
        if lower.size != upper.size or lower.mtime_ns != upper.mtime_ns or lower.mode != upper.mode:
            return False
        return self._is_alike(lower, upper) and lower.digest == upper.digest

    def _is_alike(self, lower: Node, upper: Node) -> bool:
        self._lower.learn([lower])
        self._upper.learn([upper])
        return own_record(lower) == own_record(upper)

    def _make(self, directory: Node) -> None:
        """Have a directory of the upper tree, and those above it, in the layer."""
        names = directory.path.split("/")
        for depth in range(1, len(names) + 1):
            path = "/".join(names[:depth])
            if self._destination.entry(path) is None:
                node = find(self._upper, path, follow=False)
                assert node is not None
                self._destination.make_directory(path)
                self._set(node)

    def _set(self, node: Node) -> None:
        self._upper.learn([node])
        self._destination.set_directory(
            node.path,
            mode=stat.S_IMODE(node.mode),
            owner=(node.uid, node.gid),
            xattrs=node.xattrs,
            time=node.mtime_ns,
        )
