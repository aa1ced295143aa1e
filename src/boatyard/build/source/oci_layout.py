"""The OCI layout source: `oci-layout://NAME[:TAG][@DIGEST]`, an image in a layout directory of the client's.

Its blobs are taken over into the content store, verified; from then on it is an image like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from boatyard.build.requester import Requester
from boatyard.build.result import LayersResult, Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.source.image import FoundImage, Images
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.archive import layout
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform


class OciLayoutStep:
    """The op of one `oci-layout://` vertex in one build."""

    def __init__(
        self,
        identifier: str,
        attrs: Mapping[str, str],
        platform: Platform,
        requester: Requester,
        images: Images,
        layers: LayerStore,
    ) -> None:
        self._reference = references.parse(identifier.partition("://")[2])
        self._store = attrs.get("oci.store") or f"oci:{self._reference.path}"
        self._platform = platform
        self._requester = requester
        self._images = images
        self._layers = layers
        self._found: FoundImage | None = None

    async def cache_map(self, step: StepContext) -> CacheMap:
        async with self._requester.directory(self._store) as directory:
            target = await asyncio.to_thread(
                layout.take, directory.fd, self._layers.content, digest=self._reference.digest, tag=self._reference.tag
            )
        self._found = found = self._images.describe(self._reference, target, self._platform)
        digest = documents.chain_id(found.diff_ids) if found.diff_ids else "scratch"
        return CacheMap(digest=f"image {digest}", components={"the image's digest": found.digest})

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        assert self._found is not None
        chain = await asyncio.to_thread(self._images.chain, self._found)
        return [LayersResult(chain, self._layers)]
