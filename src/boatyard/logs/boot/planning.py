"""From a definition to a plan: every question that can be asked before anything runs is asked here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boatyard.errors import InvalidError, StorageError
from boatyard.logs.boot import configuration
from boatyard.logs.boot.bundle import Bundle, Plan, Volume, source_name
from boatyard.logs.boot.configuration import ImageFacts
from boatyard.logs.boot.document import Definition, File, Item

_FIRST_ID = 100


def plan(
    definition: Definition, directory: Path, facts: Callable[[str], ImageFacts], available: frozenset[str]
) -> Plan:
    """`directory`: where volumes lie. `facts` of an image, by its name. `available`: capabilities there are to
    give."""
    ids = numbers(definition)
    volumes = tuple(
        Volume(each.name, str(directory / "volumes" / each.name), each.image, each.readonly)
        for each in definition.volumes
    )
    places = {each.name: f"{each.path}/merged" for each in volumes}
    readonly = frozenset(each.name for each in volumes if each.readonly)
    warnings: list[str] = []

    def made(section: str, items: tuple[Item, ...]) -> tuple[Bundle, ...]:
        bundles = []
        for index, item in enumerate(items):
            label = item.name if section == "services" else f"{index:03d}-{item.name}"
            name = source_name(section, label)
            if not item.image:
                bundles.append(_plain(item, label, name, ids))
                continue
            options = configuration.merged(item, facts(item.image))
            config, said = configuration.configuration(
                f'{section} "{item.name}"',
                options,
                ids=ids,
                volumes=places,
                readonly_volumes=readonly,
                available=available,
            )
            warnings.extend(said)
            bundles.append(
                Bundle(
                    label,
                    name,
                    config=config,
                    runtime=options["runtime"],
                    restart=item.restart if section == "services" else "no",
                    image=item.image,
                )
            )
        return tuple(bundles)

    return Plan(
        made("onboot", definition.onboot),
        made("services", definition.services),
        made("onshutdown", definition.onshutdown),
        volumes,
        tuple(warnings),
    )


def numbers(definition: Definition) -> dict[str, int]:
    """A number for each item, which it may use as its user's: LinuxKit's, in its order."""
    items = (*definition.onboot, *definition.onshutdown, *definition.services)
    return {item.name: _FIRST_ID + index for index, item in enumerate(items)}


def write_files(definition: Definition, root: Path, sources: Path) -> list[str]:
    """The section `files`, below `root`; a relative `source` is below `sources`. What was written. Paths can't leave
    `root`."""
    ids = numbers(definition)
    written = []
    for file in definition.files:
        path = Path(os.path.normpath("/" + file.path.lstrip("/"))).relative_to("/")
        target = root / path
        if not _write_file(file, target, sources, root):
            continue
        if not file.symlink:
            os.chmod(target, file.mode)
        os.chown(target, _id(file, file.uid, ids), _id(file, file.gid, ids), follow_symlinks=False)
        written.append(f"/{path}")
    return written


def _write_file(file: File, target: Path, sources: Path, root: Path) -> bool:
    try:
        if os.path.commonpath([target.parent.resolve(), root.resolve()]) != str(root.resolve()):
            raise InvalidError(f"{file.path} leads out of {root} through a link")
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.directory:
            target.mkdir(exist_ok=True)
        elif file.symlink:
            target.unlink(missing_ok=True)
            target.symlink_to(file.symlink)
        elif file.contents is not None:
            target.write_text(file.contents)
        else:
            source = sources / Path(file.source).expanduser()
            if file.optional and not source.exists():
                return False
            target.write_bytes(source.read_bytes())
    except OSError as error:
        raise StorageError(f"{file.path} can't be written: {error.strerror or error}") from error
    return True


def _id(file: File, id: int | str, ids: Mapping[str, int]) -> int:
    if isinstance(id, int):
        return id
    if id in ("", "root"):
        return 0
    if id not in ids:
        raise InvalidError(f"{file.path}: there is no item {id!r} whose number could be used")
    return ids[id]


def _plain(item: Item, label: str, name: str, ids: Mapping[str, int]) -> Bundle:
    plain: dict[str, Any] = {
        "command": item.options["command"],
        "env": item.options.get("env", []),
        "cwd": item.options.get("cwd", "/"),
    }
    for key in ("uid", "gid"):
        value = item.options.get(key, 0)
        if isinstance(value, str):
            if value not in ids and value not in ("", "root"):
                raise InvalidError(f"{label}: there is no item {value!r} whose number could be used")
            value = ids.get(value, 0)
        plain[key] = value
    plain["groups"] = [
        each if isinstance(each, int) else ids.get(each, 0) for each in item.options.get("additionalGids", [])
    ]
    return Bundle(label, name, plain=plain, runtime=item.options.get("runtime", {}), restart=item.restart)
