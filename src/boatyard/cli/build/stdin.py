"""What comes on standard input: a Dockerfile, or a context as a tar archive."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import ExitStack

from boatyard.cli.build.place import MAX_DOCKERFILE
from boatyard.cli.console import Console
from boatyard.errors import InvalidError

_MAGIC: tuple[bytes, ...] = (
    b"\x1f\x8b",  # gzip
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",  # zstd
)
_HEAD = 512
"""Bytes of a tar header."""


def is_archive(head: bytes) -> bool:
    """Whether `head`, the first 512 bytes (or all there is), begins a tar archive, compressed or not."""
    if head.startswith(_MAGIC):
        return True
    return len(head) >= _HEAD and (head[257:262] == b"ustar" or _has_tar_checksum(head))


def _has_tar_checksum(head: bytes) -> bool:
    """The oldest archives have no magic, but every header has a checksum of itself."""
    field = head[148:156].strip(b" \0")
    if not field or field.strip(b"01234567"):
        return False
    return int(field, 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:_HEAD])


def read_all(console: Console, head: bytes = b"") -> bytes:
    """The rest of standard input, as a Dockerfile."""
    _announce(console)
    pieces = [head]
    size = len(head)
    while piece := os.read(0, 65536):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_DOCKERFILE:
            raise InvalidError("standard input is neither a tar archive nor a Dockerfile: it is too large for one")
    data = b"".join(pieces)
    if not data.strip():
        raise InvalidError(
            "standard input is empty: there is no Dockerfile in it", hint="boat build -f - . < Dockerfile"
        )
    return data


def archive_or_text(console: Console, stack: ExitStack) -> tuple[int | None, bytes]:
    """A readable descriptor of the archive (closed with the stack), or else the Dockerfile's text."""
    _announce(console)
    head = b""
    while len(head) < _HEAD and (piece := os.read(0, _HEAD - len(head))):
        head += piece
    if not is_archive(head):
        return None, read_all(console, head)
    if stat.S_ISREG(os.fstat(0).st_mode):
        os.lseek(0, -len(head), os.SEEK_CUR)
        return 0, b""
    readable, writable = os.pipe()
    stack.callback(os.close, readable)
    threading.Thread(target=_pump, args=(head, writable), daemon=True).start()
    return readable, b""


def _pump(head: bytes, writable: int) -> None:
    """What was read already, then the rest. Ends when the reader has gone: the build's error tells why."""
    try:
        os.write(writable, head)
        while piece := os.read(0, 262144):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(writable, rest) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(writable)


def _announce(console: Console) -> None:
    if console.in_terminal:
        console.err("Reading from the terminal; end with Ctrl-D.\n")
