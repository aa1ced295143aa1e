"""Work that exporters will ask for, begun while the build goes on: the diff IDs of layers that will be in the image.

A step's layer is hashed beside the steps above it, so that nothing is left to do when the last one ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from boatyard.build.result import LayersResult
from boatyard.build.solver.types import Result, Vertex
from boatyard.errors import BoatyardError
from boatyard.image.layer.store import LayerStore

log = logging.getLogger(__name__)


class DescribeAhead:
    """One per build. One chain at a time: the steps have the right of way."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers
        self._wanted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(1)

    def want(self, digests: Iterable[str]) -> None:
        """The layers of these vertices will be in an image."""
        self._wanted.update(digests)

    def made(self, vertex: Vertex, outputs: Sequence[Result]) -> None:
        """A vertex was executed."""
        if vertex.digest in self._wanted:
            for output in outputs:
                if isinstance(output, LayersResult):
                    task = asyncio.create_task(self._describe(output))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _describe(self, result: LayersResult) -> None:
        async with self._turn:
            try:
                await asyncio.to_thread(self._describe_made, result)
            except BoatyardError as error:
                log.info("a layer can't be described ahead: %s", error)  # the exporter will find the same, and tell

    def _describe_made(self, result: LayersResult) -> None:
        """Of layers that came with a blob enough is known; that may not even have been fetched."""
        made = [layer for layer in result.layers if self._layers.get(layer).origin is None]
        self._layers.describe(tuple(made))

    async def close(self) -> None:
        """What waits is dropped. A thread that hashes goes on, for the layer store alone: nobody waits for it, as that
        can take seconds."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
