"""What the builder keeps on disk, as usage records: solver records with their layers, cache mounts, git mirrors,
downloads.

Types and field names are BuildKit's (`Control.DiskUsage`). A layer that several records stand on counts for the oldest
of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.results import chain_of
from boatyard.build.solver.cache import Records
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.store import LayerStore

REGULAR, CACHE_MOUNT, GIT, LOCAL = "regular", "exec.cachemount", "source.git.checkout", "source.local"


@dataclass(frozen=True, slots=True)
class Usage:
    """Times are seconds since the epoch, `size` bytes. `shared`: an image holds its layers too, so that removing the
    record frees nothing yet."""

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
    ) -> None:
        self._records = records
        self._layers = layers
        self._cache_mounts = cache_mounts
        self._directory = directory
        self._live_results = live_results
        self._image_layers = image_layers

    def rows(self, filters: Sequence[str] = ()) -> list[Usage]:
        wanted = matcher(filters)
        return [row for row in (*self._recorded(), *self._mounts(), *self._kept_sources()) if wanted(row)]

    def _recorded(self) -> Iterator[Usage]:
        sizes = {layer.id: layer.usage or 0 for layer in self._layers.walk()}
        live = set(self._live_results())
        held = set(self._image_layers())
        counted: set[LayerId] = set()
        records = sorted(self._records.walk(), key=lambda record: record.created)
        by_key = {record.key: record.id for record in records}
        for record in records:
            layers = {layer for result in record.results for layer in chain_of(result)} - counted
            counted |= layers
            yield Usage(
                id=record.id,
                type=record.kind,
                size=sum(sizes.get(layer, 0) for layer in layers),
                created=record.created,
                used=record.used,
                uses=record.uses,
                description=record.name,
                in_use=any(result in live for result in record.results),
                shared=bool(layers & held),
                parents=tuple(by_key[key] for key in record.inputs if key in by_key),
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
        """Git mirrors, downloads and stat caches: files of the sources' own, by directory."""
        for name, type, what in (
            ("git", GIT, "git repository"),
            ("http", LOCAL, "download"),
            ("local", LOCAL, "stat cache"),
        ):
            parent = self._directory / name
            for path in sorted(parent.iterdir()) if parent.is_dir() else ():
                status = path.stat()
                yield Usage(
                    id=f"{name}-{path.name}",
                    type=type,
                    size=disk_usage(path),
                    created=status.st_ctime,
                    used=status.st_mtime,
                    uses=0,
                    description=f"{what} {path.name}",
                )

    def source_path(self, row: Usage) -> Path:
        """Where a git mirror, download or stat cache lies."""
        name, _, rest = row.id.partition("-")
        return self._directory / name / rest


def disk_usage(path: Path) -> int:
    """Bytes on disk below a path; hard links count once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    stack = [str(path)]
    while stack:
        current = stack.pop()
        try:
            status = os.lstat(current)
            if status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
            if os.path.isdir(current) and not os.path.islink(current):
                stack.extend(entry.path for entry in os.scandir(current))
        except FileNotFoundError:
            continue  # it was removed meanwhile
    return total


_TERM = re.compile(r"\s*(?P<field>[a-z]+)\s*(?:(?P<operator>==|!=|~=|=)\s*(?P<value>.*?))?\s*")
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


def matcher(filters: Sequence[str]) -> Callable[[Usage], bool]:
    """Filters as containerd writes them: `FIELD`, `FIELD==VALUE`, `!=`, `~=REGEX`; a comma is "and", several filters
    are "or"."""
    alternatives = [[_term(term) for term in text.split(",")] for text in filters]
    if not alternatives:
        return lambda row: True
    return lambda row: any(all(term(row) for term in terms) for terms in alternatives)


def _term(text: str) -> Callable[[Usage], bool]:
    match = _TERM.fullmatch(text)
    if not match or match["field"] not in _FIELDS:
        raise InvalidError(f"invalid filter {text!r}", hint=f"fields: {', '.join(_FIELDS)}; operators: ==, !=, ~=")
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


def _values(value: str | Sequence[str] | bool) -> Sequence[str]:
    if isinstance(value, bool):
        return ("true",) if value else ("false",)
    return (value,) if isinstance(value, str) else value


def by_id(rows: Sequence[Usage], id: str) -> Usage:
    for row in rows:
        if row.id == id:
            return row
    raise NotFoundError(f"no usage record {id!r}", hint="`boat builder du` lists them")
