"""Edits of a container that a device asks for: variables, device nodes, mounts, hooks, groups. Values, and what they do
to an OCI configuration.

Specification: Container Device Interface 1.0, "OCI Edits".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from boatyard.errors import InvalidError

Document = dict[str, object]

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""Names of lists in `hooks`."""


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """`type`: b, c, u or p; what is "" or None is looked up at `host_path`, or `path`."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    mode: int | None = None
    access: str = ""
    """A choice of `rwm`; "" is all of them."""
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class EditMount:
    """`type` "" is a bind mount."""

    source: str
    target: str
    options: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the host. `timeout` in seconds."""

    name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class IntelRdt:
    """Of `linux.intelRdt`."""

    class_id: str = ""
    l3_cache: str = ""
    memory_bandwidth: str = ""


@dataclass(frozen=True, slots=True)
class Edits:
    env: tuple[str, ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[EditMount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[int, ...] = ()
    intel_rdt: IntelRdt | None = None

    def __bool__(self) -> bool:
        return any((self.env, self.nodes, self.mounts, self.hooks, self.groups, self.intel_rdt))


def joined(edits: Iterable[Edits]) -> Edits:
    """One after the other."""
    every = list(edits)
    return Edits(
        env=tuple(each for edit in every for each in edit.env),
        nodes=tuple(each for edit in every for each in edit.nodes),
        mounts=tuple(each for edit in every for each in edit.mounts),
        hooks=tuple(each for edit in every for each in edit.hooks),
        groups=tuple(each for edit in every for each in edit.groups),
        intel_rdt=next((edit.intel_rdt for edit in reversed(every) if edit.intel_rdt), None),
    )


def environment(env: Sequence[str], edits: Edits) -> list[str]:
    """Variables of the edits stand in the place of those of the same name."""
    added = {entry.partition("=")[0]: entry for entry in edits.env}
    return [*(entry for entry in env if entry.partition("=")[0] not in added), *added.values()]


def device(node: DeviceNode, uid: int, gid: int, look: Callable[[str], os.stat_result] = os.lstat) -> Document:
    """An entry of `linux.devices`, with `access`. `uid` and `gid` are the process', to whom the node belongs where it
    doesn't say. InvalidError when it can't be found out what the node is."""
    found = _complete(node, look)
    document: Document = {
        "path": found.path,
        "type": found.type,
        "major": found.major,
        "minor": found.minor,
        "uid": uid if found.uid is None else found.uid,
        "gid": gid if found.gid is None else found.gid,
        "access": found.access or "rwm",
    }
    if found.mode is not None:
        document["fileMode"] = found.mode
    return document


def _complete(node: DeviceNode, look: Callable[[str], os.stat_result]) -> DeviceNode:
    path = node.host_path or node.path
    told = bool(node.type) and (node.major != 0 or node.type == "p")
    try:
        status = look(path)
    except OSError as error:
        if told:
            return node
        raise InvalidError(f"the device node {path} can't be looked at: {error.strerror}") from error
    if told:
        return node if node.mode is not None else replace(node, mode=stat.S_IMODE(status.st_mode))
    kind = _kind(status.st_mode)
    if not kind:
        raise InvalidError(f"{path} is no device node")
    if node.type and node.type != kind:
        raise InvalidError(f"the device node {path} is of type {kind}, not {node.type}")
    return replace(
        node,
        type=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        mode=stat.S_IMODE(status.st_mode) if node.mode is None else node.mode,
    )


def _kind(mode: int) -> str:
    if stat.S_ISCHR(mode):
        return "c"
    if stat.S_ISBLK(mode):
        return "b"
    return "p" if stat.S_ISFIFO(mode) else ""


def hooks(edits: Edits) -> dict[str, list[Document]]:
    """`hooks` of the configuration."""
    found: dict[str, list[Document]] = {}
    for hook in edits.hooks:
        entry: Document = {"path": hook.path}
        if hook.args:
            entry["args"] = list(hook.args)
        if hook.env:
            entry["env"] = list(hook.env)
        if hook.timeout is not None:
            entry["timeout"] = hook.timeout
        found.setdefault(hook.name, []).append(entry)
    return found


def intel_rdt(rdt: IntelRdt) -> Document:
    values = {"closID": rdt.class_id, "l3CacheSchema": rdt.l3_cache, "memBwSchema": rdt.memory_bandwidth}
    return {name: value for name, value in values.items() if value}
