"""Write a snapshot's directory as a layer: one pass over the files, straight into a tar stream.

The same files always give the same bytes: names are sorted, times are whole seconds, and nothing else of the moment or
the machine gets in. What overlayfs knows as whiteouts and opaque directories becomes .wh. entries; its own xattrs are
left out.

Specification: OCI image-spec, layer.md.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from boatyard.errors import BoatyardError, LayerError, UnavailableError
from boatyard.image.layer import tarstream
from boatyard.image.layer.apply import OPAQUE, WHITEOUT
from boatyard.image.layer.tarheader import END, header
from boatyard.image.snapshot.disk import storage_error
from boatyard.image.snapshot.merging import list_xattrs
from boatyard.image.snapshot.whiteout import OVERLAY_XATTRS, Flavour, native_flavour

CHUNK = 1 << 20
"""All that is written comes in pieces of this size, but for the last."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ZEROS = memoryview(bytes(CHUNK))
_OF_THE_HOST = frozenset(("security.selinux", "security.ima", "security.evm"))
"""Labels and signatures that belong to the machine on which the file lies."""
_NONE: Mapping[bytes, bytes] = {}


class Sink(Protocol):
    def write(self, data: memoryview, /) -> object:
        """Takes the view over: it is never written to again."""


def write_layer(directory: Path, out: Sink, *, max_mtime: int | None = None, flavour: Flavour | None = None) -> None:
    """Write everything in `directory`. `max_mtime` (seconds since the epoch) replaces later times.

    Sockets are left out, as tar has no word for them; the root directory is, unless its mode, owner or xattrs are other
    than usual. Raises LayerError when the files change meanwhile or can't be put in a layer.
    """
    packer = _Packer(os.fsencode(directory), out, max_mtime, flavour or native_flavour())
    try:
        packer.run()
    except FileNotFoundError as error:
        raise LayerError(f"{_shown(error)} vanished while the layer was being written") from error
    except OSError as error:
        raise _translated(error) from error


class _Packer:
    def __init__(self, root: bytes, out: Sink, max_mtime: int | None, flavour: Flavour) -> None:
        self._root = root
        self._out = out
        self._max_mtime = max_mtime
        self._opaque = flavour.opaque
        self._buffer = memoryview(bytearray(CHUNK))
        self._used = 0
        self._links: dict[tuple[int, int], bytes] = {}

    def run(self) -> None:
        self._root_directory()
        stack = [iter(self._names(self._root, b""))]
        while stack:
            for name, path, status in stack[-1]:
                mode = status.st_mode
                if stat.S_ISREG(mode):
                    self._file(name, path, status)
                elif stat.S_ISDIR(mode):
                    self._directory(name + b"/", path, status)
                    stack.append(iter(self._names(path, name + b"/")))
                    break
                else:
                    self._special(name, path, status)
            else:
                stack.pop()
        self._put(END)
        if self._used:
            self._flush()

    def _names(self, directory: bytes, prefix: bytes) -> list[tuple[bytes, bytes, os.stat_result]]:
        with os.scandir(directory) as entries:
            found = [(prefix + entry.name, entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
        found.sort()
        return found

    def _root_directory(self) -> None:
        status = os.lstat(self._root)
        xattrs, opaque = self._xattrs(self._root)
        if xattrs or (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != (0o755, 0, 0):
            self._head(b"./", tarstream.DIRECTORY, status, xattrs=xattrs)
        if opaque:
            self._put(header(OPAQUE, tarstream.REGULAR, 0, 0, 0, 0, 0))

    def _directory(self, name: bytes, path: bytes, status: os.stat_result) -> None:
        xattrs, opaque = self._xattrs(path)
        self._head(name, tarstream.DIRECTORY, status, xattrs=xattrs)
        if opaque:
            self._put(header(name + OPAQUE, tarstream.REGULAR, 0, 0, 0, 0, 0))

    def _special(self, name: bytes, path: bytes, status: os.stat_result) -> None:
        mode = status.st_mode
        if stat.S_ISCHR(mode) and status.st_rdev == 0:
            parent, slash, base = name.rpartition(b"/")
            self._put(header(parent + slash + WHITEOUT + base, tarstream.REGULAR, 0, 0, 0, 0, 0))
            return
        if stat.S_ISSOCK(mode) or self._linked(name, status):
            return
        xattrs, _ = self._xattrs(path)
        if stat.S_ISLNK(mode):
            self._head(name, tarstream.SYMLINK, status, link=os.readlink(path), xattrs=xattrs)
        elif stat.S_ISFIFO(mode):
            self._head(name, tarstream.FIFO, status, xattrs=xattrs)
        else:
            kind = tarstream.CHAR if stat.S_ISCHR(mode) else tarstream.BLOCK
            self._head(name, kind, status, xattrs=xattrs)

    def _linked(self, name: bytes, status: os.stat_result) -> bool:
        """Write a hard link if another name of this file was written before."""
        if status.st_nlink == 1:
            return False
        key = (status.st_dev, status.st_ino)
        first = self._links.setdefault(key, name)
        if first is name:
            return False
        self._head(name, tarstream.HARD_LINK, status, link=first)
        return True

    def _file(self, name: bytes, path: bytes, status: os.stat_result) -> None:
        if status.st_nlink > 1 and self._linked(name, status):
            return
        size = status.st_size
        try:
            descriptor = os.open(path, _READ | os.O_NOATIME)
        except PermissionError:  # only the owner may do without the access time
            descriptor = os.open(path, _READ)
        try:
            names = list_xattrs(descriptor)
            xattrs = self._xattrs(descriptor, names)[0] if names else _NONE
            self._head(name, tarstream.REGULAR, status, size=size, xattrs=xattrs)
            if size:
                if status.st_blocks * 512 < size and size >= CHUNK:
                    self._sparse_content(descriptor, path, size)
                else:
                    self._content(descriptor, path, size)
                self._zeros(-size % 512)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, path: bytes, size: int) -> None:
        while size:
            if self._used == CHUNK:
                self._flush()
            used = self._used
            count = os.readv(descriptor, [self._buffer[used : used + size]])
            if not count:
                raise LayerError(f"{path!r} became shorter while the layer was being written")
            self._used = used + count
            size -= count

    def _sparse_content(self, descriptor: int, path: bytes, size: int) -> None:
        position = 0
        while position < size:
            try:
                start = min(size, os.lseek(descriptor, position, os.SEEK_DATA))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                start = size
            self._zeros(start - position)
            if start == size:
                break
            position = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
            os.lseek(descriptor, start, os.SEEK_SET)
            self._content(descriptor, path, position - start)

    def _head(
        self,
        name: bytes,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: Mapping[bytes, bytes] = _NONE,
    ) -> None:
        base = name[:-1].rpartition(b"/")[2] if kind == tarstream.DIRECTORY else name.rpartition(b"/")[2]
        if base.startswith(WHITEOUT):
            raise LayerError(
                f"{os.fsdecode(name)!r} can't be in a layer, where names that start with .wh. mark removed files",
                hint="give the file another name",
            )
        mtime = status.st_mtime_ns // 1_000_000_000
        if self._max_mtime is not None and mtime > self._max_mtime:
            mtime = self._max_mtime
        device = status.st_rdev
        self._put(
            header(
                name,
                kind,
                status.st_mode & 0o7777,
                status.st_uid,
                status.st_gid,
                size,
                mtime,
                link,
                os.major(device) if device else 0,
                os.minor(device) if device else 0,
                xattrs,
            )
        )

    def _xattrs(self, path: bytes | int, names: list[str] | None = None) -> tuple[Mapping[bytes, bytes], bool]:
        """(those that belong to the file, whether it is an opaque directory)."""
        follow = isinstance(path, int)
        if names is None:
            names = list_xattrs(path)
        if not names:
            return _NONE, False
        opaque = self._opaque in names and os.getxattr(path, self._opaque, follow_symlinks=follow) == b"y"
        return {
            os.fsencode(name): os.getxattr(path, name, follow_symlinks=follow)
            for name in names
            if name not in _OF_THE_HOST and not name.startswith(OVERLAY_XATTRS)
        }, opaque

    def _put(self, data: bytes) -> None:
        used = self._used
        end = used + len(data)
        if end <= CHUNK:
            self._buffer[used:end] = data
            self._used = end
            return
        view = memoryview(data)
        while view:
            if self._used == CHUNK:
                self._flush()
            part = view[: CHUNK - self._used]
            self._buffer[self._used : self._used + len(part)] = part
            self._used += len(part)
            view = view[len(part) :]

    def _zeros(self, count: int) -> None:
        """Fresh buffers are zero, so it is enough to step over."""
        while count > CHUNK - self._used:
            count -= CHUNK - self._used
            self._used = CHUNK
            self._flush()
            while count >= CHUNK:
                self._out.write(_ZEROS)
                count -= CHUNK
        self._used += count

    def _flush(self) -> None:
        self._out.write(self._buffer[: self._used])
        self._buffer = memoryview(bytearray(CHUNK))
        self._used = 0


def _translated(error: OSError) -> BoatyardError:
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM):
        return LayerError(f"{_shown(error)} can't be put in a layer: {error.strerror}")
    if isinstance(error, BrokenPipeError):
        return UnavailableError("whoever reads the files went away before their end")
    return storage_error(error, f"can't read {_shown(error)}")


def _shown(error: OSError) -> str:
    name = error.filename
    return repr(os.fsdecode(name)) if isinstance(name, str | bytes) else "a file"
