"""The images of a boot, in a store of their own: no daemon is needed for them, and none gets in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from boatyard.errors import NotFoundError
from boatyard.image import documents
from boatyard.image.archive.reader import read_archive
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.database import Database
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.choice import choose_snapshotter
from boatyard.image.store import ImageStore
from boatyard.image.unpacking import image_chain
from boatyard.logs.boot.configuration import ImageFacts


class Images:
    """Owns the directory, as long as it is open. Methods block."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._database = Database(directory / "meta.db")
        self._content = DirectoryStore(directory)
        self._content.cleanup()
        snapshotter = choose_snapshotter(directory / "snapshots")
        snapshotter.cleanup()
        self._layers = LayerStore(self._database, self._content, snapshotter)
        self._layers.cleanup()
        self._images = ImageStore(self._database, self._content)

    def close(self) -> None:
        self._database.close()

    def load(self, archive: BinaryIO) -> list[str]:
        """The images of an archive; their names."""
        names = []
        for image in read_archive(archive, self._content):
            names += [self._images.put(name, image.target).name for name in image.names]
        return names

    def has(self, name: str) -> bool:
        try:
            self._images.resolve(name)
        except NotFoundError:
            return False
        return True

    def facts(self, name: str) -> ImageFacts:
        config = documents.read_image(self._content, self._images.resolve(name).target).config.config
        command = (*(config.entrypoint or ()), *(config.cmd or ()))
        return ImageFacts(command, config.env, config.working_dir, config.labels)

    def unpack(self, name: str) -> None:
        """Its layers, so that nothing has to be unpacked when it is run."""
        self._layers.materialise(self._chain(name))

    @contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """Its files, mounted; what is changed in them is gone afterwards."""
        snapshotter = self._layers.snapshotter
        active = snapshotter.prepare()
        try:
            with self._layers.mount(self._chain(name), active=active) as root:
                yield root
        finally:
            snapshotter.remove(active)

    def _chain(self, name: str) -> Chain:
        image = documents.read_image(self._content, self._images.resolve(name).target)
        return image_chain(self._layers, image.manifest.layers, image.config.rootfs.diff_ids)
