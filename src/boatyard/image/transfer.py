"""Images into and out of the store: `docker save` and OCI archives, and plain root file systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec

from boatyard.errors import InvalidError, LayerError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.archive.contents import ArchivedImage
from boatyard.image.archive.reader import read_archive
from boatyard.image.archive.writer import write_archive
from boatyard.image.digest import Digest
from boatyard.image.layer.apply import apply
from boatyard.image.layer.compression import Compression, open_decompressed
from boatyard.image.layer.store import LayerStore
from boatyard.image.lease import Lease, Leases
from boatyard.image.output import output_errors
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.single import make_single
from boatyard.image.spec import Descriptor, History, RunConfig
from boatyard.image.store import Image, ImageStore
from boatyard.image.timestamp import rfc3339
from boatyard.image.unpacking import image_chain
from boatyard.image.virtual import LayerStreams

Told = Callable[[str, int, int], None]
"""Takes progress: of what, bytes so far, bytes in all (0: unknown). May be called from a thread."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """`ids` are the images', Docker's: digests of their configs for the host's platform."""

    names: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    bytes: int
    digest: str


class ImageTransfer:
    """One per daemon. Everything blocks."""

    def __init__(self, images: ImageStore, layers: LayerStore, leases: Leases) -> None:
        self._images = images
        self._layers = layers
        self._leases = leases

    def load(self, archive_fd: int, told: Told) -> Loaded:
        """Read an archive (which may come through a pipe) and name its images."""
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size
            told("reading the archive", read, 0)

        with self._leases.hold() as lease, open(archive_fd, "rb", closefd=False) as file:
            loaded = read_archive(file, self._layers.content, hold=lease.add_blob, on_bytes=count)
            names: list[str] = []
            ids: list[str] = []
            for image in loaded:
                kept = [self._images.put(name, image.target) for name in image.names or (None,)]
                names += [each.reference.familiar() for each in kept if each.reference]
                ids.append(self._images.id(kept[0]))
        return Loaded(tuple(names), tuple(ids))

    def import_rootfs(
        self,
        archive_fd: int,
        name: Reference | None,
        platform: Platform,
        config: RunConfig,
        message: str,
        now: float,
    ) -> Loaded:
        """An image with one layer of a tar (compressed or not) with a root file system in it."""
        snapshotter = self._layers.snapshotter
        active = snapshotter.prepare()
        try:
            with open(archive_fd, "rb", closefd=False) as file, open_decompressed(file) as tar:
                apply(tar, snapshotter.directory(active), whiteouts=False)
        except BaseException as error:
            snapshotter.remove(active)
            if isinstance(error, LayerError):
                error.hint = error.hint or "pack a root file system with: tar -C DIRECTORY -cf FILE ."
            raise
        entry = History(created=rfc3339(now), comment=message or "imported")
        target, described = make_single(self._layers, active, platform, config, entry)
        self._images.put(name, target)
        return Loaded((name.familiar(),) if name else (), (described.digest,))

    def save(
        self,
        wanted: Sequence[tuple[str, Image]],
        target_fd: int,
        *,
        docker: bool,
        wanted_platforms: Sequence[Platform],
        compression: str,
        level: int | None,
        told: Told,
    ) -> Saved:
        """Write an archive of images, each under the name it was asked for by (an ID gives it all its names)."""
        written = 0

        def count(size: int) -> None:
            nonlocal written
            written += size
            told("writing the archive", written, 0)

        with self._leases.hold() as lease, ExitStack() as held:
            archived = [self._archived(text, image, wanted_platforms, compression, level) for text, image in wanted]
            for image in archived:
                self._hold(image.target, lease, held)
            with output_errors("the archive"), open(target_fd, "wb", closefd=False) as file:
                size = write_archive(
                    file,
                    _joined(archived),
                    self._layers.content,
                    LayerStreams(self._layers),
                    docker=docker,
                    platform=wanted_platforms[0] if wanted_platforms else None,
                    on_bytes=count,
                )
        return Saved(size, archived[0].target.digest if len(archived) == 1 else "")

    def _archived(
        self, text: str, image: Image, wanted: Sequence[Platform], compression: str, level: int | None
    ) -> ArchivedImage:
        target = image.target
        if wanted:
            if len(wanted) > 1:
                raise InvalidError(
                    "one platform at a time can be saved", hint="leave --platform out to save all of them"
                )
            target = documents.resolve_platform(self._layers.content, target, wanted[0])
        if compression:
            target = self._compressed(
                target, Compression(compression) if level is None else Compression(compression, level)
            )
        if _is_name_of(text, image):
            return ArchivedImage(target, (image.name,))
        return ArchivedImage(
            target, tuple(each.name for each in self._images.named(image.target.digest) if each.reference)
        )

    def _hold(self, target: Descriptor, lease: Lease, stack: ExitStack) -> None:
        """Keep everything of an image as long as it is written, whoever removes it meanwhile."""
        content = self._layers.content
        pending = [target]
        while pending:
            descriptor = pending.pop()
            lease.add_blob(descriptor.digest)
            try:
                pending += documents.children(content, descriptor)
                if descriptor.media_type not in spec.CONFIGS:
                    continue
                config = documents.parse_config(documents.read_bytes(content, descriptor))
            except NotFoundError:
                continue  # a platform that isn't here: whoever needs it will say so
            chain = self._layers.find_chain(config.rootfs.diff_ids) or ()
            self._layers.hold(chain)
            stack.callback(self._layers.let_go, chain)

    @contextmanager
    def published(
        self, target: Descriptor, platform: Platform | None, compression: Compression
    ) -> Iterator[Descriptor]:
        """An image as it goes to a registry: its layers are blobs that anybody can fetch. It is held while this
        lasts."""
        if platform is not None:
            target = documents.resolve_platform(self._layers.content, target, platform)
        with self._leases.hold() as lease, ExitStack() as held:
            self._hold(target, lease, held)
            target = self._compressed(target, compression, force=False)
            self._hold(target, lease, held)
            yield target

    def _compressed(self, target: Descriptor, compression: Compression, *, force: bool = True) -> Descriptor:
        """The same image with its layers in another compression; the documents are kept only for the archive's
        making. Without `force`, layers that came with a blob keep it, and an image of such layers stays what it is."""
        content = self._layers.content
        if target.media_type in spec.INDEXES:
            index = documents.read_index(content, target)
            manifests = tuple(
                entry
                if entry.media_type not in spec.INDEXES | spec.MANIFESTS or content.info(entry.digest) is None
                else msgspec.structs.replace(entry, digest=new.digest, size=new.size)
                for entry in index.manifests
                for new in (self._compressed(entry, compression, force=force),)
            )
            if manifests == index.manifests:
                return target
            return documents.write(
                content, spec.encode(msgspec.structs.replace(index, manifests=manifests)), target.media_type
            )
        manifest = documents.read_manifest(content, target)
        if not force and (
            manifest.config.media_type not in spec.CONFIGS
            or not any(content.info(each.digest) is None and self._is_virtual(each) for each in manifest.layers)
        ):
            return target
        config = documents.read_config(content, manifest)
        chain = image_chain(self._layers, manifest.layers, config.rootfs.diff_ids)
        if force:
            blobs = self._layers.blobs(chain, compression, force=True)
        else:
            blobs = self._layers.published(chain, compression)
        changed = msgspec.structs.replace(manifest, layers=blobs)
        return documents.write(content, spec.encode(changed), target.media_type)

    def _is_virtual(self, layer: Descriptor) -> bool:
        """Listed by its diff ID, without a blob."""
        return self._layers.find_layer(layer.digest) is not None


def _is_name_of(text: str, image: Image) -> bool:
    """Whether an image was asked for by a name, not by an ID."""
    try:
        return str(references.parse(text).with_default_tag()) == image.name
    except InvalidError:
        return False


def _joined(images: Sequence[ArchivedImage]) -> list[ArchivedImage]:
    """Names of the same image together."""
    names: dict[Digest, list[str]] = {}
    targets: dict[Digest, Descriptor] = {}
    for image in images:
        targets[image.target.digest] = image.target
        names.setdefault(image.target.digest, []).extend(image.names)
    return [ArchivedImage(target, tuple(dict.fromkeys(names[digest]))) for digest, target in targets.items()]
