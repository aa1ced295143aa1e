"""What a registry is given to be let in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credential:
    """A name and its password, or a refresh token (`identity_token`), or a token that is sent as it is
    (`registry_token`). Never shown: its `repr` hides everything but the name."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r})"

    @property
    def key(self) -> str:
        """Tells it from others, and nothing about it."""
        text = "\0".join((self.username, self.password, self.identity_token, self.registry_token))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Credentials(Protocol):
    """Where they come from. May block: a helper program or the client of a build is asked."""

    def get(self, host: str) -> Credential | None:
        """For a registry's domain as references name it; None where there are none."""


class Anonymous:
    """No credentials for anybody."""

    def get(self, host: str) -> Credential | None:
        return None
