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
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from boatyard.errors import BoatyardError, LayerError, UnavailableError
from boatyard.image.layer import tarstream
from boatyard.image.layer.apply import OPAQUE, WHITEOUT
from boatyard.image.layer.tarheader import END, header
from boatyard.image.layer.tracing import CHUNK, Trace
from boatyard.image.snapshot.disk import storage_error
from boatyard.image.snapshot.merging import list_xattrs
from boatyard.image.snapshot.whiteout import OVERLAY_XATTRS, Flavour, native_flavour

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ZEROS = memoryview(bytes(CHUNK))
_OF_THE_HOST = frozenset(("security.selinux", "security.ima", "security.evm"))
"""Labels and signatures that belong to the machine on which the file lies."""
_NONE: Mapping[bytes, bytes] = {}
_Entry = tuple[bytes, bytes, os.stat_result]
"""Name in the layer, path, status."""


class Sink(Protocol):
    def write(self, data: memoryview, /) -> object:
        """Takes the view over: it is never written to again."""


class Resumable(Sink, Protocol):
    """A sink that knows streams it was given before: it is told what comes, and needn't be given what it knows; see
    `layer.tracing`."""

    @property
    def earlier(self) -> Sequence[Trace]: ...
    def resume(self, trace: Trace, chunks: int, entries: int) -> None: ...
    def entry(self, mark: int, start: int) -> None: ...


def write_layer(
    directory: Path,
    out: Sink,
    *,
    max_mtime: int | None = None,
    flavour: Flavour | None = None,
    tracer: Resumable | None = None,
) -> None:
    """Write everything in `directory`. `max_mtime` (seconds since the epoch) replaces later times. `tracer` is `out`,
    when that can do without what it knows.

    Sockets are left out, as tar has no word for them; the root directory is, unless its mode, owner or xattrs are other
    than usual. Raises LayerError when the files change meanwhile or can't be put in a layer.
    """
    packer = _Packer(os.fsencode(directory), out, max_mtime, flavour or native_flavour(), tracer)
    try:
        packer.run()
    except FileNotFoundError as error:
        raise LayerError(f"{_shown(error)} vanished while the layer was being written") from error
    except OSError as error:
        raise _translated(error) from error


class _Packer:
    def __init__(
        self, root: bytes, out: Sink, max_mtime: int | None, flavour: Flavour, tracer: Resumable | None
    ) -> None:
        self._root = root
        self._tracer = tracer
        self._out = out
        self._max_mtime = max_mtime
        self._opaque = flavour.opaque
        self._buffer = memoryview(bytearray(CHUNK))
        self._used = 0
        self._start = 0
        """Offset in the stream of the buffer's first byte."""
        self._skip = 0
        """Bytes that come next and were written before."""
        self._links: dict[tuple[int, int], bytes] = {}

    def run(self) -> None:
        entries = self._entries()
        if self._tracer is None:
            for entry in entries:
                self._emit(entry)
        else:
            for entry in self._unknown(entries, self._tracer):
                self._tracer.entry(self._mark(entry), self._start + self._used - self._skip)
                self._emit(entry)
        self._put(END)
        if self._used:
            self._flush()

    def _entries(self) -> Iterator[_Entry]:
        """Everything that has a header, in order."""
        yield b"./", self._root, os.lstat(self._root)
        stack = [iter(self._names(self._root, b""))]
        while stack:
            for name, path, status in stack[-1]:
                if stat.S_ISDIR(status.st_mode):
                    yield name + b"/", path, status
                    stack.append(iter(self._names(path, name + b"/")))
                    break
                yield name, path, status
            else:
                stack.pop()

    def _names(self, directory: bytes, prefix: bytes) -> list[_Entry]:
        with os.scandir(directory) as entries:
            found = [(prefix + entry.name, entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
        found.sort()
        return found

    def _emit(self, entry: _Entry) -> None:
        name, path, status = entry
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._file(name, path, status)
        elif stat.S_ISDIR(mode):
            self._directory(name, path, status)
        else:
            self._special(name, path, status)

    def _directory(self, name: bytes, path: bytes, status: os.stat_result) -> None:
        xattrs, opaque = self._xattrs(path)
        root = name == b"./"
        if not root or xattrs or not _is_usual(status):
            self._head(name, tarstream.DIRECTORY, status, xattrs=xattrs)
        if opaque:
            self._put(header((b"" if root else name) + OPAQUE, tarstream.REGULAR, 0, 0, 0, 0, 0))

    # What was written before

    def _unknown(self, entries: Iterator[_Entry], tracer: Resumable) -> Iterator[_Entry]:
        """The entries from the first that differs from what the tracer knows, and those before it that its last state
        doesn't cover whole; the tracer and this object stand at the beginning of the first one then."""
        known = list(tracer.earlier)
        trace: Trace | None = None
        recent: deque[_Entry] = deque()
        """Those from number `first` on, in which the last state before them begins."""
        first = chunks = 0
        entry: _Entry | None = None
        for count, entry in enumerate(entries):
            mark = self._mark(entry)
            known = [each for each in known if each.has(count, mark)]
            if not known:
                break
            if stat.S_ISREG(entry[2].st_mode) and entry[2].st_nlink > 1:
                self._links.setdefault((entry[2].st_dev, entry[2].st_ino), entry[0])
            recent.append(entry)
            if trace is None or known[0].chunks_before(count) > chunks:
                trace = known[0]
                chunks = trace.chunks_before(count)
                while len(recent) > 1 and trace.starts[first + 1] <= chunks * CHUNK:
                    recent.popleft()
                    first += 1
            entry = None
        if trace is not None:
            tracer.resume(trace, chunks, first)
            self._start = chunks * CHUNK
            self._skip = self._start - trace.starts[first]
            yield from recent
        if entry is not None:
            yield entry
            yield from entries

    def _mark(self, entry: _Entry) -> int:
        """Equal for entries with equal bytes, when the same came before them, and practically never for others."""
        name, path, status = entry
        owned = (name, status.st_mode, status.st_uid, status.st_gid)
        if stat.S_ISREG(status.st_mode):
            return hash((*owned, status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size))
        xattrs, opaque = self._xattrs(path)
        if name == b"./" and not xattrs and _is_usual(status):
            return hash((name, opaque))
        link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else b""
        inode = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode) and status.st_ino
        seconds = status.st_mtime_ns // 1_000_000_000
        return hash((*owned, seconds, status.st_rdev, link, tuple(xattrs.items()), opaque, inode))

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
                known = min(self._skip, size)
                self._skip -= known
                if status.st_blocks * 512 < size and size >= CHUNK:
                    self._sparse_content(descriptor, path, known, size)
                else:
                    if known:
                        os.lseek(descriptor, known, os.SEEK_SET)
                    self._content(descriptor, path, size - known)
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

    def _sparse_content(self, descriptor: int, path: bytes, position: int, size: int) -> None:
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
        if self._skip:
            known = min(self._skip, len(data))
            self._skip -= known
            data = data[known:]
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
        known = min(self._skip, count)
        self._skip -= known
        count -= known
        while count > CHUNK - self._used:
            count -= CHUNK - self._used
            self._used = CHUNK
            self._flush()
            while count >= CHUNK:
                self._out.write(_ZEROS)
                self._start += CHUNK
                count -= CHUNK
        self._used += count

    def _flush(self) -> None:
        self._out.write(self._buffer[: self._used])
        self._start += self._used
        self._buffer = memoryview(bytearray(CHUNK))
        self._used = 0


def _is_usual(root: os.stat_result) -> bool:
    """Whether a root directory is as it is where a layer says nothing of it."""
    return (stat.S_IMODE(root.st_mode), root.st_uid, root.st_gid) == (0o755, 0, 0)


def _translated(error: OSError) -> BoatyardError:
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM):
        return LayerError(f"{_shown(error)} can't be put in a layer: {error.strerror}")
    if isinstance(error, BrokenPipeError):
        return UnavailableError("whoever reads the files went away before their end")
    return storage_error(error, f"can't read {_shown(error)}")


def _shown(error: OSError) -> str:
    name = error.filename
    return repr(os.fsdecode(name)) if isinstance(name, str | bytes) else "a file"
