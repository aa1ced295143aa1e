"""Apply a layer (an uncompressed tar stream) to the directory of a snapshot, in overlay form.

No entry reaches anything outside, whatever it says: see `beneath`. What the stream leaves open (a parent directory it
doesn't list, a hard link to a file of a lower layer) is looked up in the layers below.

Knows tar entries, whiteouts, ownership and xattrs. Knows nothing of compression, digests or chains. Specification: OCI
image-spec, layer.md.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from boatyard.errors import BoatyardError, LayerError
from boatyard.image.layer import tarstream
from boatyard.image.layer.beneath import Directory, Lowers, Tree, join
from boatyard.image.layer.tarstream import Entry, Source, TarReader, shown
from boatyard.image.snapshot.disk import storage_error
from boatyard.image.snapshot.merging import copy_attributes, link_file
from boatyard.image.snapshot.whiteout import (
    OVERLAY_XATTRS,
    USER,
    Flavour,
    is_whiteout,
    mark_whiteouts,
    native_flavour,
)

log = logging.getLogger(__name__)

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."

_OVERLAY = tuple(os.fsencode(prefix) for prefix in OVERLAY_XATTRS)
_PIECE = 64 << 10
_ZEROS = bytes(_PIECE)
_SPARSE_FROM = 256 << 10
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may bring before it is taken for a bomb."""

    bytes: int = 1 << 40
    entries: int = 20_000_000


DEFAULT_LIMITS = Limits()


class Applied(NamedTuple):
    entries: int
    bytes: int
    """Of the files' content, holes included."""


def apply(
    stream: Source,
    directory: Path,
    *,
    lowers: Lowers = (),
    whiteouts: bool = True,
    devices: bool = True,
    owner: tuple[int, int] | None = None,
    flavour: Flavour | None = None,
    limits: Limits = DEFAULT_LIMITS,
    open_end: bool = False,
) -> Applied:
    """Unpack to `directory`, which nobody else changes meanwhile, and read the stream to its end.

    `whiteouts` False takes the stream as a plain archive, in which .wh. names mean nothing. `devices` False refuses
    device nodes. `owner` gets everything, whatever the entries say. `open_end` as for `TarReader`. Raises LayerError
    when the stream is malformed, hostile or too large, and StorageError; what was unpacked until then stays for the
    caller to remove.
    """
    target = _Target(directory, lowers, whiteouts, devices, owner, flavour or native_flavour(), limits)
    reader = TarReader(stream, open_end=open_end)
    entry: Entry | None = None
    try:
        while (entry := reader.next()) is not None:
            target.add(entry, reader)
        target.finish()
    except OSError as error:
        raise _translated(error, entry) from error
    except (ValueError, OverflowError) as error:
        raise LayerError(f"{_what(entry)} can't be made: {error}") from error
    reader.drain()
    return Applied(target.entries, target.bytes)


class _Target:
    def __init__(
        self,
        directory: Path,
        lowers: Lowers,
        whiteouts: bool,
        devices: bool,
        owner: tuple[int, int] | None,
        flavour: Flavour,
        limits: Limits,
    ) -> None:
        self._tree = Tree(directory, lowers, flavour, owner)
        self._whiteouts = whiteouts
        self._devices = devices
        self._owner = owner
        self._flavour = flavour
        self._limits = limits
        self._self_owner = (os.geteuid(), os.getegid())
        self._umask = _current_umask()
        self.entries = 0
        self.bytes = 0
        self._last_name: bytes | None = None
        self._last = self._tree.root
        self._last_marked: Directory | None = None
        self._add = {
            tarstream.REGULAR: self._add_file,
            tarstream.HARD_LINK: self._add_hard_link,
            tarstream.SYMLINK: self._add_symlink,
            tarstream.CHAR: self._add_device,
            tarstream.BLOCK: self._add_device,
            tarstream.FIFO: self._add_fifo,
        }

    # Entries

    def add(self, entry: Entry, reader: TarReader) -> None:
        self.entries += 1
        self.bytes += entry.size
        if self.entries > self._limits.entries or self.bytes > self._limits.bytes:
            raise LayerError(
                f"the layer is too large: more than {self._limits.entries} entries or {self._limits.bytes} bytes"
            )
        path = _clean(entry.name)
        if self._owner is not None:
            entry = entry._replace(uid=self._owner[0], gid=self._owner[1])
        if not path:
            if entry.kind == tarstream.DIRECTORY:
                self._set_directory(entry, b"")
                return
            raise LayerError(f"{_what(entry)} would replace the root directory")
        directory, _, base = path.rpartition(b"/")
        if self._last_name == directory:
            parent = self._last
        else:
            parent = self._last = self._tree.resolve(directory, entry.mtime_ns)
            self._last_name = directory
        if self._whiteouts and base.startswith(WHITEOUT):
            self._add_whiteout(entry, parent, base)
        elif entry.kind == tarstream.DIRECTORY:
            self._add_directory(entry, parent, base)
        else:
            self._add[entry.kind](entry, parent, base, reader)

    def finish(self) -> None:
        if b"" not in self._tree.times and (lowers := self._tree.layers_below(b"")):
            copy_attributes(lowers[0], os.lstat(lowers[0]), self._tree.path, self._flavour)
        for canonical, time in self._tree.times.items():
            os.utime(self._tree.path_of(canonical), ns=(time, time), follow_symlinks=False)

    def _replace(self, parent: Directory, base: bytes) -> None:
        """Make room for an entry that comes again. The last one wins."""
        self._tree.remove(parent, base)
        self._last_name = None

    def _forget(self) -> None:
        self._tree.forget()
        self._last_name = None

    def _add_file(self, entry: Entry, parent: Directory, base: bytes, reader: TarReader) -> None:
        mode = entry.mode
        try:
            descriptor = os.open(base, _CREATE, mode & 0o777, dir_fd=parent.descriptor)
        except FileExistsError:
            self._replace(parent, base)
            descriptor = os.open(base, _CREATE, mode & 0o777, dir_fd=parent.descriptor)
        try:
            data = reader.small_content()
            if data is None:
                _write_large(descriptor, entry, reader)
            elif data:
                written = os.write(descriptor, data)
                while written < len(data):
                    written += os.write(descriptor, data[written:])
            if parent.exact or (entry.uid, entry.gid) != self._self_owner:
                os.fchown(descriptor, entry.uid, entry.gid)
            if parent.exact or mode & (self._umask | 0o7000):
                os.fchmod(descriptor, mode)
            if entry.xattrs:
                self._set_xattrs(entry, descriptor)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(descriptor)

    def _add_directory(self, entry: Entry, parent: Directory, base: bytes) -> None:
        canonical = join(parent.canonical, base)
        try:
            os.mkdir(base, entry.mode & 0o777, dir_fd=parent.descriptor)
        except FileExistsError:
            status = os.stat(base, dir_fd=parent.descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._replace(parent, base)
                os.mkdir(base, entry.mode & 0o777, dir_fd=parent.descriptor)
                if self._whiteouts:
                    self._tree.cover(canonical)
        self._set_directory(entry, canonical)

    def _set_directory(self, entry: Entry, canonical: bytes) -> None:
        path = self._tree.path_of(canonical)
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(path, entry.mode)
        if entry.xattrs:
            self._set_xattrs(entry, path)
            self._forget()  # a default ACL changes how files are made in it
        elif entry.mode & stat.S_ISGID:
            self._forget()
        self._tree.times[canonical] = entry.mtime_ns

    def _add_symlink(self, entry: Entry, parent: Directory, base: bytes, reader: TarReader) -> None:
        if not entry.link:
            raise LayerError(f"{_what(entry)} is a symbolic link to nothing")
        try:
            os.symlink(entry.link, base, dir_fd=parent.descriptor)
        except FileExistsError:
            self._replace(parent, base)
            os.symlink(entry.link, base, dir_fd=parent.descriptor)
        if parent.exact or (entry.uid, entry.gid) != self._self_owner:
            os.chown(base, entry.uid, entry.gid, dir_fd=parent.descriptor, follow_symlinks=False)
        self._finish_node(entry, parent, base)

    def _add_hard_link(self, entry: Entry, parent: Directory, base: bytes, reader: TarReader) -> None:
        directory, _, target_base = _clean(entry.link).rpartition(b"/")
        if not target_base:
            raise LayerError(f"{_what(entry)} is a hard link to the root directory")
        target = self._tree.resolve(directory, entry.mtime_ns)
        self._find_link_target(entry, target, target_base)
        if (target.canonical, target_base) == (parent.canonical, base):
            return
        try:
            self._link(target, target_base, parent, base)
        except FileExistsError:
            canonical = join(parent.canonical, base)
            if target.canonical == canonical or target.canonical.startswith(canonical + b"/"):
                raise LayerError(f"{_what(entry)} would replace a directory that its target is in") from None
            self._replace(parent, base)
            self._link(target, target_base, parent, base)

    def _link(self, target: Directory, target_base: bytes, parent: Directory, base: bytes) -> None:
        os.link(target_base, base, src_dir_fd=target.descriptor, dst_dir_fd=parent.descriptor, follow_symlinks=False)

    def _find_link_target(self, entry: Entry, target: Directory, base: bytes) -> None:
        """Have the target in this layer; a file of a lower layer becomes one of this, as the kernel would copy it
        up."""
        try:
            status = os.stat(base, dir_fd=target.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            below = self._tree.lookup_below(target.canonical, base)
            if below is None or stat.S_ISDIR(below.status.st_mode):
                raise LayerError(f"{_what(entry)} is a hard link to {shown(entry.link)}, which isn't there") from None
            link_file(below.layers[0], below.status, self._tree.path_of(join(target.canonical, base)))
            return
        if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
            raise LayerError(f"{_what(entry)} is a hard link to {shown(entry.link)}, which is no file")

    def _add_device(self, entry: Entry, parent: Directory, base: bytes, reader: TarReader) -> None:
        if not self._devices:
            raise LayerError(f"{_what(entry)} is a device node, which isn't allowed here")
        if entry.kind == tarstream.CHAR and entry.major == entry.minor == 0:
            raise LayerError(f"{_what(entry)} is a character device 0/0, which marks a removed file on disk")
        kind = stat.S_IFCHR if entry.kind == tarstream.CHAR else stat.S_IFBLK
        try:
            self._make_node(entry, parent, base, kind, os.makedev(entry.major, entry.minor))
        except PermissionError:
            if self._flavour is not USER:
                raise
            log.warning("%s is left out: a user namespace can't make device nodes", _what(entry))

    def _add_fifo(self, entry: Entry, parent: Directory, base: bytes, reader: TarReader) -> None:
        self._make_node(entry, parent, base, stat.S_IFIFO, 0)

    def _make_node(self, entry: Entry, parent: Directory, base: bytes, kind: int, device: int) -> None:
        try:
            os.mknod(base, kind | 0o600, device, dir_fd=parent.descriptor)
        except FileExistsError:
            self._replace(parent, base)
            os.mknod(base, kind | 0o600, device, dir_fd=parent.descriptor)
        os.chown(base, entry.uid, entry.gid, dir_fd=parent.descriptor, follow_symlinks=False)
        os.chmod(base, entry.mode, dir_fd=parent.descriptor)
        self._finish_node(entry, parent, base)

    def _finish_node(self, entry: Entry, parent: Directory, base: bytes) -> None:
        if entry.xattrs:
            self._set_xattrs(entry, b"/proc/self/fd/%d/%b" % (parent.descriptor, base))
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent.descriptor, follow_symlinks=False)

    def _set_xattrs(self, entry: Entry, path: bytes | int) -> None:
        for name, value in entry.xattrs.items():
            if name.startswith(_OVERLAY):
                continue  # the overlay's own marks would take effect here; a layer has whiteout entries for that
            try:
                if isinstance(path, int):
                    os.setxattr(path, name, value)
                else:
                    os.setxattr(path, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                    raise
                # The file system doesn't have this namespace, or a user namespace may not write to it.
                log.warning("%s loses the extended attribute %s: %s", _what(entry), shown(name), error.strerror)

    # Whiteouts

    def _add_whiteout(self, entry: Entry, parent: Directory, base: bytes) -> None:
        if base == OPAQUE:
            self._tree.cover(parent.canonical)
            return
        if base.startswith(_AUFS):  # bookkeeping of a file system that some images still carry
            return
        name = base[len(WHITEOUT) :]
        if name in (b"", b".", b".."):
            raise LayerError(f"{_what(entry)} is a whiteout of an impossible name")
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.descriptor)
        except FileExistsError:
            # A whiteout speaks of the layers below, not of what this layer adds under the name.
            if stat.S_ISDIR(os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False).st_mode):
                self._tree.cover(join(parent.canonical, name))
            return
        if parent is not self._last_marked:
            self._last_marked = parent
            mark_whiteouts(b"/proc/self/fd/%d" % parent.descriptor, self._flavour)


def _write_large(descriptor: int, entry: Entry, reader: TarReader) -> None:
    """Write a file piece by piece; long runs of zeros become holes."""
    holes = entry.size >= _SPARSE_FROM
    written = 0
    for offset, view in reader.content():
        start = 0
        if holes:
            at = 0
            while at < len(view):
                end = min(len(view), at + _PIECE - (offset + at) % _PIECE)
                if not view[at] and not view[end - 1] and bytes(view[at:end]) == _ZEROS[: end - at]:
                    if start < at:
                        _write_at(descriptor, view[start:at], offset + start)
                        written = offset + at
                    start = end
                at = end
        if start < len(view):
            _write_at(descriptor, view[start:], offset + start)
            written = offset + len(view)
    if written < entry.size:
        os.ftruncate(descriptor, entry.size)


def _write_at(descriptor: int, view: memoryview, offset: int) -> None:
    written = os.pwrite(descriptor, view, offset)
    while written < len(view):
        written += os.pwrite(descriptor, view[written:], offset + written)


def _clean(name: bytes) -> bytes:
    """The path from the root of the layer. An absolute one starts at the same root."""
    if b".." in name and b".." in name.split(b"/"):
        raise LayerError(f"the layer has a path that leads outside: {shown(name)}")
    if name[:1] in (b"", b".", b"/") or name[-1:] in (b".", b"/") or b"//" in name or b"/./" in name:
        return b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))
    return name


def _current_umask() -> int:
    """Without setting it, which other threads would notice."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777


def _translated(error: OSError, entry: Entry | None) -> BoatyardError:
    what = f"{_what(entry)} can't be made" if entry is not None else "the layer can't be unpacked"
    if error.errno in _STORAGE:
        return storage_error(error, what)
    return LayerError(f"{what}: {error.strerror or error}")


def _what(entry: Entry | None) -> str:
    return f"layer entry {shown(entry.name)}" if entry is not None else "the layer"
