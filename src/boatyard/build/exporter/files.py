"""The `tar` and `local` exporters: the files of the result, as one tar or as a directory.

With several platforms each is put below a directory of its own, named `linux_amd64` and the like.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from boatyard.build.copying.content import copy_large
from boatyard.build.exporter.base import BuiltImage, Exported, ExportRequest
from boatyard.build.exporter.options import check_names, flag
from boatyard.build.requester import OutputTarget, TreeTarget
from boatyard.build.solver.types import StepContext
from boatyard.errors import InvalidError
from boatyard.image.interruption import Stop, run_interruptible, run_settled
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.diff import write_layer
from boatyard.image.layer.store import LayerStore
from boatyard.image.output import output_error
from boatyard.image.snapshot.merging import link_merged

_TAR = ("dest", "platform-split")
_LOCAL = ("dest", "platform-split", "mode")
_TOLD = 4 << 20
"""After how many bytes progress is told again."""


class TarExporter:
    """One per daemon."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    def check(self, attrs: Mapping[str, str]) -> None:
        check_names(attrs, _TAR)
        flag(attrs, "platform-split")

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported:
        target = request.target
        if target is None or target.file_fd is None:
            raise InvalidError(
                "a tar output needs a file to write to", hint="give it dest=FILE, or dest=- for standard output"
            )
        chains = [(image, await _chain(image)) for image in request.images]
        split = flag(request.attrs, "platform-split", request.multi_platform)
        step.status("writing the tar")
        await run_interruptible(partial(self._write, chains, split, target.file_fd))
        step.status("writing the tar", done=True)
        return Exported()

    def _write(self, chains: Sequence[tuple[BuiltImage, Chain]], split: bool, fd: int, stop: Stop) -> None:
        image, chain = chains[0]
        tree = _gathered(self._layers, chains) if split else self._layers.mount(chain)
        with tree as directory:
            write_layer(directory, _Output(fd, stop), max_mtime=image.epoch)


class _Output:
    """A file or pipe of the requester's that a tar goes to."""

    def __init__(self, fd: int, stop: Stop) -> None:
        self._fd = fd
        self._stop = stop

    def write(self, data: memoryview) -> None:
        try:
            while data:
                self._stop.check()
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise output_error(error, "the output") from error


class LocalExporter:
    """One per daemon. Files are given to the requester, without setuid and setgid bits unless it is root; what is in
    the directory already stays, unless `mode=delete`."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    def check(self, attrs: Mapping[str, str]) -> None:
        check_names(attrs, _LOCAL)
        flag(attrs, "platform-split")
        if (mode := attrs.get("mode", "copy")) not in ("copy", "delete"):
            raise InvalidError(f"unknown mode {mode!r} of a local output", hint="use copy or delete")

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported:
        target = request.target
        split = flag(request.attrs, "platform-split", request.multi_platform)
        if target is not None and target.tree is not None:
            await self._send(step, request, target.tree, split)
            return Exported()
        if target is None or target.directory_fd is None:
            raise InvalidError("a local output needs a directory to write to", hint="give it dest=DIRECTORY")
        if request.attrs.get("mode") == "delete":
            await run_interruptible(partial(_empty, target.directory_fd))
        loop = asyncio.get_running_loop()
        for image in request.images:
            chain = await _chain(image)

            subdirectory = directory_name(image) if split else ""
            what = f"copying files {image.platform}" if split else "copying files"

            def copied(size: int, what: str = what) -> None:
                loop.call_soon_threadsafe(step.status, what, "", size, 0)

            size = await run_interruptible(partial(self._write, chain, target, subdirectory, image.epoch, copied))
            step.status(what, current=size, total=size, done=True)
        return Exported()

    async def _send(self, step: StepContext, request: ExportRequest, target: TreeTarget, split: bool) -> None:
        chains = [(image, await _chain(image)) for image in request.images]
        opened = ExitStack()

        def sent(size: int) -> None:
            step.status("copying files", current=size)

        try:
            directory = await run_settled(self._opened, chains, split, opened)
            await target.send(
                directory,
                whole=request.attrs.get("mode") == "delete",
                latest=request.images[0].epoch,
                progress=sent,
            )
        finally:
            await run_settled(opened.close)
        step.status("copying files", done=True)

    def _opened(self, chains: Sequence[tuple[BuiltImage, Chain]], split: bool, opened: ExitStack) -> int:
        """All files below one open directory."""
        if split or len(chains) > 1:
            directory = opened.enter_context(_gathered(self._layers, chains))
        else:
            directory = opened.enter_context(self._layers.mount(chains[0][1]))
        descriptor = os.open(directory, _DIRECTORY)
        opened.callback(os.close, descriptor)
        return descriptor

    def _write(
        self,
        chain: Chain,
        target: OutputTarget,
        subdirectory: str,
        clamp: int | None,
        copied: Callable[[int], None],
        stop: Stop,
    ) -> int:
        with self._layers.mount(chain) as tree:
            try:
                return _Copy(target, clamp, copied, stop).run(tree, subdirectory)
            except OSError as error:
                raise output_error(error, "the output") from error


@dataclass(slots=True)
class _Level:
    """A directory that is being copied: what is left of it, and the open directory that it goes to."""

    entries: Iterator[os.DirEntry[str]]
    target: int
    status: os.stat_result | None
    """The source's; None for the top, which is left as it is."""


class _Copy:
    """Copies a tree below an open directory. A symlink that is in the way there is replaced, never followed: everything
    is made, and given away, through open descriptors."""

    def __init__(self, target: OutputTarget, clamp: int | None, copied: Callable[[int], None], stop: Stop) -> None:
        assert target.directory_fd is not None
        self._fd = target.directory_fd
        self._uid, self._gid = target.uid, target.gid
        self._clamp = clamp
        self._copied = copied
        self._stop = stop
        self._size = self._told = 0

    def run(self, tree: Path, subdirectory: str) -> int:
        """The files' bytes."""
        top = os.open(".", _DIRECTORY, dir_fd=self._fd)
        levels = [_Level(_entries(os.fspath(tree)), top, None)]
        try:
            if subdirectory:
                levels.append(_Level(levels[0].entries, self._enter(top, subdirectory), None))
            while levels:
                level = levels[-1]
                entry = next(level.entries, None)
                if entry is None:
                    self._leave(level)
                    levels.pop()
                elif entry.is_dir(follow_symlinks=False):
                    inner = self._enter(level.target, entry.name)
                    levels.append(_Level(iter(()), inner, entry.stat(follow_symlinks=False)))
                    levels[-1].entries = _entries(entry.path)
                else:
                    self._entry(entry, level.target)
        finally:
            for level in levels:
                os.close(level.target)
        return self._size

    def _enter(self, parent: int, name: str) -> int:
        """Open a directory, making it if it isn't one. Whoever had it keeps it."""
        made = False
        try:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                os.unlink(name, dir_fd=parent)
                raise FileNotFoundError
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=parent)
            made = True
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        if made:
            os.fchown(descriptor, self._uid, self._gid)
        return descriptor

    def _leave(self, level: _Level) -> None:
        if level.status is not None:
            os.fchmod(level.target, self._mode(level.status))
            os.utime(level.target, ns=self._times(level.status))
        os.close(level.target)

    def _entry(self, entry: os.DirEntry[str], target: int) -> None:
        self._stop.check()
        status = entry.stat(follow_symlinks=False)
        name = entry.name
        _remove(name, target)
        if stat.S_ISREG(status.st_mode):
            self._file(entry.path, name, status, target)
        elif stat.S_ISSOCK(status.st_mode) or (not _is_plain(status) and self._uid != 0):
            return  # devices are only root's to make, and sockets mean nothing without who listens
        else:
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(entry.path), name, dir_fd=target)
            elif stat.S_ISFIFO(status.st_mode):
                os.mkfifo(name, self._mode(status), dir_fd=target)
            else:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(name, self._uid, self._gid, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=self._times(status), dir_fd=target, follow_symlinks=False)

    def _file(self, source: str, name: str, status: os.stat_result, target: int) -> None:
        writer = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target
        )
        with open(writer, "wb", buffering=0), open(source, "rb", buffering=0) as reader:
            copy_large(reader.fileno(), writer, status.st_size, self._stop.check)
            os.fchown(writer, self._uid, self._gid)
            os.fchmod(writer, self._mode(status))  # after chown, which clears setuid
            os.utime(writer, ns=self._times(status))
        self._size += status.st_size
        if self._size - self._told >= _TOLD:
            self._told = self._size
            self._copied(self._size)

    def _mode(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        return mode if self._uid == 0 else mode & ~(stat.S_ISUID | stat.S_ISGID)

    def _times(self, status: os.stat_result) -> tuple[int, int]:
        moment = status.st_mtime_ns
        if self._clamp is not None:
            moment = min(moment, self._clamp * 1_000_000_000)
        return moment, moment


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


def _is_plain(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) or stat.S_ISFIFO(status.st_mode)


def _remove(name: str, target: int) -> None:
    try:
        status = os.lstat(name, dir_fd=target)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=target)
    else:
        os.unlink(name, dir_fd=target)


def _empty(fd: int, stop: Stop) -> None:
    try:
        for name in os.listdir(fd):
            stop.check()
            _remove(name, fd)
    except OSError as error:
        raise output_error(error, "the output") from error


async def _chain(image: BuiltImage) -> Chain:
    return await image.result.chain() if image.result else ()


def directory_name(image: BuiltImage) -> str:
    return str(image.platform).replace("/", "_")


@contextmanager
def _gathered(layers: LayerStore, chains: Sequence[tuple[BuiltImage, Chain]]) -> Iterator[Path]:
    """All platforms' trees, hard-linked below one directory of a snapshot that is thrown away."""
    snapshotter = layers.snapshotter
    active = snapshotter.prepare()
    try:
        root = snapshotter.directory(active)
        for image, chain in chains:
            tree = root / directory_name(image)
            tree.mkdir()
            if chain:
                link_merged([*map(os.fsencode, reversed(layers.directories(chain)))], os.fsencode(tree), squash=False)
        yield root
    finally:
        snapshotter.remove(active)
