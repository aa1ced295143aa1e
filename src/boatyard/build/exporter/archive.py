"""The `oci` and `docker` exporters: an archive that other tools load (or, with `tar=false`, an OCI layout
directory)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

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
from boatyard.image.archive.writer import write_archive
from boatyard.image.digest import Digest
from boatyard.image.interruption import Stop, run_interruptible
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
        started = time.time()
        with self._leases.hold() as lease:
            images = [
                await assembled_image(self._layers, step, built, wanted, local=False, indexed=request.multi_platform)
                for built in request.images
            ]
            for image in images:
                for document in (image.manifest, image.config):
                    lease.add_blob(document.descriptor.digest)
            named, config = await asyncio.to_thread(self._keep, images, wanted, request.multi_platform)
            lease.add_blob(named.digest)
            archived = ArchivedImage(named, tuple(map(str, wanted.names)))
            streams = LayerStreams(self._layers, self._fresh(images, started))
            step.status("writing the archive")
            if wanted.tar:
                await run_interruptible(partial(self._write, target, archived, wanted, streams))
            else:
                await run_interruptible(partial(self._write_layout, target, archived, streams))
            step.status("writing the archive", done=True)
        return Exported(assemble.response(wanted.names, named, config))

    def _fresh(self, images: Sequence[AssembledImage], started: float) -> frozenset[Digest]:
        """Blobs that this export made: they were digested while they were written, and needn't be once more."""
        content = self._layers.content
        digests = {blob.descriptor.digest for image in images for blob in image.layers}
        return frozenset(digest for digest in digests if (info := content.info(digest)) and info.modified >= started)

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

    def _write(
        self, target: OutputTarget, archived: ArchivedImage, wanted: ImageOptions, streams: LayerStreams, stop: Stop
    ) -> None:
        assert target.file_fd is not None
        with open(target.file_fd, "wb", closefd=False, buffering=0) as file:
            write_archive(
                file,
                [archived],
                self._layers.content,
                streams,
                epoch=wanted.epoch or 0,
                docker=self._docker,
                on_bytes=lambda count: stop.check(),
            )

    def _write_layout(self, target: OutputTarget, archived: ArchivedImage, streams: LayerStreams, stop: Stop) -> None:
        """The files are the requester's afterwards."""
        directory = Path(f"/proc/self/fd/{target.directory_fd}")
        layout.write_layout(directory, [archived], self._layers.content, streams)
        if target.uid:
            blobs = directory / "blobs"
            for path in (directory / "oci-layout", directory / "index.json", blobs, *blobs.rglob("*")):
                if path.lstat().st_uid == os.geteuid():
                    os.lchown(path, target.uid, target.gid)
