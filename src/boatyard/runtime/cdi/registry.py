"""The devices of this host: those in the specification files of some directories, found again whenever they are needed.

A device in a later directory stands before one of its name in an earlier one; two of one name in the same directory are
both left out. What is wrong with a file is remembered as a problem, and the other files count.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boatyard.errors import BoatyardError, NotFoundError
from boatyard.runtime.edits import Edits, joined

if TYPE_CHECKING:
    from boatyard.runtime.cdi.document import Spec, SpecDevice

log = logging.getLogger(__name__)

DIRECTORIES = ("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi")
MAX_BYTES = 4 << 20
"""Of a file."""
_CLASS = "org.mobyproject.buildkit.device.class"
_AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow"
_SUFFIXES = (".json", ".yaml", ".yml")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is qualified. `auto_allow`: builds may use it without being allowed to."""

    name: str
    annotations: Mapping[str, str]
    auto_allow: bool


@dataclass(frozen=True, slots=True)
class _Known:
    device: SpecDevice
    spec: Spec


class Registry:
    """One per daemon. Blocks on the disk, shortly; thread-safe as far as its values are: they are replaced as a
    whole."""

    def __init__(self, directories: Sequence[str] = DIRECTORIES, auto_allowed: Sequence[str] = ()) -> None:
        """`auto_allowed` are devices or kinds of them, beside those that say so themselves."""
        self._directories = tuple(directories)
        self._auto_allowed = frozenset(auto_allowed)
        self._files: dict[str, tuple[tuple[int, ...], Spec | BoatyardError]] = {}
        self._known: dict[str, _Known] = {}
        self._problems: tuple[str, ...] = ()

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the files, as of the last look."""
        return self._problems

    def devices(self) -> list[Device]:
        """All, by name."""
        known = self._look()
        return [self._device(known[name].device) for name in sorted(known)]

    def find(self, wanted: str) -> list[Device]:
        """The devices that a name means: one by its qualified name, `KIND` the first of a kind, `KIND=*` all of them,
        any other word a class that devices say they belong to."""
        known = self._look()
        return [self._device(known[name].device) for name in _matching(wanted, known)]

    def edits(self, names: Sequence[str]) -> Edits:
        """What containers with these devices (qualified names) need. NotFoundError."""
        known = self._look()
        parts: list[Edits] = []
        seen: set[str] = set()
        for name in dict.fromkeys(names):
            found = known.get(name)
            if found is None:
                raise NotFoundError(f"the device {name} is not there any more", hint="`boat daemon status` lists them")
            if found.spec.path not in seen:
                seen.add(found.spec.path)
                parts.append(found.spec.edits)
            parts.append(found.device.edits)
        return joined(parts)

    def _device(self, device: SpecDevice) -> Device:
        kind = device.name.partition("=")[0]
        said = device.annotations.get(_AUTO_ALLOW) in _TRUE
        return Device(device.name, device.annotations, said or not self._auto_allowed.isdisjoint((device.name, kind)))

    def _look(self) -> dict[str, _Known]:
        files: dict[str, tuple[tuple[int, ...], Spec | BoatyardError]] = {}
        places: dict[str, tuple[int, _Known]] = {}
        conflicts: set[str] = set()
        problems: list[str] = []
        for priority, path, signature in self._paths():
            before = self._files.get(path)
            spec = before[1] if before is not None and before[0] == signature else _read(path)
            files[path] = (signature, spec)
            if isinstance(spec, BoatyardError):
                problems.append(f"{spec.message}{f' ({spec.hint})' if spec.hint else ''}")
                continue
            for device in spec.devices:
                other = places.get(device.name)
                conflicts.discard(device.name)
                if other is not None and other[0] == priority:
                    conflicts.add(device.name)
                    problems.append(f"the device {device.name} is in both {other[1].spec.path} and {spec.path}")
                places[device.name] = (priority, _Known(device, spec))
        self._files = files
        self._known = {name: known for name, (_, known) in places.items() if name not in conflicts}
        if tuple(problems) != self._problems:
            for problem in problems:
                log.warning("devices: %s", problem)
            self._problems = tuple(problems)
        return self._known

    def _paths(self) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        """Files by the priority of their directories, with what changes when they do."""
        for priority, directory in enumerate(self._directories):
            try:
                names = sorted(os.listdir(directory))
            except OSError:
                continue  # there need be none
            for name in names:
                path = os.path.join(directory, name)
                if not name.endswith(_SUFFIXES):
                    continue
                try:
                    status = os.stat(path)
                except OSError:
                    continue  # removed meanwhile
                yield priority, path, (status.st_ino, status.st_size, status.st_mtime_ns)


def _read(path: str) -> Spec | BoatyardError:
    from boatyard.runtime.cdi.document import parse  # most hosts have no such files

    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES)
        return parse(data, path)
    except OSError as error:
        return NotFoundError(f"{path} can't be read: {error.strerror}")
    except BoatyardError as error:
        return error


def _matching(wanted: str, known: Mapping[str, _Known]) -> list[str]:
    kind, _, name = wanted.partition("=")
    names = sorted(known)
    of_kind = [each for each in names if each.startswith(f"{kind}=")] if all(kind.partition("/")[::2]) else []
    if not name:
        of_kind = of_kind[:1]
    elif name != "*":
        of_kind = [each for each in of_kind if each == wanted]
    return of_kind or [each for each in names if known[each].device.annotations.get(_CLASS) == wanted]
