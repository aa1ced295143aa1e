"""Which snapshotter this host can have below a directory: overlayfs where it mounts, copies elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from boatyard.errors import BoatyardError, UnsupportedError
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.snapshot.overlay import OverlaySnapshotter
from boatyard.image.snapshot.snapshotter import Snapshotter

log = logging.getLogger(__name__)


def choose_snapshotter(root: Path, wanted: Literal["auto", "overlayfs", "native"] = "auto") -> Snapshotter:
    """Tried by doing: a mount with something below, and a write to it. UnsupportedError when overlayfs is `wanted` and
    doesn't work; "native" is copies. Blocks."""
    if wanted == "native":
        return CopyingSnapshotter(root)
    overlay = OverlaySnapshotter(root)
    overlay.cleanup()
    snapshots = [overlay.prepare(), overlay.prepare()]
    try:
        with overlay.mount([], active=snapshots[0]) as tree:
            (tree / "probe").touch()
        overlay.commit(snapshots[0])
        with overlay.mount(snapshots[:1], active=snapshots[1]) as tree:
            (tree / "probe").unlink()
        return overlay
    except (BoatyardError, OSError) as error:
        if wanted == "overlayfs":
            raise UnsupportedError(
                f"overlayfs doesn't work below {root}: {error}", hint="let the daemon choose: snapshotter auto"
            ) from error
        log.warning("overlayfs doesn't work below %s (%s): layers are copied, which is slow", root, error)
        return CopyingSnapshotter(root)
    finally:
        for snapshot in snapshots:
            overlay.remove(snapshot)
