"""LinuxKit's image definition (its `docs/yaml.md`), read and checked: what there is, not yet what it means.

Of its sections, `onboot`, `onshutdown`, `services`, `volumes` and `files` are ours. `kernel`, `init` and `trust`
say how an image of a machine is made: they are let pass. Beyond LinuxKit, an item may have `restart`, and one
without an image is a plain process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from boatyard.errors import InvalidError

Checked = Mapping[str, Any]
"""Keys and values of an item as they were written; values have the types that the keys ask for."""

_NAME = re.compile(r"[a-z0-9_-]+")
_VOLUME = re.compile(r"[a-z0-9_-]+")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:\d+)?")
_PASSED_OVER = ("kernel", "init", "trust")
_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """Something to run. `image` "": a plain process."""

    name: str
    image: str
    options: Checked
    restart: str = "no"


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    image: str = ""
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """`mode` is octal; `uid` and `gid` are numbers or an item's name."""

    path: str
    contents: str | None = None
    source: str = ""
    symlink: str = ""
    directory: bool = False
    optional: bool = False
    mode: int = 0o600
    uid: int | str = 0
    gid: int | str = 0


@dataclass(frozen=True, slots=True)
class Definition:
    onboot: tuple[Item, ...] = ()
    onshutdown: tuple[Item, ...] = ()
    services: tuple[Item, ...] = ()
    volumes: tuple[Volume, ...] = ()
    files: tuple[File, ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """All that are named, each once."""
        items: tuple[Item | Volume, ...] = (*self.onboot, *self.services, *self.onshutdown, *self.volumes)
        return tuple(dict.fromkeys(each.image for each in items if each.image))


def parse(text: str) -> Definition:
    """InvalidError names the place: `services[1] "redis": binds: expected a list of strings`."""
    raw = load(text)
    unknown = set(raw) - {"onboot", "onshutdown", "services", "volumes", "files", *_PASSED_OVER}
    if unknown:
        raise InvalidError(f"unknown section {sorted(unknown)[0]!r}", hint=f"there are {', '.join(_SECTIONS)}")
    definition = Definition(
        onboot=_items(raw, "onboot"),
        onshutdown=_items(raw, "onshutdown"),
        services=_items(raw, "services"),
        volumes=tuple(_volume(entry, where) for entry, where in _entries(raw, "volumes")),
        files=tuple(_file(entry, where) for entry, where in _entries(raw, "files")),
    )
    for what, names in (
        ("service", [item.name for item in definition.services]),
        ("volume", [volume.name for volume in definition.volumes]),
    ):
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InvalidError(f"there are two {what}s named {twice[0]!r}")
    return definition


def load(text: str) -> dict[str, Any]:
    """YAML or JSON with an object at the top. InvalidError."""
    import yaml

    if len(text) > _LARGEST:
        raise InvalidError("this is too large for an image definition")
    try:
        raw = yaml.load(text, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise InvalidError(f"{where}{error.problem or 'this is no YAML'}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidError(f"this is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise InvalidError("an image definition is an object", hint="it has sections such as `services:`")
    return raw


def check_options(raw: Mapping[Any, Any], where: str) -> Checked:
    """The keys that describe how an item is run; also those of an image's label. InvalidError."""
    for key, value in raw.items():
        check = _OPTIONS.get(key)
        if check is None:
            raise _unknown(where, key, _OPTIONS)
        _check(check, value, f"{where}: {key}")
    return dict(raw)


def _unknown(where: str, key: object, known: Mapping[str, object]) -> InvalidError:
    from difflib import get_close_matches

    near = get_close_matches(str(key), known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    return InvalidError(f"{where}: unknown key {key!r}", hint=hint)


def _items(raw: Mapping[str, Any], section: str) -> tuple[Item, ...]:
    return tuple(_item(entry, where) for entry, where in _entries(raw, section))


def _entries(raw: Mapping[str, Any], section: str) -> list[tuple[dict[str, Any], str]]:
    entries = raw.get(section) or []
    if not isinstance(entries, list):
        raise InvalidError(f"{section}: expected a list")
    found = []
    for number, entry in enumerate(entries):
        where = f"{section}[{number}]"
        if not isinstance(entry, dict):
            raise InvalidError(f"{where}: expected an object")
        name = entry.get("name") or entry.get("path")
        found.append((entry, f'{where} "{name}"' if isinstance(name, str) else where))
    return found


def _item(entry: Mapping[str, Any], where: str) -> Item:
    name, image, restart = entry.get("name"), entry.get("image", ""), entry.get("restart", "no")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidError(f"{where}: a name is made of a-z, 0-9, _ and -")
    if not isinstance(image, str):
        raise InvalidError(f"{where}: image: expected a string")
    if restart is False:  # what YAML makes of a bare `no`
        restart = "no"
    if not isinstance(restart, str) or not _RESTART.fullmatch(restart):
        raise InvalidError(f"{where}: restart: expected no, always, on-failure[:N] or unless-stopped")
    rest = {key: value for key, value in entry.items() if key not in ("name", "image", "restart")}
    options = check_options(rest, where)
    if not image:
        unfit = sorted(set(options) - PLAIN)
        if unfit:
            raise InvalidError(
                f"{where}: {unfit[0]} is for containers, and there is no image",
                hint=f"a plain process has {', '.join(sorted(PLAIN))}",
            )
        if not options.get("command"):
            raise InvalidError(f"{where}: there is neither an image nor a command")
    return Item(name, image, options, restart)


def _volume(entry: Mapping[str, Any], where: str) -> Volume:
    for key, value in entry.items():
        check = _VOLUME_KEYS.get(key)
        if check is None:
            raise _unknown(where, key, _VOLUME_KEYS)
        _check(check, value, f"{where}: {key}")
    if not _VOLUME.fullmatch(entry.get("name", "")):
        raise InvalidError(f"{where}: a name is made of a-z, 0-9, _ and -")
    if entry.get("format", "filesystem") != "filesystem":
        raise InvalidError(f"{where}: format {entry['format']!r} is not supported yet", hint="leave it out")
    return Volume(entry["name"], entry.get("image", ""), entry.get("readonly", False))


def _file(entry: Mapping[str, Any], where: str) -> File:
    for key, value in entry.items():
        check = _FILE_KEYS.get(key)
        if check is None:
            raise _unknown(where, key, _FILE_KEYS)
        _check(check, value, f"{where}: {key}")
    if not entry.get("path"):
        raise InvalidError(f"{where}: there is no path")
    if "metadata" in entry:
        raise InvalidError(f"{where}: metadata is not supported yet")
    kinds = [key for key in ("contents", "source", "symlink") if entry.get(key) is not None] + (
        ["directory"] if entry.get("directory") else []
    )
    if len(kinds) != 1:
        raise InvalidError(f"{where}: expected one of contents, source, symlink and directory")
    default = "0700" if entry.get("directory") else "0600"
    try:
        mode = int(entry.get("mode") or default, 8)
    except ValueError:
        raise InvalidError(f"{where}: mode {entry['mode']!r} is not octal") from None
    known = {key: value for key, value in entry.items() if key not in ("mode", "metadata")}
    return File(**known, mode=mode)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a value has to be, in words and as a question."""

    words: str
    fits: Callable[[Any], bool]
    fields: Mapping[str, _Kind] = field(default_factory=dict)
    """Of an object."""
    each: _Kind | None = None
    """Of a list's entries."""


def _check(kind: _Kind, value: Any, where: str) -> None:
    if not kind.fits(value):
        raise InvalidError(f"{where}: expected {kind.words}")
    if kind.each is not None:
        for number, entry in enumerate(value):
            _check(kind.each, entry, f"{where}[{number}]")
    if kind.fields:
        for key, entry in value.items():
            if key not in kind.fields:
                raise _unknown(where, key, kind.fields)
            _check(kind.fields[key], entry, f"{where}: {key}")


def _list(each: _Kind, words: str) -> _Kind:
    return _Kind(words, lambda value: isinstance(value, list), each=each)


def _object(words: str, **fields: _Kind) -> _Kind:
    return _Kind(words, lambda value: isinstance(value, dict), fields=fields)


_TEXT = _Kind("a string", lambda value: isinstance(value, str))
_TRUTH = _Kind("true or false", lambda value: isinstance(value, bool))
_NUMBER = _Kind("a number", lambda value: isinstance(value, int) and not isinstance(value, bool))
_ID = _Kind("a number or an item's name", lambda value: isinstance(value, int | str) and not isinstance(value, bool))
_TEXTS = _Kind(
    "a list of strings", lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value)
)
_MAP = _Kind(
    "an object of strings",
    lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in (*value, *value.values())),
)
_ANY = _Kind("an object", lambda value: isinstance(value, dict))
_MOUNT = _object("a mount", destination=_TEXT, type=_TEXT, source=_TEXT, options=_TEXTS)
_DEVICE = _object("a device", path=_TEXT, type=_TEXT, major=_NUMBER, minor=_NUMBER, mode=_TEXT)
_MAPPING = _object("a mapping", hostID=_NUMBER, containerID=_NUMBER, size=_NUMBER)
_INTERFACE = _object("an interface", name=_TEXT, add=_TEXT, peer=_TEXT, createInRoot=_TRUTH)
_NAMESPACES = _object(
    "an object of paths", cgroup=_TEXT, ipc=_TEXT, mnt=_TEXT, net=_TEXT, pid=_TEXT, user=_TEXT, uts=_TEXT
)
_RUNTIME = _object(
    "an object",
    cgroups=_TEXTS,
    mounts=_list(_MOUNT, "a list of mounts"),
    mkdir=_TEXTS,
    interfaces=_list(_INTERFACE, "a list of interfaces"),
    bindNS=_NAMESPACES,
    namespace=_TEXT,
)

_OPTIONS: Mapping[str, _Kind] = {
    "capabilities": _TEXTS,
    "capabilities.add": _TEXTS,
    "ambient": _TEXTS,
    "mounts": _list(_MOUNT, "a list of mounts"),
    "binds": _TEXTS,
    "binds.add": _TEXTS,
    "devices": _list(_DEVICE, "a list of devices"),
    "tmpfs": _TEXTS,
    "command": _TEXTS,
    "env": _TEXTS,
    "cwd": _TEXT,
    "net": _TEXT,
    "pid": _TEXT,
    "ipc": _TEXT,
    "uts": _TEXT,
    "userns": _TEXT,
    "readonly": _TRUTH,
    "maskedPaths": _TEXTS,
    "readonlyPaths": _TEXTS,
    "uid": _ID,
    "gid": _ID,
    "additionalGids": _list(_ID, "a list of numbers or names"),
    "noNewPrivileges": _TRUTH,
    "hostname": _TEXT,
    "oomScoreAdj": _NUMBER,
    "rootfsPropagation": _TEXT,
    "cgroupsPath": _TEXT,
    "resources": _ANY,
    "sysctl": _MAP,
    "rlimits": _TEXTS,
    "uidMappings": _list(_MAPPING, "a list of mappings"),
    "gidMappings": _list(_MAPPING, "a list of mappings"),
    "annotations": _MAP,
    "runtime": _RUNTIME,
}
PLAIN = frozenset(("command", "env", "cwd", "uid", "gid", "additionalGids", "runtime"))
"""What a plain process can have."""

_VOLUME_KEYS: Mapping[str, _Kind] = {
    "name": _TEXT,
    "image": _TEXT,
    "readonly": _TRUTH,
    "format": _TEXT,
    "platforms": _TEXTS,
}
_FILE_KEYS: Mapping[str, _Kind] = {
    "path": _TEXT,
    "directory": _TRUTH,
    "symlink": _TEXT,
    "contents": _TEXT,
    "source": _TEXT,
    "metadata": _TEXT,
    "optional": _TRUTH,
    "mode": _TEXT,
    "uid": _ID,
    "gid": _ID,
}
_SECTIONS = ("onboot", "onshutdown", "services", "volumes", "files", *_PASSED_OVER)


def _loader() -> type[Any]:
    """PyYAML's in C, which takes no key twice."""
    import yaml

    base: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                name = self.construct_object(key, deep=True)
                if isinstance(name, str) and name in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(None, None, f"{name!r} is there twice", key.start_mark)
                if isinstance(name, str):
                    seen.add(name)
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            return made

    return Loader
