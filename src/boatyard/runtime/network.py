"""The networks a container can have, behind one small interface; what "default" means on this host.

The bridge itself is in `bridge.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Mode(Enum):
    """The configuration's word for Network.DEFAULT."""

    AUTO = "auto"
    """A bridge where this host can have one, else the host's network."""
    BRIDGE = "bridge"
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A network namespace that is one container's for a while."""

    descriptor: int
    """Of the namespace."""
    address: str
    """The container's own, inside."""
    gateway: str
    """The host's, as seen from inside."""
    number: int
    """Its place among the pool's addresses."""


class SandboxPool(Protocol):
    """Hands out sandboxes. Blocking, thread-safe."""

    @property
    def gateway(self) -> str:
        """The host's address, as seen from inside."""

    def acquire(self) -> Sandbox: ...
    def release(self, sandbox: Sandbox, *, tainted: bool) -> None:
        """`tainted` ones (their container could change them) are not used again."""
        ...

    def close(self) -> None: ...
