"""The OCI layout source: `oci-layout://NAME[:TAG][@DIGEST]`, an image in a layout directory of the client's.

Its blobs are taken over into the content store, verified; from then on it is an image like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from boatyard.build.llb.graph import SourceOp
from boatyard.build.requester import Requester
from boatyard.build.result import Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.source.image import FoundImage, Images, image_meta
from boatyard.build.source.meta import MetaQuestion, SourceMeta
from boatyard.image import digest as digests
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.archive import layout
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform


async def take(
    source: SourceOp, platform: Platform, requester: Requester, images: Images, layers: LayerStore
) -> FoundImage:
    """Take the image over. The attribute `oci.store` names the layout to the requester; without it, the identifier
    does."""
    identifier = source.identifier
    name, _, digest = identifier.partition("://")[2].partition("@")
    name, _, tag = name.partition(":")
    wanted = digests.parse(digest) if digest else None
    store = source.attrs.get("oci.store") or name
    async with requester.layout(store, wanted, platform, session=source.attrs.get("oci.session", "")) as directory:
        target = await asyncio.to_thread(
            layout.take, directory.fd, layers.content, digest=wanted, tag=tag or None, platform=platform
        )
    return images.describe(references.parse(name or "layout"), target, platform)


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
        self._source = SourceOp(identifier, attrs)
        self._platform = platform
        self._requester = requester
        self._images = images
        self._layers = layers
        self._found: FoundImage | None = None

    async def cache_map(self, step: StepContext) -> CacheMap:
        self._found = found = await take(self._source, self._platform, self._requester, self._images, self._layers)
        digest = documents.chain_id(found.diff_ids) if found.diff_ids else "scratch"
        return CacheMap(digest=f"image {digest}", components={"the image's digest": found.digest})

    async def describe(self, question: MetaQuestion) -> SourceMeta:
        assert self._found is not None
        return image_meta(self._source, self._found, question)

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        assert self._found is not None
        return [await self._images.layers(self._found)]
