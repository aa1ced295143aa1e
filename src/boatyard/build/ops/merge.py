"""The merge op: the layers of several results in a row. Nothing is read or written."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.build.llb.graph import MergeOp
from boatyard.build.result import LayersResult, Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore


class MergeStep:
    """The op of one merge vertex in one build."""

    def __init__(self, op: MergeOp, layers: LayerStore) -> None:
        self._op = op
        self._layers = layers

    async def cache_map(self, step: StepContext) -> CacheMap:
        return CacheMap(digest=f"merge {' '.join(map(str, self._op.inputs))}")

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        chains = [await inputs[index].chain() for index in self._op.inputs if index >= 0]
        return [LayersResult(merged(chains), self._layers)]


def merged(chains: Sequence[Chain]) -> Chain:
    """One chain with the files of all, a later one's over an earlier one's. Of a layer that comes several times only
    the last counts: it hides the others, and no file system can be mounted with a layer twice in it."""
    everything = [layer for chain in chains for layer in chain]
    return tuple(reversed(dict.fromkeys(reversed(everything))))
