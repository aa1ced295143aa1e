"""What this host permits a container, asked of the kernel once."""

from __future__ import annotations

import base64
import functools
import os
import platform
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from boatyard.runtime import capabilities, cgroups, seccomp
from boatyard.runtime import spec as oci


def examine(*, device_group: bool) -> oci.Host:
    """`device_group`: whether containers without a cgroup of their own inherit device rules."""
    hierarchies = cgroups.detect()
    layout = hierarchies.layout if hierarchies.writable else cgroups.Layout.NONE
    filters = has_seccomp()
    return oci.Host(
        capabilities=capabilities.bounding(),
        layout=layout,
        controllers=frozenset(hierarchies.controllers),
        device_rules=device_group or layout is not cgroups.Layout.NONE,
        seccomp=_section if filters else None,
        seccomp_filter=_compiled if filters else None,
        devices=device_nodes,
        oom_score=int(Path("/proc/self/oom_score_adj").read_text()),
    )


def has_seccomp(status: Path = Path("/proc/self/status")) -> bool:
    return "\nSeccomp:" in status.read_text()


@functools.cache
def _section(granted: tuple[str, ...]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(seccomp.section(granted, platform.machine())))


@functools.cache
def _compiled(granted: tuple[str, ...]) -> str:
    program = seccomp.compile_filter(seccomp.section(granted, platform.machine()))
    return base64.b64encode(program).decode() if program else ""


def device_nodes(top: str = "/dev") -> Sequence[oci.Document]:
    """Every node below /dev but terminals, which containers have their own of."""
    found: list[oci.Document] = []
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in ("pts", "shm", "fd", "mqueue"):
                        pending.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                node = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
                if node and entry.name not in ("console", "ptmx"):
                    found.append(oci.device_entry(entry.path, status.st_mode, status.st_rdev, status.st_gid))
    return found
