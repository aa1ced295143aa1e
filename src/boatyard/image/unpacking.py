"""From an image to the chain of layers it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.image.digest import Digest
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.image.spec import Descriptor


def image_chain(store: LayerStore, layers: Sequence[Descriptor], diff_ids: Sequence[Digest]) -> Chain:
    """The layers of a manifest, lowest first: those that are known by the image's diff IDs, else new ones that are
    unpacked from their blobs when somebody needs their files. Blocks."""
    if (known := store.find_chain(diff_ids)) is not None and store.exists(known):
        return known
    chain: Chain = ()
    for descriptor, diff_id in zip(layers, diff_ids, strict=True):
        chain = (*chain, store.add_blob(chain, diff_id, descriptor))
    return chain
