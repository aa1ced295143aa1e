"""Cache mounts: directories that outlive the steps that fill them (`RUN --mount=type=cache`).

Each has a directory `cache-mounts/KEY/` with `data/` (what is mounted) and `about.json`. KEY is derived from the id, so
that any id is a safe name; the second and later private copies get a number behind it. The index is the directory
itself: nothing else has to agree with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from boatyard.build.llb.graph import CacheSharing
from boatyard.errors import ConflictError, NotFoundError


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
    """One per daemon. Not thread-safe: used from the event loop."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._users: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        root.mkdir(parents=True, exist_ok=True)

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
        if sharing is CacheSharing.LOCKED:
            async with self._locks.setdefault(key, asyncio.Lock()):
                async with self._use(key, id, sharing, fill) as directory:
                    yield directory
            return
        if sharing is CacheSharing.PRIVATE:
            number = 1
            while self._users.get(key):
                number += 1
                key = f"{_key(id)}-{number}"
        async with self._use(key, id, sharing, fill) as directory:
            yield directory

    @asynccontextmanager
    async def _use(
        self, name: str, id: str, sharing: CacheSharing, fill: Callable[[Path], None] | None
    ) -> AsyncIterator[Path]:
        self._users[name] = self._users.get(name, 0) + 1
        try:
            async with self._locks.setdefault(f"making {name}", asyncio.Lock()):
                info = self._info(name)
                if info is None:
                    info = CacheMountInfo(id=id, sharing=sharing.name.lower(), created=self._clock(), used=0)
                    await asyncio.to_thread(self._make, name, fill)
                self._write(name, msgspec.structs.replace(info, used=self._clock(), uses=info.uses + 1))
            yield self._root / name / "data"
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]

    def _make(self, name: str, fill: Callable[[Path], None] | None) -> None:
        directory = self._root / name
        shutil.rmtree(directory, ignore_errors=True)  # half made when the daemon was killed
        data = directory / "data"
        data.mkdir(parents=True)
        data.chmod(0o755)
        if fill:
            fill(data)

    @asynccontextmanager
    async def exclusively(self, id: str, *, create: bool = False) -> AsyncIterator[Path]:
        """The directory of a cache mount for as long as no step uses it: ConflictError when one does. NotFoundError
        unless `create`."""
        if not create:
            self.get(id)
        if self._users.get(_key(id)):
            raise ConflictError(
                f"cache mount {id!r} is used by a running step", hint="wait for the build, or cancel it"
            )
        async with self.acquire(id, CacheSharing.LOCKED) as directory:
            yield directory

    def walk(self) -> Iterator[CacheMount]:
        for directory in sorted(self._root.iterdir()):
            if info := self._info(directory.name):
                yield CacheMount(directory.name, info, directory / "data", bool(self._users.get(directory.name)))

    def get(self, name: str) -> CacheMount:
        """By id or by directory name."""
        for mount in self.walk():
            if name == mount.name or _normal(name) == _normal(mount.info.id):
                return mount
        known = ", ".join(mount.info.id for mount in self.walk())
        raise NotFoundError(f"no cache mount {name!r}", hint=f"there are: {known}" if known else "none was made yet")

    def remove(self, name: str) -> None:
        mount = self.get(name)
        if mount.in_use:
            raise ConflictError(
                f"cache mount {name!r} is used by a running step", hint="wait for the build, or cancel it"
            )
        # Unlisted first: a crash in between leaves a directory that the next user makes afresh.
        (self._root / mount.name / "about.json").unlink()
        shutil.rmtree(self._root / mount.name, ignore_errors=True)

    def _info(self, name: str) -> CacheMountInfo | None:
        try:
            return msgspec.json.decode((self._root / name / "about.json").read_bytes(), type=CacheMountInfo)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    def _write(self, name: str, info: CacheMountInfo) -> None:
        path = self._root / name / "about.json"
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(info))
        os.replace(temporary, path)


def _normal(id: str) -> str:
    """Frontends put ids below a namespace's path, people name them without."""
    return "/" + id.lstrip("/")


def _key(id: str) -> str:
    return hashlib.sha256(_normal(id).encode(errors="surrogateescape")).hexdigest()[:32]
