"""The snapshots that take what a process changes, and what becomes of them: layers, or nothing."""

from __future__ import annotations

from boatyard.build.result import LayersResult, Result
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.snapshotter import SnapshotId


class Changes:
    """Those of one step, or of one container. What was not committed is removed at the end. Everything blocks."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers
        self._active: dict[SnapshotId, tuple[int, Chain]] = {}
        self._outputs: dict[int, SnapshotId] = {}

    def begin(self, mount: int, chain: Chain, output: int) -> SnapshotId:
        """A snapshot for changes on top of a chain, at the mount of that number; `output` -1: they are thrown away."""
        active = self._layers.snapshotter.prepare()
        self._active[active] = (mount, chain)
        if output >= 0:
            self._outputs[output] = active
        return active

    def commit(self) -> list[Result]:
        """The outputs in order: all of them, or none. Nothing may be mounted any more."""
        results: list[LayersResult] = []
        try:
            for output in sorted(self._outputs):
                results.append(self._committed(self._outputs[output]))
        except BaseException:
            layers = [result.layers[-1] for result in results]
            results.clear()  # they hold what is removed now
            for layer in layers:
                self._layers.remove(layer)
            raise
        return list(results)

    def keep(self) -> dict[int, Result]:
        """Everything as it is now, by mount: what a step that failed left behind."""
        return {mount: self._committed(active) for active, (mount, _) in list(self._active.items())}

    def _committed(self, active: SnapshotId) -> LayersResult:
        _, chain = self._active[active]
        layer = self._layers.add(active, base=chain)
        del self._active[active]
        return LayersResult((*chain, layer), self._layers)

    def discard(self) -> None:
        while self._active:
            active, _ = self._active.popitem()
            self._layers.snapshotter.remove(active)
