"""How a registry server is to be, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from boatyard.registry.server.password import COST

if TYPE_CHECKING:
    from boatyard.registry.server.request import Request


@dataclass(frozen=True, slots=True)
class Settings:
    """`root`: a directory of its own. Seconds and bytes."""

    root: str
    objects: str = ""
    """Where blobs are kept in place of `root`: an S3-compatible store, as s3+https://HOST/BUCKET/PREFIX."""
    read_only: bool = False
    """Nothing is pushed and nothing deleted."""
    grace: float = 24 * 3600.0
    """How long a blob is kept that no manifest names (yet)."""
    collect_every: float = 0.0
    """Between two garbage collections; 0: only when somebody asks for one."""
    collect_untagged: bool = False
    """Whether they remove manifests that no tag leads to."""
    mirror_of: str = ""
    """A registry whose images are given from here, and fetched when they aren't here yet. Nothing is pushed then."""
    mirror_plain_http: bool = False
    auth: bool = False
    anonymous_pull: bool = False
    """With `auth`: whether anybody may pull."""
    service: str = "boatyard-registry"
    """What tokens are for."""
    public_url: str = ""
    """How clients reach this registry, when it isn't as their requests say: behind a proxy."""
    token_lifetime: float = 300.0
    password_cost: int = COST
    """Of scrypt, for passwords that are set from now on."""
    rate: float = 0.0
    """Requests a second of one user, or of one address; 0: any number."""
    burst: float = 200.0

    def base(self, request: Request) -> str:
        """Where clients reach it."""
        if self.public_url:
            return self.public_url.rstrip("/")
        return f"{request.scope['scheme']}://{request.header(b'host') or 'localhost'}"
