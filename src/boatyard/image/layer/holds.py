"""Layers that something in memory stands on: they can't be removed, whatever a garbage collection found out before."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from boatyard.errors import ConflictError
from boatyard.image.layer.chain import Chain, LayerId


class Holds:
    """Owned by a layer store. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chains: Counter[Chain] = Counter()
        self._layers: frozenset[LayerId] | None = frozenset()
        """Those of all held chains; None when that has to be found out again."""
        self._let_go: deque[Chain] = deque()
        self._leaving: set[LayerId] = set()

    def hold(self, chain: Chain) -> None:
        """Until `let_go` is called as often as this. A layer that is on its way out goes nevertheless: look after
        this whether all are there."""
        with self._lock:
            self._settle()
            self._chains[chain] += 1
            if self._chains[chain] == 1:
                self._layers = None

    def let_go(self, chain: Chain) -> None:
        """Takes no lock, so that it may be called by a finalizer, at any moment."""
        self._let_go.append(chain)

    def is_leaving(self, layer: LayerId) -> bool:
        return layer in self._leaving

    @contextmanager
    def leaving(self, layer: LayerId) -> Iterator[None]:
        """While a layer is being removed. ConflictError when it is held."""
        with self._lock:
            self._settle()
            if self._layers is None:
                self._layers = frozenset(each for chain in self._chains for each in chain)
            if layer in self._layers:
                raise ConflictError(f"layer {layer} is in use")
            self._leaving.add(layer)
        try:
            yield
        finally:
            self._leaving.discard(layer)

    def _settle(self) -> None:
        while self._let_go:
            chain = self._let_go.popleft()
            self._chains[chain] -= 1
            if self._chains[chain] <= 0:
                del self._chains[chain]
                self._layers = None
