"""The `tar` and `local` exporters: the files of the result, as one tar or as a directory.

With several platforms each is put below a directory of its own, named `linux_amd64` and the like.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from boatyard.build.exporter.base import BuiltImage, Exported, ExportRequest
from boatyard.build.exporter.options import flag
from boatyard.build.requester import OutputTarget
from boatyard.build.solver.types import StepContext
from boatyard.errors import InvalidError, StorageError
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.diff import write_layer
from boatyard.image.layer.store import LayerStore


class TarExporter:
    """One per daemon."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported:
        target = request.target
        if target is None or target.file_fd is None:
            raise InvalidError(
                "a tar output needs a file to write to", hint="give it dest=FILE, or dest=- for standard output"
            )
        file_fd = target.file_fd
        clamp = request.images[0].epoch
        step.status("writing the tar")
        if not request.multi_platform:
            chain = await _chain(request.images[0])
            await run_interruptible(lambda stop: self._write(chain, file_fd, clamp))
        else:
            chains = [(image, await _chain(image)) for image in request.images]
            await run_interruptible(lambda stop: self._write_split(chains, file_fd, clamp))
        step.status("writing the tar", done=True)
        return Exported()

    def _write(self, chain: Chain, fd: int, clamp: int | None) -> None:
        with self._layers.mount(chain) as tree, open(fd, "wb", closefd=False) as file:
            write_layer(tree, file, max_mtime=clamp)

    def _write_split(self, chains: list[tuple[BuiltImage, Chain]], fd: int, clamp: int | None) -> None:
        with _gathered(self._layers, chains) as tree, open(fd, "wb", closefd=False) as file:
            write_layer(tree, file, max_mtime=clamp)


class LocalExporter:
    """One per daemon. Files are given to the requester, without setuid and setgid bits unless it is root; what is in
    the directory already stays, unless `mode=delete`."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported:
        target = request.target
        if target is None or target.directory_fd is None:
            raise InvalidError("a local output needs a directory to write to", hint="give it dest=DIRECTORY")
        mode = request.attrs.get("mode", "copy")
        if mode not in ("copy", "delete"):
            raise InvalidError(f"unknown mode {mode!r} of a local output", hint="use copy or delete")
        split = flag(request.attrs, "platform-split", request.multi_platform)
        if mode == "delete":
            await asyncio.to_thread(_empty, target.directory_fd)
        loop = asyncio.get_running_loop()
        for image in request.images:
            chain = await _chain(image)

            def copied(count: int, image: BuiltImage = image) -> None:
                loop.call_soon_threadsafe(step.status, f"copying files {image.platform}", "", count, 0)

            subdirectory = directory_name(image) if split else ""
            files = await run_interruptible(partial(self._write, chain, target, subdirectory, image.epoch, copied))
            step.status(f"copying files {image.platform}", current=files, total=files, done=True)
        return Exported()

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
                raise StorageError(
                    f"can't write the output: {error}", hint="is the disk full, or the directory gone?"
                ) from error


class _Copy:
    """Copies a tree below an open directory. A symlink that is in the way there is replaced, never followed."""

    def __init__(self, target: OutputTarget, clamp: int | None, copied: Callable[[int], None], stop: Stop) -> None:
        assert target.directory_fd is not None
        self._fd = target.directory_fd
        self._uid, self._gid = target.uid, target.gid
        self._clamp = clamp
        self._copied = copied
        self._stop = stop
        self._files = 0

    def run(self, tree: Path, subdirectory: str) -> int:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._fd)
        try:
            if subdirectory:
                inner = self._enter(root, subdirectory, 0o755)
                os.close(root)
                root = inner
            self._directory(os.fspath(tree), root)
        finally:
            os.close(root)
        return self._files

    def _enter(self, parent: int, name: str, mode: int) -> int:
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, mode, dir_fd=parent)
        os.chown(name, self._uid, self._gid, dir_fd=parent, follow_symlinks=False)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)

    def _directory(self, source: str, target: int) -> None:
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                inner = self._enter(target, entry.name, 0o755)
                try:
                    self._directory(entry.path, inner)
                    os.fchmod(inner, self._mode(status))
                    self._times(entry.name, status, target)
                finally:
                    os.close(inner)
                continue
            self._remove(entry.name, target)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), entry.name, dir_fd=target)
            elif stat.S_ISREG(status.st_mode):
                self._file(entry.path, entry.name, status, target)
            elif stat.S_ISFIFO(status.st_mode):
                os.mkfifo(entry.name, self._mode(status), dir_fd=target)
            elif stat.S_ISSOCK(status.st_mode) or self._uid != 0:
                continue  # devices are only root's to make, and sockets mean nothing without who listens
            else:
                os.mknod(entry.name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(entry.name, self._uid, self._gid, dir_fd=target, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                os.chmod(entry.name, self._mode(status), dir_fd=target)  # after chown, which clears setuid
            self._times(entry.name, status, target)
            self._files += 1
            self._stop.check()
            if self._files % 500 == 0:
                self._copied(self._files)

    def _file(self, source: str, name: str, status: os.stat_result, target: int) -> None:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=target)
        with open(source, "rb", buffering=0) as reader, open(writer, "wb", buffering=0) as file:
            left = status.st_size
            while left > 0:
                try:
                    sent = os.copy_file_range(reader.fileno(), file.fileno(), left)
                except OSError:
                    shutil.copyfileobj(reader, file)  # another file system that can't do it
                    break
                if sent == 0:
                    break
                left -= sent

    def _remove(self, name: str, target: int) -> None:
        try:
            status = os.lstat(name, dir_fd=target)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=target)
        else:
            os.unlink(name, dir_fd=target)

    def _mode(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        return mode if self._uid == 0 else mode & ~(stat.S_ISUID | stat.S_ISGID)

    def _times(self, name: str, status: os.stat_result, target: int) -> None:
        moment = status.st_mtime_ns
        if self._clamp is not None:
            moment = min(moment, self._clamp * 1_000_000_000)
        os.utime(name, ns=(moment, moment), dir_fd=target, follow_symlinks=False)


def _empty(fd: int) -> None:
    for name in os.listdir(fd):
        if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
            shutil.rmtree(name, dir_fd=fd)
        else:
            os.unlink(name, dir_fd=fd)


async def _chain(image: BuiltImage) -> Chain:
    return await image.result.chain() if image.result else ()


def directory_name(image: BuiltImage) -> str:
    return str(image.platform).replace("/", "_")


@contextmanager
def _gathered(layers: LayerStore, chains: list[tuple[BuiltImage, Chain]]) -> Iterator[Path]:
    """All platforms' trees, hard-linked below one directory of a snapshot that is thrown away."""
    snapshotter = layers.snapshotter
    active = snapshotter.prepare()
    try:
        root = snapshotter.directory(active)
        for image, chain in chains:
            with layers.mount(chain) as tree:
                shutil.copytree(tree, root / directory_name(image), symlinks=True)
        yield root
    finally:
        snapshotter.remove(active)
