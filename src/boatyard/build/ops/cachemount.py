"""Cache mounts: directories that outlive the steps that fill them (`RUN --mount=type=cache`).

Each has a directory `cache-mounts/KEY/` with `data/` (what is mounted) and `about.json`. KEY is derived from the id, so
that any id is a safe name; the second and later private copies get a number behind it. The index is the directory
itself: nothing else has to agree with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec

from boatyard.build.llb.graph import CacheSharing
from boatyard.build.source.occupancy import TRASH, Occupancy, drop_leftovers
from boatyard.errors import ConflictError, NotFoundError
from boatyard.image.interruption import run_settled
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.disk import storage_error


class CacheMountInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`about.json`. Times are seconds since the epoch."""

    id: str
    sharing: str
    created: float
    used: float
    uses: int = 0


@dataclass(frozen=True, slots=True)
class CacheMount:
    name: str
    """The directory's name, unique where ids of private copies aren't."""
    info: CacheMountInfo
    directory: Path
    in_use: bool


class CacheMounts:
    """One per daemon. `acquire` and `exclusively` are for its event loop, the rest for any thread."""

    def __init__(
        self, root: Path, *, clock: Callable[[], float] = time.time, occupancy: Occupancy | None = None
    ) -> None:
        self._root = root
        self._clock = clock
        self._occupancy = occupancy or Occupancy()
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed: dict[str, asyncio.Event] = {}
        """Those that somebody has for himself; the events are set when he leaves."""
        root.mkdir(parents=True, exist_ok=True)

    def cleanup(self) -> None:
        """At start: delete what was half made or half removed when an earlier process ended. Blocks."""
        drop_leftovers(self._root)
        for directory in self._root.iterdir():
            if self._info(directory.name) is None:
                self._occupancy.remove(directory)

    @asynccontextmanager
    async def acquire(
        self, id: str, sharing: CacheSharing, fill: Callable[[Path], None] | None = None
    ) -> AsyncIterator[Path]:
        """The directory of a cache mount while a step runs.

        Shared: any number of steps at once. Locked: one step after the other. Private: a copy of its own (empty at
        first) while another step uses it. `fill` is called in a thread with a new, empty directory to put initial
        content there.
        """
        key = _key(id)
        if sharing is CacheSharing.PRIVATE:
            number = 1
            while self._in_use(key) or key in self._closed:
                number += 1
                key = f"{_key(id)}-{number}"
        turn = self._locks.setdefault(key, asyncio.Lock()) if sharing is CacheSharing.LOCKED else nullcontext()
        async with turn:
            while closed := self._closed.get(key):
                await closed.wait()
            async with self._use(key, id, sharing, fill) as directory:
                yield directory

    @asynccontextmanager
    async def _use(
        self, name: str, id: str, sharing: CacheSharing, fill: Callable[[Path], None] | None = None
    ) -> AsyncIterator[Path]:
        with self._occupancy.using(self._root / name):
            async with self._locks.setdefault(f"making {name}", asyncio.Lock()):
                info = self._info(name)
                if info is None:
                    info = CacheMountInfo(id=id, sharing="", created=self._clock(), used=0)
                    await run_settled(self._make, name, fill)
                uses = info.uses + 1
                used = {"used": self._clock(), "uses": uses, "sharing": sharing.name.lower()}
                self._write(name, msgspec.structs.replace(info, **used))
            yield self._root / name / "data"

    def _make(self, name: str, fill: Callable[[Path], None] | None) -> None:
        directory = self._root / name
        try:
            remove_tree(str(directory))  # half made before
            data = directory / "data"
            data.mkdir(parents=True)
            data.chmod(0o755)
            if fill:
                fill(data)
        except BaseException as error:
            remove_tree(str(directory))
            if isinstance(error, OSError):
                raise storage_error(error, "can't make a cache mount") from error
            raise

    @asynccontextmanager
    async def exclusively(self, id: str, *, create: bool = False) -> AsyncIterator[Path]:
        """The directory of a cache mount, by id or directory name, while no step uses it: ConflictError when one does;
        those that come later wait. NotFoundError unless `create`."""
        try:
            name = self.get(id).name
        except NotFoundError:
            if not create:
                raise
            name = _key(id)
        if self._in_use(name) or name in self._closed:
            raise ConflictError(f"cache mount {id!r} is in use", hint="wait for the build, or cancel it")
        closed = self._closed[name] = asyncio.Event()
        try:
            async with self._use(name, id, CacheSharing.SHARED) as directory:
                yield directory
        finally:
            del self._closed[name]
            closed.set()

    def walk(self) -> Iterator[CacheMount]:
        for directory in sorted(self._root.iterdir()):
            if not directory.name.startswith(TRASH) and (info := self._info(directory.name)):
                yield CacheMount(directory.name, info, directory / "data", self._in_use(directory.name))

    def get(self, name: str) -> CacheMount:
        """By id or by directory name."""
        known = list(self.walk())
        for mount in known:
            if name == mount.name or _normal(name) == _normal(mount.info.id):
                return mount
        ids = ", ".join(dict.fromkeys(mount.info.id for mount in known))
        raise NotFoundError(f"no cache mount {name!r}", hint=f"there are: {ids}" if ids else "none was made yet")

    def remove(self, name: str) -> None:
        """By id or by directory name. ConflictError while a step uses it. Blocks."""
        mount = self.get(name)
        try:
            self._occupancy.remove(self._root / mount.name)
        except ConflictError as error:
            raise ConflictError(f"cache mount {name!r} is in use", hint="wait for the build, or cancel it") from error

    def _in_use(self, name: str) -> bool:
        return self._occupancy.in_use(self._root / name)

    def _info(self, name: str) -> CacheMountInfo | None:
        try:
            return msgspec.json.decode((self._root / name / "about.json").read_bytes(), type=CacheMountInfo)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    def _write(self, name: str, info: CacheMountInfo) -> None:
        path = self._root / name / "about.json"
        temporary = path.with_suffix(".new")
        try:
            temporary.write_bytes(msgspec.json.encode(info))
            os.replace(temporary, path)
        except OSError as error:
            raise storage_error(error, f"can't note the use of cache mount {info.id!r}") from error


def _normal(id: str) -> str:
    """Frontends put ids below a namespace's path, people name them without."""
    return "/" + id.lstrip("/")


def _key(id: str) -> str:
    return hashlib.sha256(_normal(id).encode(errors="surrogateescape")).hexdigest()[:32]
