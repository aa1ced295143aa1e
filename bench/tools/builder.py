"""What the harness asks of a builder, as a protocol. Each implementation starts its own daemon on a private root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Builder(Protocol):
    name: str

    def start(self) -> float:
        """Start the daemon. Seconds until it answered the first request (0: it has none)."""

    def stop(self) -> None: ...
    def pids(self) -> Sequence[int]:
        """The processes whose memory counts."""

    def import_base(self, tar: Path, name: str) -> None:
        """Make an image of a root file system."""

    def build(self, context: Path, tag: str) -> float:
        """Build and store under a tag. Wall seconds of the command."""

    def export(self, context: Path, archive: Path, compression: str) -> float | None:
        """Build to an OCI archive; None where the builder can't."""

    def travelling(self, context: Path, cache: str, *, export: bool, archive: Path | None = None) -> float | None:
        """Build and export the cache of all steps to a registry's reference, or build with it, perhaps to an OCI
        archive; None where the builder can't."""

    def prune(self) -> None:
        """Forget all build cache."""
