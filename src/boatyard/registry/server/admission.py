"""Somebody who was let in, and what they may. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from boatyard.registry.server.grants import EVERYTHING, Grant, Scope, allowed, narrowed

ANYBODY = (Grant("*", frozenset(("pull",))),)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody, and what they may: by a token's scopes or, where there is none, by their grants alone."""

    user: str
    limits: tuple[Sequence[Grant], ...]
    access: frozenset[tuple[str, str, str]] | None = None
    """Type, name and action, already within the limits."""
    session: bool = False
    token: str = ""

    def may(self, type: str, name: str, action: str) -> bool:
        if self.access is not None:
            return (type, name, action) in self.access
        return any(action in scope.actions for scope in narrowed([Scope(type, name, (action,))], *self.limits))

    def may_on(self, name: str, action: str) -> bool:
        """Whether the grants allow it, whatever a token was asked for."""
        return all(action in allowed(grants, name) for grants in self.limits)


EVERYBODY = Admitted("", (EVERYTHING,))
