"""A small init process for containers that ask for one: it reaps orphans and forwards signals.

One of the host's is shown in the container; it must be static, because the image's libraries are not the host's.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from boatyard.errors import UnsupportedError

CANDIDATES = ("docker-init", "tini-static", "catatonit", "tini")
TARGET = "/dev/init"
"""On the container's own /dev: no place has to be made in the image."""

PT_INTERP = 3


def find(path: str | None = None) -> Path:
    """Raises UnsupportedError when this host has none."""
    for name in CANDIDATES:
        found = shutil.which(name, path=path)
        if found is not None and is_static(Path(found)):
            return Path(found)
    raise UnsupportedError("this host has no static init to put into a container", hint="apt-get install tini")


def is_static(program: Path) -> bool:
    """Whether an ELF file names no interpreter (elf(5)). False for anything else."""
    with program.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:4] != b"\x7fELF" or header[4] not in (1, 2):
            return False
        order = "<" if header[5] == 1 else ">"
        if header[4] == 2:
            (offset,) = struct.unpack_from(order + "Q", header, 32)
            size, count = struct.unpack_from(order + "HH", header, 54)
        else:
            (offset,) = struct.unpack_from(order + "I", header, 28)
            size, count = struct.unpack_from(order + "HH", header, 42)
        file.seek(offset)
        table = file.read(size * count)
    entries = range(0, len(table) - 3, size) if size else ()
    return all(struct.unpack_from(order + "I", table, entry)[0] != PT_INTERP for entry in entries)
