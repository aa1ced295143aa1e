"""What the builder keeps on disk, as usage records: solver records with their layers, cache mounts, git mirrors,
downloads.

Types and field names are BuildKit's (`Control.DiskUsage`). A record counts the layers that its own step made, not those
it found below; each layer counts once, for the oldest record that has it.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.results import chain_of
from boatyard.build.solver.cache import Record, Records
from boatyard.build.source.occupancy import TRASH, Occupancy
from boatyard.errors import InvalidError
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.store import LayerStore

REGULAR, CACHE_MOUNT, GIT, LOCAL = "regular", "exec.cachemount", "source.git.checkout", "source.local"


@dataclass(frozen=True, slots=True)
class Usage:
    """Times are seconds since the epoch, `size` bytes. `shared`: images hold its layers too, so that removing the
    record frees nothing yet. `path`: where a source's files lie."""

    id: str
    type: str
    size: int
    created: float
    used: float
    uses: int
    description: str
    in_use: bool = False
    shared: bool = False
    mutable: bool = False
    parents: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def last_used(self) -> float:
        return max(self.used, self.created)


class UsageList:
    """Reads the stores; one per daemon. `image_layers` gives the layers that images hold. Blocks."""

    def __init__(
        self,
        records: Records,
        layers: LayerStore,
        cache_mounts: CacheMounts,
        directory: Path,
        live_results: Callable[[], Iterable[str]],
        image_layers: Callable[[], Iterable[LayerId]],
        *,
        occupancy: Occupancy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._layers = layers
        self._cache_mounts = cache_mounts
        self._directory = directory
        self._live_results = live_results
        self._image_layers = image_layers
        self._occupancy = occupancy or Occupancy()
        self._clock = clock

    def rows(self, filters: Sequence[str] = ()) -> list[Usage]:
        """All that match one of the filters; without filters, all."""
        wanted = matcher(filters, self._clock())
        return [row for row in (*self._recorded(), *self._mounts(), *self._kept_sources()) if wanted(row)]

    def _recorded(self) -> Iterator[Usage]:
        sizes = {layer.id: layer.usage or 0 for layer in self._layers.walk()}
        held = set(self._image_layers())
        counted: set[LayerId] = set()
        records = sorted(self._records.walk(), key=lambda record: record.created)
        live = set(self._live_results())  # after the records: one that was made meanwhile is in use
        by_key = {record.key: record for record in records}
        for record in records:
            below = [by_key[key] for key in _keys(record) if key in by_key]
            own = _layers(record)[-1:] if record.inputs and not below else _layers(record)
            made = set(own).difference(*map(_layers, below))
            size = sum(sizes.get(layer, 0) for layer in made - counted)
            counted |= made
            yield Usage(
                id=record.id,
                type=record.kind,
                size=size,
                created=record.created,
                used=record.used,
                uses=record.uses,
                description=record.name,
                in_use=any(result in live for result in record.results),
                shared=bool(made) and made <= held,
                parents=tuple(parent.id for parent in below),
            )

    def _mounts(self) -> Iterator[Usage]:
        for mount in self._cache_mounts.walk():
            yield Usage(
                id=mount.name,
                type=CACHE_MOUNT,
                size=disk_usage(mount.directory),
                created=mount.info.created,
                used=mount.info.used,
                uses=mount.info.uses,
                description=f"cache mount {mount.info.id}",
                in_use=mount.in_use,
                mutable=True,
            )

    def _kept_sources(self) -> Iterator[Usage]:
        """Git mirrors, downloads, clients' directories and what is remembered of contexts: files of the sources'
        own."""
        for name, type, what in (
            ("git", GIT, "git repository"),
            ("http", LOCAL, "download"),
            ("local/indexes", LOCAL, "stat cache"),
            ("local/copies", LOCAL, "notes of a copy"),
            ("local/mirrors", LOCAL, "copy of a client's directory"),
        ):
            parent = self._directory / name
            for path in sorted(parent.iterdir()) if parent.is_dir() else ():
                if path.name.startswith(TRASH):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # it was removed meanwhile
                yield Usage(
                    id=f"{name.replace('/', '-')}-{path.name}",
                    type=type,
                    size=disk_usage(path),
                    created=status.st_mtime,
                    used=status.st_mtime,
                    uses=0,
                    description=f"{what} {path.name}",
                    in_use=self._occupancy.in_use(path),
                    path=path,
                )


def _keys(record: Record) -> list[str]:
    """Those of the records below: inputs are output keys, `KEY` or `KEY.INDEX`."""
    return list(dict.fromkeys(key.partition(".")[0] for key in record.inputs if key))


def _layers(record: Record) -> tuple[LayerId, ...]:
    return tuple(layer for result in record.results for layer in chain_of(result))


def disk_usage(path: Path) -> int:
    """Bytes on disk of a file, or of everything below a directory; hard links count once. What goes meanwhile doesn't
    count."""
    linked: set[tuple[int, int]] = set()
    total = 0
    stack = [os.fspath(path)]
    while stack:
        current = stack.pop()
        try:
            status = os.lstat(current)
            if stat.S_ISDIR(status.st_mode):
                stack.extend(entry.path for entry in os.scandir(current))
        except (FileNotFoundError, NotADirectoryError):
            continue
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in linked:
                continue
            linked.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512
    return total


_TERM = re.compile(r"\s*(?P<field>[a-z-]+)\s*(?:(?P<operator>==|!=|~=|=)\s*(?P<value>.*?))?\s*")
_FIELDS: dict[str, Callable[[Usage], str | Sequence[str] | bool]] = {
    "id": lambda row: row.id,
    "parents": lambda row: row.parents,
    "description": lambda row: row.description,
    "inuse": lambda row: row.in_use,
    "mutable": lambda row: row.mutable,
    "immutable": lambda row: not row.mutable,
    "type": lambda row: row.type,
    "shared": lambda row: row.shared,
    "private": lambda row: not row.shared,
}


_AGES = ("until", "unused-for")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def matcher(filters: Sequence[str], now: float) -> Callable[[Usage], bool]:
    """Filters as containerd writes them: `FIELD`, `FIELD==VALUE`, `!=`, `~=REGEX`; and `unused-for=48h`, which is
    `until` in Docker's words. A comma is "and", several filters are "or"; an empty one is for all."""
    alternatives = [[_term(term, now) for term in text.split(",") if text] for text in filters]
    if not alternatives:
        return lambda row: True
    return lambda row: any(all(term(row) for term in terms) for terms in alternatives)


def _term(text: str, now: float) -> Callable[[Usage], bool]:
    match = _TERM.fullmatch(text)
    if match and match["field"] in _AGES and match["operator"] in ("=", "=="):
        age = _duration(match["value"])
        return lambda row: now - row.last_used >= age
    if not match or match["field"] not in _FIELDS:
        raise InvalidError(
            f"invalid filter {text!r}",
            hint=f"fields: {', '.join((*_FIELDS, *_AGES))}; operators: ==, !=, ~=",
        )
    get, operator, wanted = _FIELDS[match["field"]], match["operator"], (match["value"] or "").strip('"')
    if operator is None:
        return lambda row: bool(get(row))
    if operator == "~=":
        try:
            pattern = re.compile(wanted)
        except re.error as error:
            raise InvalidError(f"invalid pattern {wanted!r} in a filter: {error}") from error
        return lambda row: any(pattern.search(value) for value in _values(get(row)))
    return lambda row: (wanted in _values(get(row))) == (operator != "!=")


def _duration(text: str) -> float:
    """Seconds of `48h`, `1h30m`, `7d`; a number alone is seconds."""
    parts = _PART.findall(text)
    if parts and not _PART.sub("", text):
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if text.isdecimal():
        return float(text)
    raise InvalidError(f"invalid duration {text!r} in a filter", hint="write it like 48h, 1h30m or 7d")


def _values(value: str | Sequence[str] | bool) -> Sequence[str]:
    if isinstance(value, bool):
        return ("true",) if value else ("false",)
    return (value,) if isinstance(value, str) else value
