"""The `runtime` section of an item: what is made ready around its container, before it is created and before it
starts.

As LinuxKit's init does it: mounts and directories first, relative ones in the container's root; then, with the
container's process there but not started, network interfaces and names for its namespaces.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boatyard.errors import BoatyardError, InvalidError, StorageError, UnavailableError
from boatyard.runtime import cgroups, kernel

_FLAGS = {
    # name: (cleared, flag)
    "async": (True, 16),
    "atime": (True, 1024),
    "bind": (False, kernel.MS_BIND),
    "dev": (True, kernel.MS_NODEV),
    "diratime": (True, 2048),
    "dirsync": (False, 128),
    "exec": (True, kernel.MS_NOEXEC),
    "mand": (False, 64),
    "noatime": (False, 1024),
    "nodev": (False, kernel.MS_NODEV),
    "nodiratime": (False, 2048),
    "noexec": (False, kernel.MS_NOEXEC),
    "nomand": (True, 64),
    "norelatime": (True, 1 << 21),
    "nostrictatime": (True, 1 << 24),
    "nosuid": (False, kernel.MS_NOSUID),
    "private": (False, kernel.MS_PRIVATE),
    "rbind": (False, kernel.MS_BIND | kernel.MS_REC),
    "relatime": (False, 1 << 21),
    "remount": (False, kernel.MS_REMOUNT),
    "ro": (False, kernel.MS_RDONLY),
    "rw": (True, kernel.MS_RDONLY),
    "shared": (False, kernel.MS_SHARED),
    "slave": (False, kernel.MS_SLAVE),
    "strictatime": (False, 1 << 24),
    "suid": (True, kernel.MS_NOSUID),
    "sync": (False, 16),
    "unbindable": (False, 1 << 17),
}
_NAMESPACES = {"cgroup": "cgroup", "ipc": "ipc", "mnt": "mnt", "net": "net", "pid": "pid", "user": "user", "uts": "uts"}


def prepare_files(runtime: Mapping[str, Any], root: str) -> list[str]:
    """Mounts, directories and cgroups; the mounts' places, for `undo`. StorageError or InvalidError."""
    made: list[str] = []
    try:
        for mount in runtime.get("mounts", []):
            made.append(_mount(mount, root))
        for directory in runtime.get("mkdir", []):
            os.makedirs(_place(directory, root), 0o755, exist_ok=True)
        for group in runtime.get("cgroups", []):
            for point in _cgroup_points():
                os.makedirs(point / group.lstrip("/"), 0o755, exist_ok=True)
    except OSError as error:
        undo(made)
        raise StorageError(f"can't prepare {error.filename or 'a mount'}: {error.strerror}") from error
    except BoatyardError:
        undo(made)
        raise
    return made


def prepare_process(runtime: Mapping[str, Any], pid: int) -> None:
    """Interfaces and names of namespaces, for a process that is there. InvalidError, StorageError,
    UnavailableError."""
    for interface in runtime.get("interfaces", []):
        _interface(interface, pid)
    for key, path in runtime.get("bindNS", {}).items():
        if path:
            _bind_namespace(_NAMESPACES[key], path, pid)


def undo(mounts: Sequence[str]) -> None:
    for place in reversed(mounts):
        try:
            kernel.unmount(place)
        except OSError:
            pass  # somebody was faster, or it went with something above it


def _mount(mount: Mapping[str, Any], root: str) -> str:
    place = _place(mount.get("destination", ""), root)
    os.makedirs(place, 0o755, exist_ok=True)
    flags, data = 0, []
    for option in mount.get("options", []):
        cleared, flag = _FLAGS.get(option, (False, 0))
        if option in _FLAGS:
            flags = flags & ~flag if cleared else flags | flag
        elif option != "defaults":
            data.append(option)
        key, _, value = option.partition("=")
        if key in ("upperdir", "workdir"):
            os.makedirs(value, 0o755, exist_ok=True)
    kernel.mount(mount.get("source", "") or "none", place, mount.get("type", ""), flags, ",".join(data))
    return place


def _place(path: str, root: str) -> str:
    if not path:
        raise InvalidError("runtime: a mount or a directory has no place")
    return path if path.startswith("/") else os.path.join(root, path)


def _cgroup_points() -> list[Path]:
    found = cgroups.detect()
    points = set(found.controllers.values())
    return sorted(points) or [cgroups.ROOT]


def _interface(interface: Mapping[str, Any], pid: int) -> None:
    name, kind, peer = interface.get("name", ""), interface.get("add", ""), interface.get("peer", "")
    if not name:
        raise InvalidError("runtime: an interface has no name")
    if peer and not kind:
        kind = "veth"
    if kind == "veth":
        if not peer:
            raise InvalidError(f"runtime: the veth interface {name} needs a peer")
        _ip("link", "add", "name", name, "type", "veth", "peer", "name", peer)
    elif kind and interface.get("createInRoot"):
        _ip("link", "add", "name", name, "type", kind)
    elif kind:
        _ip("link", "add", "name", name, "netns", str(pid), "type", kind)
        return
    _ip("link", "set", "dev", name, "netns", str(pid))


def _ip(*arguments: str) -> None:
    try:
        result = subprocess.run(
            ["ip", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError as error:
        raise UnavailableError("network interfaces are made with `ip`, which isn't here") from error
    if result.returncode:
        raise InvalidError(f"`ip {' '.join(arguments)}` failed: {result.stderr.strip()}")


def _bind_namespace(kind: str, path: str, pid: int) -> None:
    try:
        os.makedirs(os.path.dirname(path) or "/", 0o755, exist_ok=True)
        with open(path, "a"):
            pass
        kernel.mount(f"/proc/{pid}/ns/{kind}", path, flags=kernel.MS_BIND)
    except OSError as error:
        raise StorageError(f"the namespace can't be named {path}: {error.strerror}") from error
