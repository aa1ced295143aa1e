"""From an item, its image's config and its image's label to an OCI configuration, by LinuxKit's rules.

Pure functions over values. What the definition says wins over the label `org.mobyproject.config`, which wins over
the image's own config; `capabilities.add` and `binds.add` add to the label's.

Specification: LinuxKit's docs/yaml.md; OCI runtime-spec, config.md and config-linux.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boatyard.errors import InvalidError
from boatyard.logs.boot.document import Checked, Item, check_options, load
from boatyard.runtime import capabilities

OCI_VERSION = "1.0.2"
LABEL = "org.mobyproject.config"
_UNLIMITED = (1 << 64) - 1
_RLIMITS = frozenset(
    f"RLIMIT_{name}"
    for name in (
        *("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING"),
        *("MSGQUEUE", "NICE", "RTPRIO", "RTTIME"),
    )
)
_DEFAULT_PLACES = {
    "proc": "/proc",
    "devpts": "/dev/pts",
    "sysfs": "/sys",
    "cgroup": "/sys/fs/cgroup",
    "mqueue": "/dev/mqueue",
}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image's config says of running it."""

    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def merged(item: Item, image: ImageFacts) -> Checked:
    """The item's options over the label's over the image's, each in one place. `.add` is added."""
    label = _label(image.labels.get(LABEL, ""), item)
    own = item.options
    options: dict[str, Any] = {"command": list(image.command), "env": list(image.env), "cwd": image.cwd or "/"}
    options |= {key: value for key, value in label.items() if value != "" and not key.endswith(".add")}
    options |= {key: value for key, value in own.items() if value != "" and not key.endswith(".add")}
    for key in ("capabilities", "binds"):
        if key not in own:
            options[key] = list(dict.fromkeys([*label.get(key, []), *own.get(f"{key}.add", [])]))
    options["runtime"] = {**label.get("runtime", {}), **own.get("runtime", {})}
    return options


def configuration(
    name: str,
    options: Checked,
    *,
    ids: Mapping[str, int],
    volumes: Mapping[str, str],
    readonly_volumes: frozenset[str] = frozenset(),
    available: frozenset[str],
) -> tuple[Document, list[str]]:
    """config.json with the root at `rootfs`, and warnings. `ids`: of items, for `uid: NAME`. `volumes`: where each is
    mounted. `available`: the capabilities there are to give."""
    warnings: list[str] = []
    if not options["command"]:
        raise InvalidError(f"{name}: there is no command: neither the definition nor the image names one")
    granted, ambient = _capabilities(name, options, available, warnings)
    resources, devices = _devices(name, options)
    process: Document = {
        "terminal": False,
        "user": {
            "uid": _number(name, options.get("uid", 0), ids),
            "gid": _number(name, options.get("gid", 0), ids),
            "additionalGids": [_number(name, gid, ids) for gid in options.get("additionalGids", [])],
        },
        "args": list(options["command"]),
        "env": list(options["env"]),
        "cwd": options["cwd"],
        "capabilities": {
            "bounding": sorted({*granted, *ambient}),
            "effective": list(granted),
            "inheritable": sorted({*granted, *ambient}),
            "permitted": sorted({*granted, *ambient}),
            "ambient": list(ambient),
        },
        "noNewPrivileges": options.get("noNewPrivileges", False),
    }
    if rlimits := [_rlimit(name, text) for text in options.get("rlimits", [])]:
        process["rlimits"] = rlimits
    if "oomScoreAdj" in options:
        process["oomScoreAdj"] = options["oomScoreAdj"]
    linux: Document = {"namespaces": _namespaces(options), "resources": resources}
    for key, target in (
        ("uidMappings", "uidMappings"),
        ("gidMappings", "gidMappings"),
        ("sysctl", "sysctl"),
        ("cgroupsPath", "cgroupsPath"),
        ("rootfsPropagation", "rootfsPropagation"),
        ("maskedPaths", "maskedPaths"),
        ("readonlyPaths", "readonlyPaths"),
    ):
        if options.get(key):
            linux[target] = options[key]
    if devices:
        linux["devices"] = devices
    document: Document = {
        "ociVersion": OCI_VERSION,
        "process": process,
        "root": {"path": "rootfs", "readonly": options.get("readonly", False)},
        "mounts": _mounts(name, options, volumes, readonly_volumes),
        "linux": linux,
    }
    if options.get("hostname"):
        document["hostname"] = options["hostname"]
    if options.get("annotations"):
        document["annotations"] = dict(options["annotations"])
    return document, warnings


def _label(text: str, item: Item) -> Checked:
    if not text:
        return {}
    where = f'"{item.name}": the label {LABEL} of {item.image}'
    try:
        raw = load(text)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}") from error
    return check_options(raw, where)


def _capabilities(
    name: str, options: Checked, available: frozenset[str], warnings: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = []
    for key in ("capabilities", "ambient"):
        wanted: Sequence[str] = options.get(key, [])
        if len(wanted) == 1 and wanted[0].lower() in ("all", "none"):
            wanted = capabilities.NAMES if wanted[0].lower() == "all" else ()
            # What the kernel doesn't have, or we don't, isn't meant by "all".
            wanted = tuple(each for each in wanted if each in available)
        for each in wanted:
            if each not in capabilities.NAMES:
                raise InvalidError(f"{name}: unknown capability {each}")
        granted, refused = capabilities.intersect(wanted, available)
        if refused:
            warnings.append(f"{name} lacks {', '.join(refused)}: we don't have it either")
        found.append(granted)
    return found[0], found[1]


def _rlimit(name: str, text: str) -> Document:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise InvalidError(f"{name}: rlimits: {text!r} is not NAME,SOFT,HARD")
    kind = parts[0].upper()
    kind = kind if kind.startswith("RLIMIT_") else f"RLIMIT_{kind}"
    if kind not in _RLIMITS:
        raise InvalidError(f"{name}: rlimits: unknown limit {parts[0]!r}")
    values = []
    for part in parts[1:]:
        if part.lower() != "unlimited" and not part.isdecimal():
            raise InvalidError(f"{name}: rlimits: {part!r} is no number")
        values.append(_UNLIMITED if part.lower() == "unlimited" else int(part))
    return {"type": kind, "soft": values[0], "hard": values[1]}


def _number(name: str, id: int | str, ids: Mapping[str, int]) -> int:
    if isinstance(id, int):
        return id
    if id in ("", "root"):
        return 0
    if id not in ids:
        raise InvalidError(f"{name}: there is no item {id!r} whose number could be used")
    return ids[id]


def _namespaces(options: Checked) -> list[Document]:
    """`net`, `ipc`, `uts` and `userns` are the host's unless something else is said; `pid` and mounts are new."""
    namespaces: list[Document] = []
    for key, kind in (("net", "network"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("userns", "user")):
        said = options.get(key) or ("new" if key == "pid" else "host")
        if said in ("host", "root"):
            continue
        if said == "new" or (key == "net" and said == "none"):
            namespaces.append({"type": kind})
        else:
            namespaces.append({"type": kind, "path": said})
    return [*namespaces, {"type": "mount"}]


def _mounts(
    name: str, options: Checked, volumes: Mapping[str, str], readonly_volumes: frozenset[str]
) -> list[Document]:
    """Docker's usual ones without /dev/shm and /dev/mqueue, then `tmpfs`, `binds` and `mounts`; a later one at the
    same place wins. In the order of their places."""
    readonly = ["ro"] if options.get("readonly") else []
    mounts = {
        "/proc": _mount("/proc", "proc", "proc", ["nosuid", "nodev", "noexec", "relatime"]),
        "/dev": _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k", *readonly]),
        "/dev/pts": _mount(
            "/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
        ),
        "/sys": _mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", *readonly]),
        "/sys/fs/cgroup": _mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
    }
    for text in options.get("tmpfs", []):
        place, _, flags = text.partition(":")
        if ":" in flags:
            raise InvalidError(f"{name}: tmpfs: {text!r} has too many colons")
        mounts[place] = _mount(place, "tmpfs", "tmpfs", flags.split(",") if flags else [])
    for text in options.get("binds", []):
        source, place, flags = _bind(name, text)
        if source in volumes:
            if source in readonly_volumes:
                if flags is not None and "rw" in flags:
                    raise InvalidError(f"{name}: binds: the volume {source} is read-only")
                flags = [*(flags or []), "ro"]
            source = volumes[source]
        chosen = [*flags, "rbind"] if flags is not None else ["rw", "rbind", "rshared"]
        mounts[place] = _mount(place, "bind", source, list(dict.fromkeys(chosen)))
    for entry in options.get("mounts", []):
        made = _full_mount(name, entry)
        mounts[made["destination"]] = made
    return [mounts[place] for place in sorted(mounts)]


def _bind(name: str, text: str) -> tuple[str, str, list[str] | None]:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not parts[1].startswith("/"):
        raise InvalidError(f"{name}: binds: {text!r} is not SOURCE:/PLACE[:OPTIONS]")
    return parts[0], parts[1], parts[2].split(",") if len(parts) == 3 else None


def _full_mount(name: str, entry: Mapping[str, Any]) -> Document:
    kind, source, place = entry.get("type", ""), entry.get("source", ""), entry.get("destination", "")
    if not kind and source in _DEFAULT_PLACES:
        kind = source
    if not kind and place == "/dev":
        kind = "tmpfs"
    if not kind:
        raise InvalidError(f"{name}: mounts: the one at {place or '?'} has no type")
    place = place or _DEFAULT_PLACES.get(kind, "")
    if not place:
        raise InvalidError(f"{name}: mounts: one of type {kind} has no destination")
    return _mount(place, kind, source or kind, list(entry.get("options", [])))


def _mount(place: str, kind: str, source: str, options: list[str]) -> Document:
    return {"destination": place, "type": kind, "source": source, "options": options}


def _devices(name: str, options: Checked) -> tuple[Document, list[Document]]:
    """`resources` with a rule for each device, and the devices."""
    resources = dict(options.get("resources", {}))
    rules = list(resources.get("devices", []))
    nodes: list[Document] = []
    for device in options.get("devices", []):
        path, kind = device.get("path", ""), device.get("type", "")
        if not path or kind not in ("b", "c", "u", "p", "a"):
            raise InvalidError(f"{name}: devices: expected a path and one of the types b, c, u, p")
        if path == "all":
            rules.append({"allow": True, "type": kind, "access": "rwm"})
            continue
        try:
            mode = int(device.get("mode", ""), 8)
        except ValueError:
            raise InvalidError(f"{name}: devices: the mode of {path} is not octal") from None
        numbers = {"type": kind, "major": device.get("major", 0), "minor": device.get("minor", 0)}
        nodes.append({"path": path, **numbers, "fileMode": mode})
        rules.append({"allow": True, **numbers, "access": "rwm"})
    if rules:
        resources["devices"] = rules
    return resources, nodes
