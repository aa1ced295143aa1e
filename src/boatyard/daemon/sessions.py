"""The daemon's registry of sessions. What it is made of is loaded when the first client opens one, or asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boatyard.session.registry import Sessions


class SessionHouse:
    """One per daemon, shared by all of its faces: a session that one of them took in serves builds of any other."""

    def __init__(self) -> None:
        self._sessions: Sessions | None = None

    def registry(self) -> Sessions:
        if self._sessions is None:
            from boatyard.session.registry import Sessions

            self._sessions = Sessions()
        return self._sessions
