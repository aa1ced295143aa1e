"""A runtime's program file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """`identity` tells it from what replaces it at an upgrade."""

    kind: str
    """`crun` or `runc`: whose command line it understands."""
    path: Path
    identity: tuple[int, int, int, int]


def identity(path: Path) -> tuple[int, int, int, int]:
    status = os.stat(path)
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
