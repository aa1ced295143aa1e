"""What this daemon is to BuildKit's clients: one worker, with an ID and labels.

Label names: moby/buildkit `worker/label`.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

PREFIX = "org.mobyproject.buildkit.worker."
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 25


def identity(root: Path) -> str:
    """The worker's ID, which stays with its root. Blocks."""
    path = root / "workerid"
    try:
        found = path.read_text()
    except FileNotFoundError:
        found = ""
    if len(found) == _ID_LENGTH and set(found) <= set(_ALPHABET):
        return found
    made = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    draft = path.with_suffix(".new")
    draft.write_text(made)
    os.replace(draft, path)
    return made


def labels(own: Mapping[str, str], *, snapshotter: str, network: str, gateway: str = "") -> dict[str, str]:
    """BuildKit's labels, and the configuration's, which may replace them. `network` is what steps get by default,
    `gateway` where they reach this host: buildx looks for it under the name that dockerd gave it."""
    snapshotters = {"overlay": "overlayfs", "copy": "native"}
    return {
        f"{PREFIX}executor": "oci",
        f"{PREFIX}snapshotter": snapshotters.get(snapshotter, snapshotter),
        f"{PREFIX}hostname": socket.gethostname() or "unknown",
        f"{PREFIX}network": network,
        f"{PREFIX}oci.process-mode": "sandbox",
        f"{PREFIX}selinux.enabled": "false",
        **({f"{PREFIX}moby.host-gateway-ip": gateway} if gateway else {}),
        **own,
    }
