"""The context of a build that comes as an archive: unpacked into a private directory, and gone with the build.

A client that was given a Dockerfile from elsewhere puts it into the archive under a random name, and that name into the
ignore file. Both are undone: with them, an unchanged context would be another one each time.

Nothing of the archive reaches anything outside the directory, whatever it says (`image.layer.apply`). Owners are not
taken over: what a client says of them is true there only. Device nodes are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from boatyard.build.requester import WHOLE, ClientDirectory, OutputTarget, Progress, Wanted
from boatyard.errors import InvalidError, LayerError, NotFoundError
from boatyard.image.digest import Digest
from boatyard.image.interruption import Stop, run_interruptible, run_settled
from boatyard.image.layer.apply import Limits, apply
from boatyard.image.layer.compression import open_decompressed
from boatyard.image.platform import Platform
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.disk import storage_error
from boatyard.registry.credential import Credential

LIMITS = Limits(bytes=1 << 38, entries=4_000_000)
"""More is no build context. The disk is full before that, most likely, and says so."""
_STRANGE_NAME = re.compile(r"\.dockerfile\.[0-9a-f]{16,}")
_IGNORE_FILE = ".dockerignore"
_DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Context:
    """Directories by the names under which the frontend knows them, and the Dockerfile's name in its own."""

    directories: Mapping[str, Path]
    filename: str


@asynccontextmanager
async def unpacked(archive: int, scratch: Path, filename: str) -> AsyncIterator[Context]:
    """In a new directory in `scratch`, with what the archive (read from a pipe) holds. InvalidError when it is damaged
    or hostile."""
    directory = scratch / f"context-{os.urandom(8).hex()}"
    try:
        yield await run_interruptible(lambda stop: _unpacked(archive, directory, filename, stop))
    finally:
        # Whatever happens, the directory goes, and only when nobody works in it.
        await run_settled(_remove, directory)


def _unpacked(archive: int, directory: Path, filename: str, stop: Stop) -> Context:
    files, aside = directory / "files", directory / "dockerfile"
    try:
        directory.mkdir(mode=0o700)
        files.mkdir()
        _unpack(archive, files, stop)
        if _STRANGE_NAME.fullmatch(filename) and _is_file(files / filename):
            aside.mkdir()
            (files / filename).rename(aside / _DOCKERFILE)
            _forget(filename, files / _IGNORE_FILE)
            return Context({"context": files, "dockerfile": aside}, _DOCKERFILE)
    except OSError as error:
        raise storage_error(error, f"can't unpack the build context in {directory}") from error
    return Context({"context": files, "dockerfile": files}, filename)


def _forget(name: str, ignore_file: Path) -> None:
    """Take the name out of the ignore file. If the client made that, too, it goes."""
    if not _is_file(ignore_file):
        return
    status, data = ignore_file.stat(), ignore_file.read_bytes()
    rest = data.removesuffix(b"\n").removesuffix(name.encode()).removesuffix(b"\n")
    if rest == _IGNORE_FILE.encode():
        ignore_file.unlink()
        return
    ignore_file.write_bytes(rest)
    os.utime(ignore_file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _is_file(path: Path) -> bool:
    """A link could lead anywhere."""
    return path.is_file() and not path.is_symlink()


def _unpack(archive: int, directory: Path, stop: Stop) -> None:
    with open(archive, "rb", closefd=False) as file:
        try:
            stream = _Stoppable(open_decompressed(cast(BinaryIO, file)), stop)
            apply(
                stream,
                directory,
                whiteouts=False,
                devices=False,
                owner=(os.geteuid(), os.getegid()),
                limits=LIMITS,
                # Docker's command ends archives so that it added a Dockerfile to.
                open_end=True,
            )
        except LayerError as error:
            raise InvalidError(f"the build context is not a usable tar archive: {error.message}") from error


class _Stoppable:
    def __init__(self, stream: BinaryIO, stop: Stop) -> None:
        self._stream = stream
        self._stop = stop

    def readinto(self, buffer: memoryview, /) -> int | None:
        self._stop.check()
        return self._stream.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


def _remove(directory: Path) -> None:
    if directory.exists():
        remove_tree(str(directory))


class ArchiveRequester:
    """The requester of such a build, who can be asked for nothing but the files it sent. Implements
    `build.requester.Requester`. Without directories, the context is somewhere else."""

    def __init__(self, directories: Mapping[str, Path], identity: str, credentials: Mapping[str, Credential]) -> None:
        """`credentials`: by a registry's domain."""
        self._directories = directories
        self._identity = identity
        self._credentials = credentials

    def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return self._opened(name)

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return self._opened(name)

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[ClientDirectory]:
        path = self._directories.get(name)
        if path is None:
            raise NotFoundError(
                f"this build has no local directory {name!r}",
                hint="a build over this API has one context; named ones need BuildKit's",
            )
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield ClientDirectory(descriptor, f"{self._identity} {path.name}", given=True)
        finally:
            os.close(descriptor)

    async def secret(self, id: str) -> bytes | None:
        return None

    async def ssh_agent(self, id: str) -> str | None:
        return None

    async def upload(self, id: str) -> int | None:
        return None

    async def registry_credentials(self, host: str) -> Credential | None:
        return self._credentials.get(host)

    async def output(self, index: int) -> OutputTarget | None:
        return None
