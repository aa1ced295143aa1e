"""Linux capabilities: names, Docker's default set, and what this daemon can hand out at all.

Numbers are the kernel's (include/uapi/linux/capability.h).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# In the kernel's order: the index is the capability's number.
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

DEFAULT = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)


def decode(mask: int) -> frozenset[str]:
    """The names in a capability mask; bits this table has no name for are left out."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def bounding(status: Path = Path("/proc/self/status")) -> frozenset[str]:
    """What this process could give to a child: its bounding set."""
    for line in status.read_text().splitlines():
        if line.startswith("CapBnd:"):
            return decode(int(line.split()[1], 16))
    return frozenset()


def intersect(wanted: Iterable[str], available: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(granted, refused), each in the order asked for. runc and crun fail on a capability outside the bounding set."""
    granted: list[str] = []
    refused: list[str] = []
    for name in wanted:
        (granted if name in available else refused).append(name)
    return tuple(granted), tuple(refused)
