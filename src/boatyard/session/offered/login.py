"""What this client knows to be let in at one registry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Login:
    """All empty when nothing is known. An identity token stands for a name and password; a registry token is sent as
    it is. `repr` shows the name alone."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def secret(self) -> str:
        return self.identity_token or self.password

    @property
    def user(self) -> str:
        """An identity token comes without one."""
        return "" if self.identity_token else self.username

    def __repr__(self) -> str:
        return f"Login(username={self.username!r})"
