"""A specification file, JSON or YAML, as values. What is malformed in it is refused as a whole, with the reason.

Specification: Container Device Interface 1.0, "CDI JSON Specification".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.runtime import edits as oci
from boatyard.runtime.edits import Edits

VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
"""That are understood."""

_VENDOR = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class NodeDocument(_Strict, frozen=True):
    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class MountDocument(_Strict, frozen=True):
    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class HookDocument(_Strict, frozen=True):
    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class RdtDocument(_Strict, frozen=True):
    class_id: str = msgspec.field(name="closID", default="")
    l3_cache_schema: str = msgspec.field(name="l3CacheSchema", default="")
    mem_bw_schema: str = msgspec.field(name="memBwSchema", default="")
    schemata: tuple[str, ...] = ()
    enable_monitoring: bool = False


class NetDeviceDocument(_Strict, frozen=True):
    host_interface_name: str
    name: str


class EditsDocument(_Strict, frozen=True):
    env: tuple[str, ...] = ()
    device_nodes: tuple[NodeDocument, ...] = ()
    net_devices: tuple[NetDeviceDocument, ...] = ()
    hooks: tuple[HookDocument, ...] = ()
    mounts: tuple[MountDocument, ...] = ()
    intel_rdt: RdtDocument | None = None
    additional_gids: tuple[int, ...] = msgspec.field(name="additionalGids", default=())


class DeviceDocument(_Strict, frozen=True):
    name: str
    annotations: dict[str, str] = {}
    container_edits: EditsDocument = EditsDocument()


class SpecDocument(_Strict, frozen=True):
    cdi_version: str
    kind: str
    annotations: dict[str, str] = {}
    devices: tuple[DeviceDocument, ...] = ()
    container_edits: EditsDocument = EditsDocument()


@dataclass(frozen=True, slots=True)
class SpecDevice:
    """`name` is qualified: `vendor.com/class=name`. `annotations` are the device's and its file's."""

    name: str
    annotations: Mapping[str, str]
    edits: Edits
    """The device's own."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One file."""

    path: str
    edits: Edits
    """For every container that gets one of its devices."""
    devices: tuple[SpecDevice, ...]


def parse(data: bytes, path: str) -> Spec:
    """InvalidError says what is wrong with the file; UnsupportedError what is right, but can't be done here."""
    try:
        document = _decoded(data, path)
    except msgspec.MsgspecError as error:
        raise InvalidError(f"{path}: {error}") from error
    if document.cdi_version not in VERSIONS:
        raise InvalidError(f"{path}: unknown version {document.cdi_version!r}", hint=f"known: {', '.join(VERSIONS)}")
    vendor, slash, kind = document.kind.partition("/")
    if not slash or not _VENDOR.fullmatch(vendor) or not _VENDOR.fullmatch(kind):
        raise InvalidError(f"{path}: the kind {document.kind!r} is not VENDOR/CLASS")
    _check_version(document, path)
    devices = [_device(document, device, path) for device in document.devices]
    if not devices:
        raise InvalidError(f"{path}: it has no devices")
    if len({device.name for device in devices}) != len(devices):
        raise InvalidError(f"{path}: it has two devices of one name")
    return Spec(path, _edits(document.container_edits, path), tuple(devices))


def _decoded(data: bytes, path: str) -> SpecDocument:
    if path.endswith(".json"):
        return msgspec.json.decode(data, type=SpecDocument)
    import yaml  # only where there are such files

    try:
        raw = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    return msgspec.convert(_texts(raw), SpecDocument)


def _texts(raw: Any) -> Any:
    """Annotations are texts, also those that YAML takes for something else (`true`)."""
    if not isinstance(raw, dict):
        return raw
    made = dict(raw)
    if isinstance(raw.get("annotations"), dict):
        made["annotations"] = {str(key): _text(value) for key, value in raw["annotations"].items()}
    if isinstance(raw.get("devices"), list):
        made["devices"] = [_texts(device) for device in raw["devices"]]
    return made


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _device(spec: SpecDocument, device: DeviceDocument, path: str) -> SpecDevice:
    if not _NAME.fullmatch(device.name):
        raise InvalidError(f"{path}: {device.name!r} is no name of a device")
    name = f"{spec.kind}={device.name}"
    edits = _edits(device.container_edits, f"{path}: {name}")
    if not edits:
        raise InvalidError(f"{path}: the device {device.name!r} edits nothing")
    return SpecDevice(name, {**spec.annotations, **device.annotations}, edits)


def _edits(document: EditsDocument, where: str) -> Edits:
    if document.net_devices:
        raise UnsupportedError(f"{where}: moving network interfaces into containers is not supported yet")
    for entry in (*document.env, *(entry for hook in document.hooks for entry in hook.env)):
        if entry.find("=") < 1:
            raise InvalidError(f"{where}: {entry!r} is no variable", hint="write NAME=VALUE")
    return Edits(
        env=document.env,
        nodes=tuple(_node(node, where) for node in document.device_nodes),
        mounts=tuple(_mount(mount, where) for mount in document.mounts),
        hooks=tuple(_hook(hook, where) for hook in document.hooks),
        groups=tuple(gid for gid in document.additional_gids if gid),
        intel_rdt=_rdt(document.intel_rdt, where) if document.intel_rdt else None,
    )


def _node(node: NodeDocument, where: str) -> oci.DeviceNode:
    if not node.path.startswith("/") or "\0" in node.path:
        raise InvalidError(f"{where}: the device node {node.path!r} has no absolute path")
    if node.type not in ("", "b", "c", "u", "p"):
        raise InvalidError(f"{where}: the device node {node.path} has the unknown type {node.type!r}")
    if set(node.permissions) - set("rwm"):
        raise InvalidError(f"{where}: {node.permissions!r} is no choice of rwm")
    return oci.DeviceNode(
        path=node.path,
        host_path=node.host_path,
        type=node.type,
        major=node.major,
        minor=node.minor,
        mode=node.file_mode,
        access=node.permissions,
        uid=node.uid,
        gid=node.gid,
    )


def _mount(mount: MountDocument, where: str) -> oci.EditMount:
    if not mount.host_path or not mount.container_path.startswith("/"):
        raise InvalidError(f"{where}: a mount needs a hostPath and an absolute containerPath")
    return oci.EditMount(mount.host_path, mount.container_path, mount.options, mount.type)


def _hook(hook: HookDocument, where: str) -> oci.Hook:
    if hook.hook_name not in oci.HOOKS:
        raise InvalidError(f"{where}: unknown hook {hook.hook_name!r}", hint=f"known: {', '.join(oci.HOOKS)}")
    if not hook.path.startswith("/"):
        raise InvalidError(f"{where}: the hook {hook.hook_name} needs an absolute path")
    return oci.Hook(hook.hook_name, hook.path, hook.args, hook.env, hook.timeout)


def _rdt(rdt: RdtDocument, where: str) -> oci.IntelRdt:
    if rdt.schemata or rdt.enable_monitoring:
        raise UnsupportedError(f"{where}: schemata and monitoring of Intel RDT are not supported yet")
    name = rdt.class_id
    if name != "/" and (len(name) >= 4096 or name in (".", "..") or set(name) & set("/\n")):
        raise InvalidError(f"{where}: {name!r} is no name of a class of service")
    return oci.IntelRdt(name, rdt.l3_cache_schema, rdt.mem_bw_schema)


def _check_version(spec: SpecDocument, path: str) -> None:
    """A file may use what its version has."""
    needed = max(_needed(spec), key=VERSIONS.index)
    if VERSIONS.index(needed) > VERSIONS.index(spec.cdi_version):
        raise InvalidError(f"{path}: what it uses came with version {needed}, but it says {spec.cdi_version}")


def _needed(spec: SpecDocument) -> Iterable[str]:
    yield VERSIONS[0]
    if spec.annotations or "." in spec.kind.partition("/")[2]:
        yield "0.6.0"
    for device in spec.devices:
        if device.name[:1].isdigit():
            yield "0.5.0"
        if device.annotations:
            yield "0.6.0"
    for edits in (spec.container_edits, *(device.container_edits for device in spec.devices)):
        if any(mount.type for mount in edits.mounts):
            yield "0.4.0"
        if any(node.host_path for node in edits.device_nodes):
            yield "0.5.0"
        if edits.intel_rdt is not None or edits.additional_gids:
            yield "0.7.0"
        if edits.net_devices:
            yield "1.1.0"
