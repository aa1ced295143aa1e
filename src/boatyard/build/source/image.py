"""The image source: `docker-image://REFERENCE` becomes the chain of layers of an image.

Images come from the local store; where they come from when they aren't there is the business of the `Fetcher` given to
`Images`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from boatyard.build.llb.graph import SourceOp
from boatyard.build.result import LayersResult, Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.source.meta import ImageMeta, MetaQuestion, SourceMeta
from boatyard.errors import (
    BoatyardError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from boatyard.image import digest as digests
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.digest import Digest
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.image.store import ImageStore
from boatyard.image.unpacking import image_chain
from boatyard.registry.credential import Credential


class Fetcher(Protocol):
    """Brings images from elsewhere (a registry)."""

    async def fetch(self, reference: Reference, platform: Platform, keys: Keys) -> Descriptor:
        """The descriptor of the manifest or index, whose documents are in the content store after this.
        NotFoundError."""

    def has_brought(self, image: FoundImage) -> bool:
        """Whether an image came from a registry."""

    def announce(self, image: FoundImage, keys: Keys, told: Told) -> None:
        """Its layers may be needed soon: with these credentials, and this is who wants to know how that goes."""


class Keys(Protocol):
    """Whose credentials are used: a build's requester."""

    async def registry_credentials(self, host: str) -> Credential | None: ...


Told = Callable[[Descriptor, int], None]
"""Takes progress: of which layer, how many bytes are there. May be called from a thread."""


def told_by(step: StepContext, what: str = "") -> Told:
    """Progress of blobs, from threads to a step on this event loop. `what` is done with them."""
    loop = asyncio.get_running_loop()

    def told(blob: Descriptor, count: int) -> None:
        loop.call_soon_threadsafe(
            lambda: step.status(f"{what}{blob.digest}", current=count, total=blob.size, done=count == blob.size)
        )

    return told


class NoFetcher:
    """Without registries there is nothing to fetch from."""

    def has_brought(self, image: FoundImage) -> bool:
        return False

    def announce(self, image: FoundImage, keys: Keys, told: Told) -> None:
        return None

    async def fetch(self, reference: Reference, platform: Platform, keys: Keys) -> Descriptor:
        raise NotFoundError("no registry is asked")


def _nowhere(reference: Reference, error: BoatyardError) -> NotFoundError:
    """Neither here nor there."""
    name = reference.familiar()
    made = f"`boat bootstrap {name}`" if name.startswith(("debian:", "busybox:")) else "`boat bootstrap`"
    hint = (
        f"{made} makes Debian and busybox base images, "
        "`boat image load` takes `docker save` and OCI archives, `boat images` lists what is there"
    )
    return NotFoundError(
        f"image {name} is not in the local store, and {error.message}",
        hint=error.hint if isinstance(error, DeniedError) else hint,
    )


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image, down to one platform."""

    reference: Reference
    digest: Digest
    """Of what the reference names: the manifest or the index."""
    manifest: Descriptor
    config: bytes
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]


class Images:
    """Finds images and makes chains of them. One per daemon."""

    def __init__(self, store: ImageStore, layers: LayerStore, fetcher: Fetcher) -> None:
        self.store = store
        self._layers = layers
        self._fetcher = fetcher

    async def find(self, reference: Reference, platform: Platform, keys: Keys, mode: str = "default") -> FoundImage:
        """`mode`: "default" and "local" take the local store's, "pull" asks the fetcher first."""
        image = self.store.get(reference)
        if image is not None and mode == "default" and not self._has(image.target, platform):
            mode = "pull"  # another platform of it is here
        if mode == "pull" or (image is None and mode != "local"):
            try:
                target = await self._fetcher.fetch(reference, platform, keys)
            except (NotFoundError, UnavailableError, DeniedError) as error:
                if image is None:
                    raise _nowhere(reference, error) from error
                # A name that can't be refreshed is still good for an image that was made here.
                if self._fetcher.has_brought(self.describe(reference, image.target, platform)):
                    raise
                target = image.target
        elif image is None:
            raise NotFoundError(
                f"image {reference.familiar()} is not in the local store", hint="`boat images` lists them"
            )
        else:
            target = image.target
        return self.describe(reference, target, platform)

    def _has(self, target: Descriptor, platform: Platform) -> bool:
        try:
            documents.read_image(self._layers.content, target, platform)
        except NotFoundError:
            return False
        return True

    def announce(self, image: FoundImage, keys: Keys, told: Told) -> None:
        """Somebody may need its files soon."""
        self._fetcher.announce(image, keys, told)

    def describe(self, reference: Reference, target: Descriptor, platform: Platform) -> FoundImage:
        found = documents.read_image(self._layers.content, target, platform)
        config = documents.read_bytes(self._layers.content, found.manifest.config)
        return FoundImage(
            reference, target.digest, found.descriptor, config, found.manifest.layers, found.config.rootfs.diff_ids
        )

    async def layers(self, image: FoundImage) -> LayersResult:
        """Its layers, which are unpacked when somebody needs their files."""

        def held() -> LayersResult:
            return LayersResult(image_chain(self._layers, image.layers, image.diff_ids), self._layers)

        result = await asyncio.to_thread(held)
        # A garbage collection may have taken a layer before it was held: it is known anew then.
        return result if self._layers.exists(result.layers) else await asyncio.to_thread(held)


def check_digest(source: SourceOp, found: FoundImage) -> None:
    """IntegrityError when the image is not the one that the attribute `image.checksum` asks for."""
    wanted = source.attrs.get("image.checksum", "")
    if wanted and digests.parse(wanted) != found.digest:
        raise IntegrityError(
            f"image {found.reference.familiar()} has the digest {found.digest}, but the checksum asks for {wanted}",
            hint="name the image by that digest: NAME@DIGEST",
        )


def image_meta(source: SourceOp, found: FoundImage, question: MetaQuestion) -> SourceMeta:
    if question.attestation_chain or question.attestations:
        raise UnsupportedError("looking up an image's attestations is not supported yet")
    return SourceMeta(source, image=ImageMeta(found.digest, b"" if question.no_config else found.config))


class ImageStep:
    """The op of one `docker-image://` vertex."""

    def __init__(
        self, identifier: str, attrs: Mapping[str, str], platform: Platform, images: Images, keys: Keys
    ) -> None:
        self._keys = keys
        self._source = SourceOp(identifier, attrs)
        self._reference = references.parse(identifier.partition("://")[2]).with_default_tag()
        self._mode = attrs.get("image.resolvemode", "default")
        self._platform = platform
        self._images = images
        self._found: FoundImage | None = None

    async def cache_map(self, step: StepContext) -> CacheMap:
        self._found = found = await self._images.find(self._reference, self._platform, self._keys, self._mode)
        check_digest(self._source, found)
        # By its layers: two images that differ only in their configs have the same files.
        digest = documents.chain_id(found.diff_ids) if found.diff_ids else "scratch"
        return CacheMap(
            digest=f"image {digest}",
            components={"the image": self._reference.familiar(), "the image's digest": str(found.digest)},
        )

    async def describe(self, question: MetaQuestion) -> SourceMeta:
        assert self._found is not None
        return image_meta(self._source, self._found, question)

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        assert self._found is not None

        self._images.announce(self._found, self._keys, told_by(step))
        return [await self._images.layers(self._found)]
