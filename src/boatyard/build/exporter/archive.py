"""The `oci` and `docker` exporters: an archive that other tools load (or, with `tar=false`, an OCI layout
directory)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from boatyard.build.exporter import assemble, options
from boatyard.build.exporter.assemble import AssembledImage
from boatyard.build.exporter.base import Exported, ExportRequest
from boatyard.build.exporter.image import assembled_image, keep
from boatyard.build.exporter.options import ImageOptions
from boatyard.build.requester import OutputTarget
from boatyard.build.solver.types import StepContext
from boatyard.errors import InvalidError
from boatyard.image.archive import layout
from boatyard.image.archive.contents import ArchivedImage
from boatyard.image.archive.writer import ArchiveWriter
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.image.lease import Leases
from boatyard.image.spec import Descriptor
from boatyard.image.virtual import LayerStreams


class ArchiveExporter:
    """One per daemon and format. `docker`: Docker's media types and manifest.json."""

    def __init__(self, layers: LayerStore, leases: Leases, *, docker: bool) -> None:
        self._layers = layers
        self._leases = leases
        self._docker = docker

    def check(self, attrs: Mapping[str, str]) -> None:
        options.parse(attrs, oci=not self._docker)

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported:
        wanted = options.parse(request.attrs, oci=not self._docker)
        target = request.target
        if (
            target is None
            or (target.file_fd is None and wanted.tar)
            or (target.directory_fd is None and not wanted.tar)
        ):
            kind = "file" if wanted.tar else "directory"
            raise InvalidError(
                f"this output needs a {kind} to write to", hint="give it dest=PATH, or dest=- for standard output"
            )
        with self._leases.hold() as lease, ExitStack() as opened:
            archive = self._archive(target, wanted, opened)
            images = [
                await assembled_image(
                    self._layers,
                    step,
                    built,
                    wanted,
                    indexed=request.multi_platform,
                    pack=partial(self._pack, wanted, archive),
                )
                for built in request.images
            ]
            for image in images:
                for document in (image.manifest, image.config):
                    lease.add_blob(document.descriptor.digest)
            named, config = await asyncio.to_thread(self._keep, images, wanted, request.multi_platform)
            lease.add_blob(named.digest)
            archived = ArchivedImage(named, tuple(map(str, wanted.names)))
            step.status("writing the archive")
            if archive is not None:
                await run_interruptible(partial(self._finish, archive, archived))
            else:
                await run_interruptible(partial(self._write_layout, target, archived))
            step.status("writing the archive", done=True)
        return Exported(assemble.response(wanted.names, named, config))

    def _archive(self, target: OutputTarget, wanted: ImageOptions, opened: ExitStack) -> _Archive | None:
        """None for a layout directory."""
        if not wanted.tar:
            return None
        assert target.file_fd is not None
        file = opened.enter_context(os.fdopen(target.file_fd, "wb", buffering=0, closefd=False))
        return _Archive(file, wanted.epoch or 0)

    def _pack(self, wanted: ImageOptions, archive: _Archive | None, stop: Stop, chain: Chain) -> tuple[Descriptor, ...]:
        """Layers that were never packed before go straight into the archive, one after the other; writing them twice
        would cost more than the packing. Those that are wanted again are kept from then on."""
        layers, compression, force = self._layers, wanted.blob_compression, wanted.force_compression
        if archive is None or not archive.is_plain_file:
            return layers.blobs(chain, compression, force=force)

        def pack(layer: LayerId) -> Descriptor:
            if layers.stored_blob(layer, compression, force=force) or layers.was_packed(layer, compression):
                descriptor = layers.blob(layer, compression, force=force)
                archive.writer.add(descriptor, layers.get(layer).diff_id, LayerStreams(layers))
                return descriptor
            return archive.writer.make(lambda sink: layers.pack(layer, compression, sink))

        with archive.until(stop):
            return tuple(map(pack, chain))

    def _keep(
        self, images: Sequence[AssembledImage], wanted: ImageOptions, multi_platform: bool
    ) -> tuple[Descriptor, Descriptor | None]:
        for image in images:
            keep(self._layers, image.config)
            keep(self._layers, image.manifest)
        if not multi_platform and len(images) == 1:
            return images[0].manifest.descriptor, images[0].config.descriptor
        index = assemble.index(images, wanted)
        keep(self._layers, index)
        return index.descriptor, None

    def _finish(self, archive: _Archive, archived: ArchivedImage, stop: Stop) -> None:
        with archive.until(stop):
            archive.writer.finish([archived], self._layers.content, LayerStreams(self._layers), docker=self._docker)

    def _write_layout(self, target: OutputTarget, archived: ArchivedImage, stop: Stop) -> None:
        """The files are the requester's afterwards."""
        directory = Path(f"/proc/self/fd/{target.directory_fd}")
        layout.write_layout(directory, [archived], self._layers.content, LayerStreams(self._layers))
        if target.uid:
            blobs = directory / "blobs"
            for path in (directory / "oci-layout", directory / "index.json", blobs, *blobs.rglob("*")):
                if path.lstat().st_uid == os.geteuid():
                    os.lchown(path, target.uid, target.gid)


class _Archive:
    """The archive of one export. Its writing is done in threads, one after the other."""

    def __init__(self, file: BinaryIO, epoch: int) -> None:
        self.writer = ArchiveWriter(file, epoch, self._written)
        self.is_plain_file = _can_be_patched(file.fileno())
        self._stop = Stop()

    def _written(self, count: int) -> None:
        self._stop.check()

    @contextmanager
    def until(self, stop: Stop) -> Iterator[None]:
        """What is written in here stops when `stop` says so."""
        self._stop = stop
        yield


def _can_be_patched(descriptor: int) -> bool:
    """Whether what was written can be changed afterwards: not in a pipe, and not in a file that is appended to."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode) and not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
