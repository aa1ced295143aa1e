"""The daemon's own mount namespace.

Mounts made in it never show on the host and vanish with the daemon, however it ends.
"""

from __future__ import annotations

import logging
from pathlib import Path

from boatyard.errors import DeniedError
from boatyard.runtime import emulation, kernel

log = logging.getLogger(__name__)

CGROUP_ROOT = "/sys/fs/cgroup"
HYBRID_HIERARCHY = "/sys/fs/cgroup/unified"


def enter_private_mount_namespace() -> None:
    """Move this process into a mount namespace of its own.

    To be called in the main thread before any other thread exists: a thread that is there already stays on the host's
    side. The new tree is shared with itself, so that namespaces split off later (the one in which containers are
    started) see mounts made here. Raises DeniedError without CAP_SYS_ADMIN.
    """
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_SHARED)
    except PermissionError as error:
        raise DeniedError(
            "a private mount namespace can't be made: the kernel refuses (CAP_SYS_ADMIN)",
            hint="run the daemon as root, and when in a container, a privileged one",
        ) from error
    drop_hybrid_hierarchy()
    # Mounts that the host makes later don't show in here.
    emulation.provide()


def drop_hybrid_hierarchy() -> bool:
    """Hide cgroup v2's hierarchy beside v1's, in the calling thread's namespace; whether it was there.

    crun before 1.9 refuses to start when that hierarchy has controllers, even when told not to touch cgroups. It then
    takes the bare directory for a hierarchy all the same and writes into it: a small tmpfs keeps that from the
    host's. Harmless to others, but only in a private mount namespace.
    """
    if not is_hybrid():
        return False
    kernel.unmount(HYBRID_HIERARCHY)
    kernel.mount("tmpfs", HYBRID_HIERARCHY, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=0755")
    log.debug("hybrid cgroups: %s is hidden from containers", HYBRID_HIERARCHY)
    return True


def provide_cgroup_root() -> bool:
    """Where no cgroups are mounted at all, mount a small tmpfs in their place, in the calling thread's namespace.

    crun asks what kind of file system is there before it looks whether it is to use it.
    """
    if any(line.split(" ")[4] == CGROUP_ROOT for line in _lines(None)) or not Path(CGROUP_ROOT).is_dir():
        return False
    kernel.mount("tmpfs", CGROUP_ROOT, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=0755")
    return True


def is_hybrid(mountinfo: str | None = None) -> bool:
    """Whether cgroup v2 is mounted beside v1. `mountinfo` stands for the text of /proc/self/mountinfo."""
    for line in _lines(mountinfo):
        place, _, origin = line.partition(" - ")
        if place.split(" ")[4] == HYBRID_HIERARCHY and origin.startswith("cgroup2 "):
            return True
    return False


def propagates_mounts(mountinfo: str | None = None) -> bool:
    """Whether mounts made in this process' namespace reach namespaces that are split off from it.

    True after `enter_private_mount_namespace`, and on hosts whose init shares the root mount (systemd does).
    """
    for line in _lines(mountinfo):
        fields = line.split(" ")
        if fields[4] == "/":
            return any(field.startswith("shared:") for field in fields[6 : fields.index("-")])
    return False


def _lines(mountinfo: str | None) -> list[str]:
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return mountinfo.splitlines()
