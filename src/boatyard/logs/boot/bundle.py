"""Bundles: what is run, ready to be run. Made from a definition, or LinuxKit's, as they lie in an image of a
machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boatyard.errors import InvalidError

SECTIONS = ("onboot", "services", "onshutdown")


@dataclass(frozen=True, slots=True)
class Bundle:
    """`label` is what it is called in its section (LinuxKit numbers what runs in order: `000-sysctl`), `source` its
    name at memlogd. `config` is config.json; empty for a plain process, which `plain` describes. `image` names the
    chain of layers that its root is made of; without one the root is `root`."""

    label: str
    source: str
    config: Mapping[str, Any] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)
    restart: str = "no"
    image: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that containers share, at `path`/merged. `image`: what is in it at first."""

    name: str
    path: str
    image: str = ""
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a boot does."""

    onboot: tuple[Bundle, ...] = ()
    services: tuple[Bundle, ...] = ()
    onshutdown: tuple[Bundle, ...] = ()
    volumes: tuple[Volume, ...] = ()
    warnings: tuple[str, ...] = ()


def source_name(section: str, label: str) -> str:
    """As LinuxKit names them."""
    prefix = {"onboot": "onboot.", "onshutdown": "shutdown.", "services": ""}[section]
    return prefix + label


def read_linuxkit(directory: Path) -> Plan:
    """The bundles below a machine's /containers. NotFoundError or InvalidError."""
    found: dict[str, tuple[Bundle, ...]] = {}
    for section in SECTIONS:
        place = directory / section
        found[section] = (
            tuple(_bundle(path, section) for path in sorted(place.iterdir()) if path.is_dir()) if place.is_dir() else ()
        )
    if not any(found.values()):
        raise InvalidError(
            f"there is nothing to run in {directory}",
            hint="it should have directories onboot, services and onshutdown with bundles in them",
        )
    return Plan(found["onboot"], found["services"], found["onshutdown"])


def _bundle(path: Path, section: str) -> Bundle:
    config = _json(path / "config.json")
    if not config:
        raise InvalidError(f"{path} is no bundle: it has no config.json")
    return Bundle(
        label=path.name,
        source=source_name(section, path.name),
        config=config,
        runtime=_json(path / "runtime.json"),
        root=str(path / "rootfs"),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"{path} can't be read: {error}") from error
    if not isinstance(document, dict):
        raise InvalidError(f"{path} is no object")
    return document
