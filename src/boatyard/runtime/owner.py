"""Who made something that outlives its process: a label for bridges and control groups.

A process number alone is given to others later, and means another process in another PID namespace; with the
namespace and the start time it names one process until the host starts anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    namespace: int
    """Inode number of the PID namespace."""
    pid: int
    started: int
    """In clock ticks since the host's start."""

    def __str__(self) -> str:
        return f"{self.namespace:x}-{self.pid:x}-{self.started:x}"

    def is_gone(self) -> bool:
        """Whether the process surely is no more. One of another PID namespace can't be judged from here."""
        return self.namespace == _namespace() and _started(self.pid) != self.started


def current() -> Owner:
    return Owner(_namespace(), os.getpid(), _started(os.getpid()))


def parse(text: str) -> Owner | None:
    """From the text that `str` gives; None for anything else."""
    parts = text.split("-")
    if len(parts) != 3:
        return None
    try:
        return Owner(*(int(part, 16) for part in parts))
    except ValueError:
        return None


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _started(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)), or -1."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return -1
