"""How a registry server is to be, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`root`: a directory of its own. Seconds and bytes."""

    root: str
    read_only: bool = False
    """Nothing is pushed and nothing deleted."""
    grace: float = 3600.0
    """How long a blob is kept that no manifest names (yet)."""
