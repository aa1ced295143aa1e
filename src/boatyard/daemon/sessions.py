"""The daemon's registry of sessions, and what builds need of it. Loaded when the first client opens a session, or asks
for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from boatyard.build.source.occupancy import Occupancy
from boatyard.image.snapshot.area import remove_tree

if TYPE_CHECKING:
    from boatyard.api.buildkit.requester import Places
    from boatyard.session.registry import Sessions


class SessionHouse:
    """One per daemon, shared by all of its faces: a session that one of them took in serves builds of any other.
    `sockets` is a directory of its own, with a short path; `scratch` one on the file system of the snapshots."""

    def __init__(self, mirrors: Path, occupancy: Occupancy, sockets: Path, scratch: Path) -> None:
        self._mirrors = mirrors
        self._occupancy = occupancy
        self._sockets = sockets
        self._scratch = scratch
        self._sessions: Sessions | None = None
        self._places: Places | None = None

    def close(self) -> None:
        if self._places is not None:
            remove_tree(str(self._sockets))

    def registry(self) -> Sessions:
        if self._sessions is None:
            from boatyard.session.registry import Sessions

            self._sessions = Sessions()
        return self._sessions

    def places(self) -> Places:
        if self._places is None:
            from boatyard.api.buildkit.requester import Places
            from boatyard.session.mirrors import Mirrors

            if self._sockets.exists():
                remove_tree(str(self._sockets))  # of a daemon that was killed
            self._sockets.mkdir(mode=0o700, parents=True)
            self._places = Places(
                self.registry(), Mirrors(self._mirrors, self._occupancy), self._sockets, self._scratch
            )
        return self._places

    def end_all(self, reason: str) -> None:
        if self._sessions is not None:
            self._sessions.end_all(reason)
