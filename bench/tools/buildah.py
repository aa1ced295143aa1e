"""buildah, without a daemon."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.measure import timed


class Buildah:
    name = "buildah"

    def __init__(self, root: Path) -> None:
        self._root = root

    @staticmethod
    def installed() -> bool:
        return shutil.which("buildah") is not None

    def start(self) -> float:
        self._root.mkdir(parents=True, exist_ok=True)
        return 0.0

    def stop(self) -> None:
        return None

    def pids(self) -> Sequence[int]:
        return []

    def _buildah(self, *arguments: str) -> float:
        storage = ["--root", f"{self._root}/root", "--runroot", f"{self._root}/run", "--storage-driver", "overlay"]
        return timed(["buildah", *storage, *arguments])

    def import_base(self, tar: Path, name: str) -> None:
        context = self._root / "import"
        context.mkdir(parents=True, exist_ok=True)
        shutil.copy(tar, context / "rootfs.tar")
        (context / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
        self.build(context, name)

    def build(self, context: Path, tag: str) -> float:
        # Layers, as the others keep them; the host's network, because a bridge isn't what is measured.
        return self._buildah(
            "bud", "-q", "--layers", "--runtime", "runc", "--network", "host", "-t", f"localhost/{tag}", str(context)
        )

    def export(self, context: Path, archive: Path, compression: str) -> float | None:
        seconds = self.build(context, "bench-export")
        archive.unlink(missing_ok=True)
        format = [] if compression == "gzip" else ["--compression-format", compression]
        return seconds + self._buildah("push", "-q", *format, "localhost/bench-export", f"oci-archive:{archive}")

    def travelling(self, context: Path, cache: str, *, export: bool, archive: Path | None = None) -> float | None:
        return None

    def prune(self) -> None:
        self._buildah("prune", "--all", "--force")
