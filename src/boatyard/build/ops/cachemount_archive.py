"""Cache mounts as tar archives, to carry them to another machine (a CI system's cache, say)."""

from __future__ import annotations

import os
from pathlib import Path

from boatyard.errors import InvalidError
from boatyard.image.layer.apply import apply
from boatyard.image.layer.compression import Compression, open_compressed, open_decompressed
from boatyard.image.layer.diff import write_layer
from boatyard.image.output import output_errors


def pack(directory: Path, target_fd: int, compression: str) -> tuple[int, int]:
    """Write a cache's files as a tar to a descriptor, which may be a pipe. How many files, and their bytes. Blocks."""
    kinds = {"": "tar", "none": "tar", "uncompressed": "tar", "tar": "tar", "gzip": "gzip", "zstd": "zstd"}
    if compression not in kinds:
        raise InvalidError(f"unknown compression {compression!r}", hint="use gzip, zstd or none")
    with (
        output_errors("the archive"),
        open(target_fd, "wb", closefd=False) as file,
        open_compressed(file, Compression(kinds[compression])) as tar,
    ):
        write_layer(directory, tar)
    return count(directory)


def unpack(archive_fd: int, directory: Path) -> tuple[int, int]:
    """Put the files of an archive (any compression) into a cache, over what is there. Blocks. LayerError for what is
    no tar."""
    with open(archive_fd, "rb", closefd=False) as file, open_decompressed(file) as tar:
        apply(tar, directory)
    return count(directory)


def count(directory: Path) -> tuple[int, int]:
    files = size = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            files += 1
            size += os.lstat(os.path.join(parent, name)).st_size
    return files, size
