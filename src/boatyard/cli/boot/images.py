"""Where the images of a boot come from: archives, or the daemon's store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.render.choice import renderer
from boatyard.client.calls import images as calls
from boatyard.client.documents.images import ImageSave
from boatyard.errors import NotFoundError, StorageError
from boatyard.logs.boot.images import Images


@contextmanager
def opened(directory: Path) -> Iterator[Images]:
    images = Images(directory)
    try:
        yield images
    finally:
        images.close()


def provide(console: Console, images: Images, wanted: Sequence[str], archives: Sequence[str], *, fresh: bool) -> None:
    """See that `wanted` are there: from the archives first, then what was there before (unless `fresh`), then from the
    daemon. NotFoundError, or what the daemon says."""
    brought: set[str] = set()
    for path in archives:
        try:
            with open(path, "rb") as archive:
                brought.update(images.load(archive))
        except FileNotFoundError as error:
            raise NotFoundError(f"{path} does not exist") from error
        except OSError as error:
            raise StorageError(f"can't read {path}: {error.strerror}") from error
    missing = [name for name in wanted if not images.has(name) or (fresh and not archives)]
    if missing:
        _fetch(console, images, missing)
    for name in wanted:
        images.unpack(name)


def _fetch(console: Console, images: Images, names: Sequence[str]) -> None:
    client = daemon(console)
    with tempfile.TemporaryFile() as file, descriptors(client) as channel:
        request = ImageSave(names=tuple(names), format="oci", token=channel.offer(file.fileno()))
        follow(console, client.stream(calls.save_images(request)), renderer(console, "auto"))
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        images.load(file)
