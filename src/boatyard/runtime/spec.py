"""From a ContainerSpec to an OCI configuration: pure functions over values.

What is needed of the host comes in as `Host`; what was looked up in the root file system, and the mounts' resolved
places, as `Placement`.

Specification: OCI runtime-spec 1.0.2, config.md and config-linux.md.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from boatyard.errors import InvalidError
from boatyard.runtime import capabilities, cgroups, limits
from boatyard.runtime import edits as oci_edits
from boatyard.runtime.container import DEFAULT_SHM_SIZE, ContainerSpec, Network
from boatyard.runtime.edits import Edits
from boatyard.runtime.users import User

OCI_VERSION = "1.0.2"

UMASK = 0o022
"""Docker's; without a word the daemon's own would be inherited."""

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

RUNTIME_DIRECTORIES = ("/proc", "/dev", "/sys")
"""Mounted over in every container; what they hold in the image is never seen."""

Document = dict[str, object]

NO_EDITS = Edits()


@dataclass(frozen=True, slots=True)
class Host:
    """What this host permits. Found out once, by the executor."""

    capabilities: frozenset[str]
    layout: cgroups.Layout = cgroups.Layout.NONE
    controllers: frozenset[str] = frozenset()
    """Of cgroups: what limits can be set on."""
    device_rules: bool = True
    """Whether anything keeps containers from the host's devices. If not, they may not make device nodes."""
    seccomp: Callable[[tuple[str, ...]], object] | None = None
    """From capabilities to `linux.seccomp`; None where the kernel has no filters."""
    seccomp_filter: Callable[[tuple[str, ...]], str] | None = None
    """The same compiled, in base64, for a runtime that takes it in an annotation; "" where it can't be had."""
    devices: Callable[[], Sequence[Document]] = tuple
    """All of the host's device nodes, as `linux.devices`, for insecure containers."""
    oom_score: int = 0
    hard_limit: Callable[[str], int] = limits.own_hard_limit


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one container goes."""

    user: User
    root: str
    """Free of links."""
    cwd: str
    mounts: Sequence[Document]
    """In the order in which they are made, behind the runtime's own."""
    network: Network = Network.HOST
    network_namespace: str = ""
    """Path of the namespace to join with Network.DEFAULT."""
    cgroup: str = ""
    """"" is none of its own."""
    terminal: bool = False
    env: tuple[str, ...] = ()
    """Added behind the spec's."""
    init: str = ""
    """Path inside of the init to run first."""
    devices: Sequence[Document] = field(default_factory=tuple)
    """`linux.devices` asked for, each with its `access`."""
    compiled_filter: bool = False
    """Hand the system call filter over in compiled form, where there is one."""


def configuration(spec: ContainerSpec, host: Host, place: Placement) -> tuple[Document, list[str]]:
    """config.json and the warnings about what this host refuses."""
    warnings: list[str] = []
    granted = _capabilities(spec, host, warnings)
    process = _process(spec, host, place, granted, warnings)
    annotations = dict(spec.annotations)
    linux = _linux(spec, host, place, granted, annotations)
    document: Document = {
        "ociVersion": OCI_VERSION,
        "process": process,
        "root": {"path": place.root, "readonly": spec.readonly_root},
        "hostname": spec.hostname,
        "mounts": [*runtime_mounts(spec, host, own_cgroup=bool(place.cgroup)), *place.mounts],
        "linux": linux,
    }
    if annotations:
        document["annotations"] = annotations
    if hooks := oci_edits.hooks(spec.edits):
        document["hooks"] = hooks
    return document, warnings


def joining(spec: ContainerSpec, host: Host, place: Placement) -> tuple[Document, list[str]]:
    """One more process in a container that was started from such a configuration: process.json, and warnings."""
    warnings: list[str] = []
    return _process(spec, host, place, _capabilities(spec, host, warnings), warnings), warnings


def _process(
    spec: ContainerSpec, host: Host, place: Placement, granted: tuple[str, ...], warnings: list[str]
) -> Document:
    rlimits, cut = limits.rlimits(
        spec.ulimits, may_raise="CAP_SYS_RESOURCE" in host.capabilities, hard_limit=host.hard_limit
    )
    warnings += cut
    process: Document = {
        "terminal": place.terminal,
        "user": {
            "uid": place.user.uid,
            "gid": place.user.gid,
            "umask": UMASK,
            "additionalGids": [*place.user.groups, *(gid for gid in spec.edits.groups if gid not in place.user.groups)],
        },
        "args": [place.init, "--", *spec.args] if place.init else list(spec.args),
        "env": environment(spec.env, place, spec.edits),
        "cwd": place.cwd,
        "capabilities": {"bounding": granted, "effective": granted, "permitted": granted},
        "noNewPrivileges": spec.unprivileged,
    }
    if rlimits:
        process["rlimits"] = rlimits
    if host.oom_score < 0:
        # Lowered scores are for the daemon; a container that keeps one would be killed last of all.
        process["oomScoreAdj"] = 0
    return process


def environment(env: Sequence[str], place: Placement, edits: Edits = NO_EDITS) -> list[str]:
    """The process' environment: the step's, what was added, what devices need, and HOME (and TERM with a terminal)
    where none of them sets it.
    """
    entries = oci_edits.environment([*env, *place.env], edits)
    names = {entry.partition("=")[0] for entry in entries}
    if "HOME" not in names:
        entries.append(f"HOME={place.user.home}")
    if place.terminal and "TERM" not in names:
        entries.append("TERM=xterm")
    for entry in entries:
        if "\0" in entry:
            raise InvalidError(f"the environment variable {entry.partition('=')[0]!r} holds a NUL byte")
    return entries


def _capabilities(spec: ContainerSpec, host: Host, warnings: list[str]) -> tuple[str, ...]:
    if spec.unprivileged:
        return ()
    if spec.insecure:
        granted, refused = capabilities.intersect(capabilities.NAMES, host.capabilities)
        if refused:
            warnings.append(f"the insecure step lacks {', '.join(refused)}: this daemon doesn't have it either")
        return granted
    granted, refused = capabilities.intersect(capabilities.DEFAULT, host.capabilities)
    if refused:
        warnings.append(f"the container lacks {', '.join(refused)}: this daemon doesn't have it either")
    if not host.device_rules:
        granted = tuple(name for name in granted if name != "CAP_MKNOD")
    return granted


def _linux(
    spec: ContainerSpec, host: Host, place: Placement, granted: tuple[str, ...], annotations: dict[str, str]
) -> Document:
    namespaces: list[Document] = [{"type": name} for name in ("pid", "ipc", "uts", "mount")]
    if place.network is Network.NONE:
        namespaces.append({"type": "network"})
    elif place.network is Network.DEFAULT:
        namespaces.append({"type": "network", "path": place.network_namespace})
    if host.layout is cgroups.Layout.V2:
        namespaces.append({"type": "cgroup"})
    linux: Document = {"namespaces": namespaces}
    if place.cgroup:
        linux["cgroupsPath"] = place.cgroup
        extra = [
            (str(device["type"]), _number(device["major"]), _number(device["minor"]), str(device["access"]))
            for device in place.devices
            if device["type"] in ("b", "c")
        ]
        linux["resources"] = {
            "devices": cgroups.device_rules(extra, everything=spec.insecure),
            **cgroups.resources_section(spec.resources),
        }
    devices = [{key: value for key, value in device.items() if key != "access"} for device in place.devices]
    if spec.insecure:
        taken = {device["path"] for device in devices}
        devices += [dict(device) for device in host.devices() if device["path"] not in taken]
    else:
        linux["maskedPaths"] = MASKED_PATHS
        linux["readonlyPaths"] = READONLY_PATHS
        compiled = host.seccomp_filter(granted) if place.compiled_filter and host.seccomp_filter is not None else ""
        if compiled:
            annotations["run.oci.seccomp_bpf_data"] = compiled
        elif host.seccomp is not None:
            linux["seccomp"] = host.seccomp(granted)
    if devices:
        linux["devices"] = devices
    if spec.edits.intel_rdt is not None:
        linux["intelRdt"] = oci_edits.intel_rdt(spec.edits.intel_rdt)
    return linux


def runtime_mounts(spec: ContainerSpec, host: Host, *, own_cgroup: bool) -> list[Document]:
    """/proc, /dev and /sys with what belongs in them, as Docker has them."""
    writable = "rw" if spec.insecure else "ro"
    mounts: list[Document] = [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            "nosuid",
            "noexec",
            "nodev",
            "mode=1777",
            f"size={spec.shm_size or DEFAULT_SHM_SIZE}",
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", writable),
    ]
    if own_cgroup and host.layout is not cgroups.Layout.NONE:
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", writable))
    return mounts


def _mount(destination: str, kind: str, source: str, *options: str) -> Document:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a device number is an integer, not {value!r}")
    return value


def parse_device(text: str, node: Callable[[str], tuple[int, int, int]]) -> Document:
    """`host[:inside[:permissions]]` as an entry of `linux.devices` with `access`. `node` gives (mode, device number,
    gid) of a path.

    Raises InvalidError for what is malformed or not a device.
    """
    parts = text.split(":")
    if len(parts) > 3 or not parts[0].startswith("/"):
        raise InvalidError(f"device {text!r}: expected /path[:/path inside[:rwm]]")
    source, inside, access = parts[0], parts[0], "rwm"
    for part in parts[1:]:
        if part.startswith("/"):
            inside = part
        elif part and not set(part) - set("rwm"):
            access = part
        else:
            raise InvalidError(f"device {text!r}: {part!r} is neither a path nor a choice of rwm")
    try:
        mode, number, gid = node(source)
    except OSError as error:
        raise InvalidError(f"device {source}: {error.strerror}") from error
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
        raise InvalidError(f"device {source}: it is not a device node")
    return device_entry(posixpath.normpath(inside), mode, number, gid) | {"access": access}


def device_entry(path: str, mode: int, number: int, gid: int) -> Document:
    """One node as `linux.devices` describes it."""
    return {
        "path": path,
        "type": "b" if stat.S_ISBLK(mode) else "c",
        "major": os.major(number),
        "minor": os.minor(number),
        "fileMode": stat.S_IMODE(mode),
        "uid": 0,
        "gid": gid,
    }
