"""The receiving side of a transfer: compares the list with what is there, asks for what differs, and writes it.

A pure machine for one thread at a time: packets in, packets out. Whatever the sender says, what is kept in memory is
bounded but for one entry of the list a name, and nothing is written outside the target.

Specification: tonistiigi/fsutil, `receive.go`, `diff_containerd.go`, `diskwriter.go`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from boatyard.errors import InvalidError, UnavailableError
from boatyard.paths.beneath import open_directory
from boatyard.session.fsutil import packet
from boatyard.session.fsutil.entry import Entry
from boatyard.session.fsutil.order import Order
from boatyard.session.fsutil.target import NewFile, Target, storage_error

MOST_BUFFERED = 16 << 20
"""Bytes of files that haven't arrived whole."""
MOST_OF_A_FILE = 1 << 18
"""Bytes of one file before it is written piece by piece."""
MOST_OPEN = 64
"""Files that are being written at once."""
MOST_GROWTH = 64 << 20
"""A file may grow while it is sent: bytes by which it may exceed what the list said, or as much again."""


@dataclass(slots=True)
class _Coming:
    """A file that was asked for. `pieces` wait to be written; `file`: it is being written."""

    entry: Entry
    pieces: list[bytes] = field(default_factory=list)
    buffered: int = 0
    arrived: int = 0
    file: NewFile | None = None


class Receiver:
    """Of one transfer into one directory; closed by whoever made it."""

    def __init__(
        self,
        root: int,
        known: Mapping[str, Entry],
        *,
        owner: tuple[int, int] | None = None,
        seeds: Iterable[int] = (),
        trusted: bool = True,
    ) -> None:
        """`known`: what is in the directory `root`; whatever of it isn't in the list is removed at the end. `owner`:
        see Target. `seeds`: directories on the same disk in which the same files may lie, which are linked then.
        Unless `trusted`, what is there is never taken to be the same."""
        self._target = Target(root, owner)
        # Who isn't root can't give files away: whose they are is then not kept, and not compared.
        self._whose = owner or ((os.geteuid(), os.getegid()) if os.geteuid() else None)
        self._left = dict(known)
        self._seeds = [_Seed(each) for each in seeds]
        self._trusted = trusted
        self._order = Order()
        self._count = 0
        self._listed = False
        self._coming: dict[int, _Coming] = {}
        self._links: list[Entry] = []
        self.buffered = 0
        self._written: dict[int, _Coming] = {}
        self.asked = False
        """FIN was sent: everything is there."""
        self.finished = False
        """FIN has come, too."""
        self.files = 0
        """Files that were sent."""
        self.size = 0
        """Bytes of messages that came."""

    def close(self) -> None:
        """Files that haven't come whole leave nothing."""
        for coming in self._written.values():
            if coming.file is not None:
                coming.file.abandon()
        self._coming.clear()
        self._written.clear()
        self._target.close()
        for seed in self._seeds:
            seed.close()

    def feed(self, messages: Iterable[bytes]) -> list[bytes]:
        """What is to be answered. InvalidError for what can't be, StorageError when it can't be written."""
        answers: list[bytes] = []
        for message in messages:
            self.size += len(message)
            type, id, data, entry = packet.decode(message)
            if type == packet.DATA:
                self._data(id, data)
            elif type == packet.STAT:
                if entry is None:
                    self._listed = True
                elif self._listed:
                    raise InvalidError("the client goes on with a list that it had ended")
                else:
                    self._stat(entry, answers)
            elif type == packet.FIN:
                if not self.asked:
                    raise InvalidError("the client ended the transfer before everything was there")
                self.finished = True
            elif type == packet.ERR:
                raise UnavailableError(f"the client could not send it: {data.decode('utf-8', 'replace')[:2000]}")
            else:
                raise InvalidError("the client asks for files, but is the one that has them")
        if self._listed and not self._coming and not self.asked:
            self._complete()
            self.asked = True
            answers.append(packet.FINISHED)
        return answers

    # The list

    def _stat(self, entry: Entry, answers: list[bytes]) -> None:
        self._order.check(entry)
        id = self._count
        self._count += 1
        path = entry.path
        if self._whose is not None:
            entry.uid, entry.gid = self._whose
        known = self._left.pop(path, None)
        try:
            kind = stat.S_IFMT(entry.mode)
            if kind == stat.S_IFDIR:
                self._target.make_directory(entry, known)
            elif known is not None and self._trusted and known.is_same(entry):
                return
            elif kind == stat.S_IFLNK:
                self._target.make_link(entry)
            elif kind != stat.S_IFREG:
                self._target.make_node(entry)
            elif entry.link:
                self._links.append(entry)
            elif not self._found_elsewhere(entry):
                self._coming[id] = _Coming(entry)
                answers.append(packet.request(id))
        except OSError as error:
            raise storage_error(error, path) from error

    def _found_elsewhere(self, entry: Entry) -> bool:
        for seed in self._seeds:
            if (place := seed.find(entry)) is not None:
                try:
                    self._target.adopt(entry, *place)
                except OSError:
                    continue  # it went meanwhile, or has too many links
                return True
        return False

    # Contents

    def _data(self, id: int, data: bytes) -> None:
        coming = self._coming.get(id)
        if coming is None:
            raise InvalidError(f"the client sent contents of a file (number {id}) that it was not asked for")
        try:
            if not data:
                del self._coming[id]
                self._finish(id, coming)
            else:
                self._append(id, coming, data)
        except OSError as error:
            raise storage_error(error, coming.entry.path) from error

    def _append(self, id: int, coming: _Coming, data: bytes) -> None:
        size = len(data)
        coming.arrived += size
        if coming.arrived > coming.entry.size + max(coming.entry.size, MOST_GROWTH):
            raise InvalidError(
                f"the client sends more of {coming.entry.path[:200]!r} than the {coming.entry.size} bytes it has",
                hint="does something write to it? Leave it out with .dockerignore",
            )
        coming.pieces.append(data)
        coming.buffered += size
        self.buffered += size
        if coming.file is not None or coming.buffered > MOST_OF_A_FILE or self.buffered > MOST_BUFFERED:
            self._write(id, coming)

    def _write(self, id: int, coming: _Coming) -> None:
        if coming.file is None:
            if len(self._written) >= MOST_OPEN:
                raise InvalidError(f"the client sends more than {MOST_OPEN} large files at once")
            coming.file = self._target.create(coming.entry)
            self._written[id] = coming
        for piece in coming.pieces:
            coming.file.write(piece)
        coming.pieces.clear()
        self.buffered -= coming.buffered
        coming.buffered = 0

    def _finish(self, id: int, coming: _Coming) -> None:
        self.files += 1
        if coming.file is None:
            pieces = coming.pieces
            self.buffered -= coming.buffered
            self._target.write(coming.entry, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        else:
            coming.file.finish()
            del self._written[id]

    # The end

    def _complete(self) -> None:
        path = ""
        try:
            for entry in self._links:
                path = entry.path
                self._target.make_hard_link(entry)
            for path in sorted(self._left):
                self._target.remove(path)
            path = ""
            self._target.settle()
        except OSError as error:
            raise storage_error(error, path) from error


class _Seed:
    """A directory in which the same files may lie."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path: str | None = None
        self._descriptor = -1

    def find(self, entry: Entry) -> tuple[int, str] | None:
        """Where: an open directory that stays this object's, and the name in it."""
        above, _, name = entry.path.rpartition("/")
        if above != self._path:
            self.close()
            self._path = above
            try:
                self._descriptor = open_directory(self._root, above)
            except OSError:
                self._descriptor = -1
        if self._descriptor < 0:
            return None
        try:
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return None
        same = (
            status.st_mode == entry.mode
            and status.st_size == entry.size
            and status.st_mtime_ns == entry.mtime_ns
            and (status.st_uid, status.st_gid) == (entry.uid, entry.gid)
        )
        return (self._descriptor, name) if same else None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
