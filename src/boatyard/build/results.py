"""Results that outlive the daemon: a chain's id is the list of its layers' ids.

Implements the solver's `ResultStore` over the layer store.
"""

from __future__ import annotations

from boatyard.build.result import LayersResult, Result
from boatyard.errors import NotFoundError
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.store import LayerStore


class ChainResults:
    """One per daemon."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def save(self, result: Result) -> str | None:
        return ",".join(result.layers) if isinstance(result, LayersResult) else None

    async def load(self, id: str) -> Result:
        result = LayersResult(chain_of(id), self._layers)
        if not self._layers.exists(result.layers):  # asked once it is held, so that the answer stays true
            raise NotFoundError("a layer of the cached result is gone")
        return result


def chain_of(id: str) -> Chain:
    return tuple(LayerId(layer) for layer in id.split(",") if layer)
