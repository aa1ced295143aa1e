"""Images in the store: listing, inspecting, naming, loading, saving, and making base images."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import msgspec

from boatyard.api.engine.services import LayerUse, ManifestDetail, RegistryImage
from boatyard.build.solver.step import SharedStep
from boatyard.build.source.image import Keys, told_by
from boatyard.build.source.registry import Asked
from boatyard.client.documents.images import (
    Bootstrapped,
    BootstrapRequest,
    ImageDelete,
    ImageDetail,
    ImageHistory,
    ImageHistoryEntry,
    ImageImport,
    ImageLayer,
    ImagePull,
    ImagePulled,
    ImagePush,
    ImagePushed,
    ImageSave,
    ImagesDeleted,
    ImagesLoaded,
    ImagesSaved,
    ImageSummary,
)
from boatyard.daemon.services import holdings
from boatyard.daemon.services.happenings import ImageHappenings
from boatyard.daemon.services.platforms import runs_here
from boatyard.errors import BoatyardError, InvalidError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.image.bootstrap import image as bootstraps
from boatyard.image.documents import ImageDocuments
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.compression import Compression
from boatyard.image.layer.store import LayerStore
from boatyard.image.lease import Leases
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.image.store import Image, ImageStore
from boatyard.image.timestamp import seconds
from boatyard.image.transfer import ImageTransfer
from boatyard.progress import Emit, VertexEvent
from boatyard.registry.hub import Hub

P = ParamSpec("P")
T = TypeVar("T")


class Images:
    """Implements `ImageService` of the native API and of Docker's. `sweep` frees what nothing refers to any more;
    bytes."""

    def __init__(
        self,
        store: ImageStore,
        layers: LayerStore,
        transfer: ImageTransfer,
        sweep: Callable[[], int],
        happenings: ImageHappenings,
        hub: Hub,
        leases: Leases,
    ) -> None:
        self._hub = hub
        self._leases = leases
        self._store = store
        self._layers = layers
        self._transfer = transfer
        self._sweep = sweep
        self._happenings = happenings

    async def resolve_image(self, name: str) -> None:
        await asyncio.to_thread(self._store.resolve, name)

    async def list_images(self, filters: Sequence[str]) -> Sequence[ImageSummary]:
        return await asyncio.to_thread(self._list, filters)

    def _list(self, filters: Sequence[str]) -> list[ImageSummary]:
        by_digest: dict[str, list[Image]] = {}
        for image in self._store.list():
            by_digest.setdefault(image.target.digest, []).append(image)
        found = [self._listed(images) for images in by_digest.values()]
        if patterns := [text.partition("=")[2] for text in filters if text.startswith("reference=")]:
            found = [_narrowed(image, patterns) for image in found]
            found = [image for image in found if image.names]
        for text in filters:
            if not text.startswith("reference="):
                matches = self._filter(text)
                found = [image for image in found if matches(image)]
        return sorted(found, key=lambda image: image.created or 0, reverse=True)

    def _filter(self, text: str) -> Callable[[ImageSummary], bool]:
        """Docker's filters: dangling=true|false, reference=PATTERN, label=NAME[=VALUE], before=IMAGE, since=IMAGE."""
        field, _, value = text.partition("=")
        if field not in ("before", "since"):
            return lambda image: _matches(image, field, value)
        moment = self._summary(self._named(self._store.resolve(value))).created or 0.0
        if field == "before":
            return lambda image: (image.created or 0.0) < moment
        return lambda image: (image.created or 0.0) > moment

    def _listed(self, images: Sequence[Image]) -> ImageSummary:
        """One that is damaged hides no other."""
        try:
            return self._summary(images)
        except BoatyardError as error:
            digest = images[0].target.digest
            names = tuple(sorted(image.reference.familiar() for image in images if image.reference))
            stored = max(image.updated for image in images)
            return ImageSummary(id=digest, digest=digest, names=names, stored=stored, problem=error.message)

    def _summary(self, images: Sequence[Image]) -> ImageSummary:
        return ImageSummary(**self._summary_fields(images))

    def _summary_fields(self, images: Sequence[Image], platform: Platform | None = None) -> dict[str, Any]:
        target = images[0].target
        names = tuple(sorted(image.reference.familiar() for image in images if image.reference))
        found = self._platforms(images[0])
        chosen = documents.read_image(self._layers.content, target, platform) if platform else found[0]
        return {
            "id": chosen.manifest.config.digest,
            "digest": target.digest,
            "names": names,
            "platforms": tuple(str(each.platform) for each in found),
            "created": seconds(chosen.config.created) or None,
            "stored": max(image.updated for image in images),
            "size": sum(self._sizes(chosen)),
            "labels": dict(chosen.config.config.labels),
            "descriptor": target,
        }

    def _platforms(self, image: Image) -> list[ImageDocuments]:
        """Every platform of an image that is here; the host's first."""
        content = self._layers.content
        if image.target.media_type in spec.MANIFESTS:
            return [documents.read_image(content, image.target)]
        found = [
            documents.read_image(content, manifest) for manifest in documents.image_manifests(content, image.target)
        ]
        host = platforms.host_platform()
        return sorted(found, key=lambda each: not platforms.matches(host, each.platform))

    def _sizes(self, image: ImageDocuments) -> list[int]:
        """Uncompressed bytes of each layer; of layers that were never unpacked, those of the blob."""
        chain = self._layers.find_chain(image.config.rootfs.diff_ids)
        known = {row.diff_id: row.size for row in map(self._layers.get, chain)} if chain else {}
        return [
            known.get(diff_id) or layer.size
            for diff_id, layer in zip(image.config.rootfs.diff_ids, image.manifest.layers, strict=True)
        ]

    async def inspect_image(self, name: str, platform: str) -> ImageDetail:
        return await asyncio.to_thread(self._inspect, name, platform)

    def _inspect(self, name: str, platform: str) -> ImageDetail:
        image = self._store.resolve(name)
        wanted = platforms.parse(platform) if platform else None
        content = self._layers.content
        found = documents.read_image(content, image.target, wanted)
        is_index = image.target.media_type in spec.INDEXES
        return ImageDetail(
            **self._summary_fields(self._named(image), wanted),
            platform=str(found.platform),
            layers=tuple(
                ImageLayer(diff_id=diff_id, size=size, media_type=layer.media_type, digest=layer.digest)
                for diff_id, size, layer in zip(
                    found.config.rootfs.diff_ids, self._sizes(found), found.manifest.layers, strict=True
                )
            ),
            config=msgspec.json.decode(documents.read_bytes(content, found.manifest.config)),
            manifest=msgspec.json.decode(documents.read_bytes(content, found.descriptor)),
            index=msgspec.json.decode(documents.read_bytes(content, image.target)) if is_index else None,
            annotations=dict(found.manifest.annotations),
        )

    def _named(self, image: Image) -> Sequence[Image]:
        return self._store.named(image.target.digest) or (image,)

    async def image_manifests(self, name: str) -> Sequence[ManifestDetail]:
        return await asyncio.to_thread(lambda: list(holdings.manifests(self._layers, self._store.resolve(name).target)))

    async def layer_use(self) -> LayerUse:
        return await asyncio.to_thread(lambda: holdings.layer_use(self._layers, self._store.list()))

    async def image_history(self, name: str, platform: str) -> ImageHistory:
        return await asyncio.to_thread(self._history, name, platform)

    def _history(self, name: str, platform: str) -> ImageHistory:
        image = self._store.resolve(name)
        found = documents.read_image(
            self._layers.content, image.target, platforms.parse(platform) if platform else None
        )
        layers = iter(zip(found.config.rootfs.diff_ids, self._sizes(found), strict=True))
        entries = []
        for entry in found.config.history:
            diff_id, size = ("", 0) if entry.empty_layer else next(layers, ("", 0))
            entries.append(
                ImageHistoryEntry(
                    created=seconds(entry.created) or None,
                    created_by=entry.created_by,
                    comment=entry.comment,
                    author=entry.author,
                    empty_layer=entry.empty_layer,
                    size=size,
                    diff_id=diff_id,
                )
            )
        entries += [
            ImageHistoryEntry(comment="a layer without history", size=size, diff_id=diff_id) for diff_id, size in layers
        ]
        entries.reverse()
        if entries:
            tags = tuple(each.reference.familiar() for each in self._named(image) if each.reference)
            entries[0] = msgspec.structs.replace(entries[0], tags=tags)
        return ImageHistory(entries=tuple(entries))

    async def delete_images(self, request: ImageDelete) -> ImagesDeleted:
        untagged: list[str] = []
        deleted: list[str] = []
        failed: BoatyardError | None = None
        for name in request.names:
            try:
                gone = self._store.delete(name, force=request.force)
            except NotFoundError as error:
                failed = failed or (None if request.force else error)
                continue
            except BoatyardError as error:
                # The others are deleted all the same, as with docker rmi.
                failed = failed or error
                continue
            untagged += gone.untagged
            deleted += gone.deleted
        freed = await asyncio.to_thread(self._sweep) if deleted else 0
        if failed:
            raise failed
        return ImagesDeleted(untagged=tuple(untagged), deleted=tuple(deleted), bytes=freed)

    async def tag_image(self, source: str, target: str) -> str:
        image = self._store.resolve(source)
        reference = references.parse(target).with_default_tag()
        if reference.digest:
            raise InvalidError(f"{target!r} can't be a new name: it has a digest", hint="use NAME:TAG")
        self._store.put(reference, image.target)
        return str(reference)

    async def load_images(self, archive_fd: int, emit: Emit) -> ImagesLoaded:
        with _shown(emit, "loading images") as step:
            loaded = await _finished(self._transfer.load, archive_fd, _told(step))
        for id in loaded.ids:
            self._happenings.loaded("load", id)
        return ImagesLoaded(names=loaded.names, ids=loaded.ids)

    async def import_image(self, request: ImageImport, archive_fd: int, emit: Emit) -> ImagesLoaded:
        if request.changes:
            from boatyard.build.frontend.dockerfile.changes import apply_changes

            config = await apply_changes(request.changes)
        else:
            config = spec.RunConfig()
        platform = platforms.parse(request.platform) if request.platform else platforms.host_platform()
        name = references.parse(request.name).with_default_tag() if request.name else None
        with _shown(emit, "importing the root file system"):
            loaded = await _finished(
                self._transfer.import_rootfs, archive_fd, name, platform, config, request.message, time.time()
            )
        for id in loaded.ids:
            self._happenings.loaded("import", id)
        return ImagesLoaded(names=loaded.names, ids=loaded.ids)

    async def save_images(self, request: ImageSave, target_fd: int, emit: Emit) -> ImagesSaved:
        wanted = [(name, self._store.resolve(name)) for name in request.names]
        with _shown(emit, "saving images") as step:
            saved = await _finished(
                self._transfer.save,
                wanted,
                target_fd,
                docker=request.format == "docker",
                wanted_platforms=[platforms.parse(text) for text in request.platforms],
                compression=request.compression,
                level=request.compression_level,
                told=_told(step),
            )
        for id in dict.fromkeys(self._store.id(image) for _, image in wanted):
            self._happenings.loaded("save", id)
        return ImagesSaved(bytes=saved.bytes, digest=saved.digest)

    async def pull_image(self, request: ImagePull, keys: Keys, emit: Emit) -> ImagePulled:
        reference = references.parse(request.name).with_default_tag()
        chosen = [platforms.parse(text) for text in request.platforms] or [platforms.host_platform()]
        registries = self._hub.registries(Asked(keys))
        before = self._store.get(reference)
        with _shown(emit, f"pulling {reference.familiar()}") as step:
            told = told_by(step)

            def work(stop: Stop) -> Descriptor:
                with self._leases.hold() as lease:
                    repository = self._hub.repository(registries, reference, stop)
                    wanted = None if request.all_platforms else chosen
                    target = self._hub.documents(repository, reference, lease.add_blob, wanted)
                    self._hub.layers(repository, target, lease.add_blob, told)
                    self._store.put(reference, target)
                    return target

            target = await run_interruptible(work)
        new = before is None or before.target.digest != target.digest
        if new:
            self._happenings.loaded("pull", reference.familiar())
        return ImagePulled(name=str(reference), digest=target.digest, new=new)

    async def check_registry(self, host: str, keys: Keys) -> None:
        registries = self._hub.registries(Asked(keys))
        await run_interruptible(lambda stop: registries.check(host, stop))

    async def look_up(self, reference: Reference, keys: Keys) -> RegistryImage:
        registries = self._hub.registries(Asked(keys))

        def work(stop: Stop) -> RegistryImage:
            document = registries.repository(reference, stop).manifest(reference.digest or reference.tag or "latest")
            if document.descriptor.media_type not in spec.INDEXES:
                return RegistryImage(document.descriptor, ())
            entries = documents.parse_index(document.data).manifests
            found = [each.platform for each in entries if each.platform and not documents.is_attestation(each)]
            return RegistryImage(document.descriptor, found)

        return await run_interruptible(work)

    async def push_image(self, request: ImagePush, keys: Keys, emit: Emit) -> ImagePushed:
        reference = references.parse(request.name).with_default_tag()
        image = self._store.resolve(request.name)
        if reference.tag is None:
            raise InvalidError("an image is pushed under a tag", hint="push NAME:TAG")
        platform = platforms.parse(request.platform) if request.platform else None
        registries = self._hub.registries(Asked(keys))
        with _shown(emit, f"pushing {reference.familiar()}") as step:
            told = told_by(step)
            compression = Compression(request.compression, request.compression_level)
            tag = reference.tag

            def work(stop: Stop) -> Descriptor:
                with self._transfer.published(image.target, platform, compression) as target:
                    repository = self._hub.repository(registries, reference, stop)
                    self._hub.push(repository, (tag,), target, self._layers, told)
                    return target

            target = await run_interruptible(work)
        self._happenings.loaded("push", reference.familiar())
        return ImagePushed(name=str(reference), digest=target.digest, size=target.size)

    async def bootstrap(self, request: BootstrapRequest, emit: Emit) -> Bootstrapped:
        reference = references.parse(request.image).with_default_tag()
        names = [references.parse(tag).with_default_tag() for tag in request.tags] or [reference]
        platform = platforms.parse(f"linux/{request.arch}") if request.arch else platforms.host_platform()
        with _shown(emit, f"bootstrapping {reference.familiar()}") as step:
            target = await bootstraps.bootstrap(
                bootstraps.BootstrapRequest(
                    reference=reference,
                    platform=platform,
                    runnable=runs_here(platform),
                    suite=request.suite,
                    variant=request.variant or "minbase",
                    mirror=request.mirror,
                    include=request.include,
                    epoch=request.source_date_epoch,
                ),
                self._layers,
                lambda line: step.log(line, 2),
            )
        for name in names:
            self._store.put(name, target)
        found = documents.read_image(self._layers.content, target)
        return Bootstrapped(
            id=found.manifest.config.digest,
            digest=target.digest,
            names=tuple(name.familiar() for name in names),
            size=sum(self._sizes(found)),
        )


async def _finished(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Blocking work on a client's descriptors, which must have ended before they are closed, even when it is
    cancelled."""
    return await run_interruptible(lambda stop: work(*args, **kwargs))


@contextmanager
def _shown(emit: Emit, name: str) -> Iterator[SharedStep]:
    """A transfer as a step of its own."""
    event = VertexEvent(digest=f"sha256:{os.urandom(32).hex()}", name=name, started=time.time())
    emit(event)
    step = SharedStep(time.time)
    step.join(event.digest, emit)
    try:
        yield step
    except BaseException as error:
        emit(msgspec.structs.replace(event, completed=time.time(), error=str(error) or type(error).__name__))
        raise
    emit(msgspec.structs.replace(event, completed=time.time()))


def _told(step: SharedStep) -> Callable[[str, int, int], None]:
    """Takes progress (what, bytes so far, bytes in all) from a thread."""
    loop = asyncio.get_running_loop()
    return lambda name, current, total: loop.call_soon_threadsafe(step.status, name, name, current, total)  # type: ignore[return-value]


def _matches(image: ImageSummary, field: str, value: str) -> bool:
    if field == "dangling":
        return (not image.names) == (value.lower() in ("true", "1"))
    if field == "label":
        name, equals, wanted = value.partition("=")
        return name in image.labels and (not equals or image.labels[name] == wanted)
    raise InvalidError(f"unknown filter {field!r}", hint="use dangling, reference, label, before or since")


def _narrowed(image: ImageSummary, patterns: Sequence[str]) -> ImageSummary:
    """With those of its names that one of the patterns fits."""
    names = tuple(
        name
        for name in image.names
        if any(fnmatch.fnmatchcase(spelling, pattern) for spelling in _spellings(name) for pattern in patterns)
    )
    return msgspec.structs.replace(image, names=names)


def _spellings(name: str) -> Iterable[str]:
    """With and without the tag: `reference=debian` finds every tag."""
    return name, name.rpartition(":")[0] or name
