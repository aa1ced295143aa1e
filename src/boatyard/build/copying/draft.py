"""A layer in the making: an active snapshot on top of a chain, and the files in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boatyard.build.copying.copy import Links
from boatyard.build.copying.destination import Destination
from boatyard.build.copying.reuse import Copied
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore


class Draft:
    """Owned by one step, which ends it with `commit` or `discard`. All methods block."""

    def __init__(self, store: LayerStore, base: Chain) -> None:
        store.materialise(base)
        self.base = base
        self.linked: Links = {}
        self.noted: dict[str, Copied] = {}
        self._store = store
        self._snapshot = store.snapshotter.prepare()
        self._ended = False
        try:
            self.destination = Destination(store.snapshotter.directory(self._snapshot), store.directories(base))
        except BaseException:
            store.snapshotter.remove(self._snapshot)
            raise

    def note(self, made: Iterable[str], noted: Mapping[str, Copied]) -> None:
        """An action made files, and noted some of them."""
        if self.noted:
            for path in made:
                self.noted.pop(path, None)
        self.noted.update(noted)

    def forget_notes(self, path: str) -> None:
        """An action changed or removed a file or a directory with all it holds."""
        if self.noted:
            inside = path + "/" if path else ""
            self.noted = {
                each: copied for each, copied in self.noted.items() if each != path and not each.startswith(inside)
            }

    def commit(self) -> Chain:
        """The chain with the new layer on top."""
        self.destination.finish()
        layer = self._store.add(self._snapshot, base=self.base)
        self._ended = True
        return (*self.base, layer)

    def discard(self) -> None:
        """Remove it, unless it was committed. Idempotent."""
        if not self._ended:
            self._ended = True
            self.destination.close()
            self._store.snapshotter.remove(self._snapshot)
