"""What the daemon remembers of clients' directories from build to build: status indexes, and notes on copies."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path

from boatyard.build.copying import reuse
from boatyard.build.copying.reuse import Note
from boatyard.build.tree.index import StatIndex, StatIndexes, drop_oldest

log = logging.getLogger(__name__)

MOST_NOTES = 256
"""On disk."""
MOST_FILES_IN_MEMORY = 100_000
"""Files of all notes that are kept in memory."""


class ContextMemory:
    """One per daemon; thread-safe. Everything in `directory` can be lost: files are then read and copied again."""

    def __init__(self, directory: Path) -> None:
        self._indexes = StatIndexes(directory / "indexes")
        self._directory = directory / "copies"
        self._lock = threading.Lock()
        self._notes: dict[str, Note] = {}
        for half_written in (*self._directory.glob("*.*"), *(directory / "indexes").glob("*.*")):
            if half_written.suffix != ".index":
                half_written.unlink()

    def index(self, identity: str) -> StatIndex:
        """Of the directory that a client names so."""
        return self._indexes.of(identity)

    def note(self, key: str) -> Note | None:
        """What the step with this key copied last."""
        name = _file_name(key)
        with self._lock:
            note = self._notes.pop(name, None)
            if note is None:
                try:
                    note = reuse.decode((self._directory / name).read_bytes())
                except OSError:
                    return None
            if note is not None:
                self._notes[name] = note
            return note

    def keep(self, key: str, note: Note) -> None:
        name = _file_name(key)
        with self._lock:
            self._notes.pop(name, None)
            self._notes[name] = note
            files = sum(len(each.files) for each in self._notes.values())
            while files > MOST_FILES_IN_MEMORY and len(self._notes) > 1:
                files -= len(self._notes.pop(next(iter(self._notes))).files)
        temporary = self._directory / f"{name}.{os.urandom(4).hex()}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(reuse.encode(note))
            os.replace(temporary, self._directory / name)
            drop_oldest(self._directory, MOST_NOTES, suffix="")
        except OSError as error:
            log.warning("can't note what was copied from a context: %s", error)
            temporary.unlink(missing_ok=True)


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
