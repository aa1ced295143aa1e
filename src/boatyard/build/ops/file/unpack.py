"""Archives that are unpacked instead of copied (ADD): tar, plain or in gzip, bzip2, xz or zstd, told by its bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, cast

from boatyard.build.copying.destination import Destination
from boatyard.build.tree.node import Node, Tree
from boatyard.errors import LayerError
from boatyard.image.interruption import Stop
from boatyard.image.layer.apply import apply
from boatyard.image.layer.compression import open_decompressed
from boatyard.image.layer.tarstream import TarReader


def is_archive(tree: Tree, node: Node) -> bool:
    """Whether a file begins as an archive does."""
    if not node.is_regular:
        return False
    with tree.reader() as reader, open(reader.open(node), "rb", buffering=0) as file:
        stream = open_decompressed(cast(BinaryIO, file))
        try:
            return TarReader(_Interruptible(stream, Stop())).next() is not None
        except LayerError:
            return False


def unpack(
    tree: Tree, node: Node, destination: Destination, path: str, owner: tuple[int, int] | None, stop: Stop
) -> None:
    """Into the directory at a real path, which exists. LayerError when the archive is damaged."""
    entry = destination.own(path)
    with tree.reader() as reader, open(reader.open(node), "rb", buffering=0) as file:
        apply(
            _Interruptible(open_decompressed(cast(BinaryIO, file)), stop),
            Path(os.fsdecode(entry.source)),
            lowers=[Path(os.fsdecode(lower)) for lower in reversed(entry.lowers)],
            whiteouts=False,
            owner=owner,
        )
        reader.confirm(node, file.fileno(), b"")
    destination.forget_below(path)


class _Interruptible:
    """A stream that ends with an error when the work is to stop."""

    def __init__(self, stream: BinaryIO, stop: Stop) -> None:
        self._stream = stream
        self._stop = stop

    def readinto(self, buffer: memoryview, /) -> int | None:
        self._stop.check()
        return cast(io.RawIOBase, self._stream).readinto(buffer)
