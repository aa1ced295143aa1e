"""Layers of stored images as streams, stored or virtual (docs/adr/0003)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from boatyard.errors import IntegrityError, NotFoundError
from boatyard.image.content.verified import verified
from boatyard.image.digest import Digest
from boatyard.image.layer.store import LayerStore
from boatyard.image.spec import Descriptor


class LayerStreams:
    """An `archive.contents.LayerSource` over the content store and, for virtual layers, the layer store."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    @contextmanager
    def open_layer(self, descriptor: Descriptor, diff_id: Digest | None) -> Iterator[BinaryIO]:
        if self._layers.content.info(descriptor.digest) is not None or self._layers.fetch(descriptor):
            try:
                with verified(self._layers.content, descriptor) as stream:
                    yield stream
            except IntegrityError:
                self._layers.drop_damaged(descriptor)
                raise
            return
        layer = self._layers.find_layer(descriptor.digest)
        if layer is None:
            raise NotFoundError(
                f"the layer {descriptor.digest} is neither stored nor can it be made again",
                hint="build or load the image again",
            )
        with self._layers.open_tar(layer) as stream:
            yield stream
