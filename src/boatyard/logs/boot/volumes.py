"""Volumes: directories that containers share. What is in them at first comes from an image; what is written to them
lives as long as the boot."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from boatyard.errors import StorageError
from boatyard.logs.boot.bundle import Volume
from boatyard.logs.boot.images import Images
from boatyard.runtime import kernel


@contextmanager
def mounted(volumes: Sequence[Volume], images: Images | None) -> Iterator[None]:
    """Each at its place. StorageError."""
    with ExitStack() as stack:
        try:
            for volume in volumes:
                _mount(volume, images, stack)
        except OSError as error:
            raise StorageError(f"volumes can't be mounted: {error.filename or ''} {error.strerror}") from error
        yield


def _mount(volume: Volume, images: Images | None, stack: ExitStack) -> None:
    place = f"{volume.path}/merged"
    os.makedirs(place, 0o755, exist_ok=True)
    if not volume.image:
        kernel.mount("tmpfs", place, "tmpfs", 0, "mode=0755")
    elif images is None:
        raise StorageError(f"there is no place for the image {volume.image} of the volume {volume.name}")
    else:
        source = stack.enter_context(images.mounted(volume.image))
        kernel.mount(str(source), place, flags=kernel.MS_BIND)
    stack.callback(kernel.unmount, place)
    if volume.readonly:
        kernel.mount("", place, flags=kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY)
