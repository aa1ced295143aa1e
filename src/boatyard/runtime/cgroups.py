"""Control groups: which kind this host has, and where containers go.

Three kinds are told apart: v1 (a hierarchy a controller), hybrid (v1 with cgroup v2 beside it, without the usual
controllers), v2.

A container without limits gets no group of its own on v1: making and removing ten directories costs more than the
container. Instead the threads that start containers sit in one group of the devices hierarchy, and what they start
inherits its rules.

Specification: kernel docs admin-guide/cgroup-v1/devices.rst, admin-guide/cgroup-v2.rst; OCI runtime-spec
config-linux.md.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from boatyard.runtime import kernel
from boatyard.runtime.container import Resources

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")


class Layout(Enum):
    NONE = "none"
    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """`controllers` maps a v1 controller to its mount point; for v2 it maps every available controller to the one
    mount point.
    """

    layout: Layout
    controllers: dict[str, Path]
    writable: bool


_V1_CONTROLLERS = frozenset(
    [
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "misc",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
    ]
)


def detect(mountinfo: str | None = None, root: Path = ROOT) -> Hierarchies:
    """What is mounted below `root`; `mountinfo` is for tests."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape") if mountinfo is None else mountinfo
    controllers: dict[str, Path] = {}
    unified: Path | None = None
    writable = True
    for line in text.splitlines():
        fields = line.split(" ")
        separator = fields.index("-") if "-" in fields else len(fields)
        if separator < 6 or len(fields) < separator + 4:
            continue  # not a line of this file's form
        kind = fields[separator + 1]
        point = Path(kernel.unescape(fields[4]))
        if kind == "cgroup2" and point in (root, root / "unified"):
            unified = point
            writable = writable and (point != root or "rw" in fields[5].split(","))
        elif kind == "cgroup" and point.is_relative_to(root):
            names = _V1_CONTROLLERS.intersection(fields[separator + 3].split(","))
            controllers.update(dict.fromkeys(names, point))
            writable = writable and "rw" in fields[5].split(",")
    if unified == root:
        try:
            names = frozenset((root / "cgroup.controllers").read_text().split())
        except OSError:
            names = frozenset()
        return Hierarchies(Layout.V2, dict.fromkeys(names, root), writable)
    if controllers:
        return Hierarchies(Layout.V1 if unified is None else Layout.HYBRID, controllers, writable)
    return Hierarchies(Layout.NONE, {}, False)


# What every container may do with devices: make any node, use the harmless ones. As Docker's.
DEVICE_RULES: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),  # null
    ("c", 1, 5, "rwm"),  # zero
    ("c", 1, 7, "rwm"),  # full
    ("c", 1, 8, "rwm"),  # random
    ("c", 1, 9, "rwm"),  # urandom
    ("c", 5, 0, "rwm"),  # tty
    ("c", 5, 1, "rwm"),  # console
    ("c", 5, 2, "rwm"),  # ptmx
    ("c", 136, None, "rwm"),  # pts/*
)


def device_rules(
    extra: Sequence[tuple[str, int, int, str]] = (), *, everything: bool = False
) -> list[dict[str, object]]:
    """OCI `linux.resources.devices`: refuse all, then allow the defaults and `extra` (type, major, minor, access)."""
    if everything:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, object]] = [{"allow": False, "access": "rwm"}]
    for kind, major, minor, access in (*DEVICE_RULES, *extra):
        rule: dict[str, object] = {"allow": True, "type": kind, "access": access}
        if major is not None:
            rule["major"] = major
        if minor is not None:
            rule["minor"] = minor
        rules.append(rule)
    return rules


def resources_section(resources: Resources) -> dict[str, object]:
    """The limits as OCI `linux.resources`; empty when none is set."""
    memory = {key: value for key, value in (("limit", resources.memory), ("swap", resources.memory_swap)) if value}
    cpu = {
        key: value
        for key, value in (
            ("shares", resources.cpu_shares),
            ("period", resources.cpu_period),
            ("quota", resources.cpu_quota),
            ("cpus", resources.cpuset_cpus),
            ("mems", resources.cpuset_mems),
        )
        if value
    }
    pids = {"limit": resources.pids} if resources.pids else {}
    return {key: value for key, value in (("memory", memory), ("cpu", cpu), ("pids", pids)) if value}


# What each controller is needed for.
_LIMITS = {
    "memory": ("memory", "memory_swap"),
    "cpu": ("cpu_shares", "cpu_period", "cpu_quota"),
    "cpuset": ("cpuset_cpus", "cpuset_mems"),
    "pids": ("pids",),
}


def applicable(resources: Resources, controllers: Collection[str]) -> tuple[Resources, list[str]]:
    """The limits without those whose controller this host lacks, and the names of these controllers."""
    missing = [
        name
        for name, fields in _LIMITS.items()
        if name not in controllers and any(getattr(resources, field) for field in fields)
    ]
    unset = Resources()
    dropped = {field: getattr(unset, field) for name in missing for field in _LIMITS[name]}
    return replace(resources, **dropped), missing


class DeviceGroup:
    """One group of v1's devices hierarchy with the default rules; threads join it, and what they start stays in it.

    Groups of containers must not lie beneath it: rules can only be narrowed there.
    """

    def __init__(self, hierarchy: Path, name: str) -> None:
        self.path = hierarchy / name.lstrip("/")

    def create(self) -> None:
        """Raises OSError where the hierarchy can't be written."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "devices.deny").write_text("a")
        for kind, major, minor, access in DEVICE_RULES:
            numbers = ":".join("*" if number is None else str(number) for number in (major, minor))
            (self.path / "devices.allow").write_text(f"{kind} {numbers} {access}")

    def join(self) -> None:
        """Move the calling thread in; its children follow."""
        (self.path / "tasks").write_text("0")


def groups_beneath(name: str, root: Path = ROOT) -> Iterator[Path]:
    """The directories of one cgroup in every hierarchy, deepest first."""
    relative = name.strip("/")
    tops = [root, *(entry for entry in root.iterdir() if entry.is_dir())] if root.is_dir() else []
    for top in tops:
        start = top / relative
        if not (start / "cgroup.procs").exists():
            continue
        for directory, _, _ in os.walk(start, topdown=False):
            yield Path(directory)


def remove_groups(name: str, root: Path = ROOT) -> list[Path]:
    """Remove a cgroup and those below it in every hierarchy; those that still hold a process are given back."""
    busy = []
    for directory in groups_beneath(name, root):
        try:
            directory.rmdir()
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            log.debug("cgroup %s stays: %s", directory, error)
            busy.append(directory)
    return busy
