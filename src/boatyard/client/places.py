"""Where a daemon of this user lives: the paths that client and daemon must agree on without talking.

Root: /var/lib/boatyard and /run/boatyard. Anybody else: $XDG_DATA_HOME/boatyard and $XDG_RUNTIME_DIR/boatyard.
BOATD_ROOT and BOATD_RUN move them (both programs read these).
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

import msgspec

from boatyard.client.endpoint import Endpoint, UnixEndpoint, parse

SYSTEM_RUN = "/run/boatyard"
SOCKET_NAME = "boatd.sock"
DESCRIPTOR_SOCKET_NAME = "descriptors.sock"
CARD_NAME = "boatd.json"
LOG_NAME = "boatd.log"


class Places(msgspec.Struct, frozen=True):
    root: str
    """What must survive: images, cache, history, the log of a daemon started by a client."""
    run: str
    """Sockets and what dies with the daemon."""
    config: str

    @property
    def socket(self) -> str:
        return f"{self.run}/{SOCKET_NAME}"

    @property
    def log(self) -> str:
        return f"{self.root}/{LOG_NAME}"


class Card(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The daemon's visiting card, a file beside its socket: clients learn its version from it without a request."""

    pid: int
    version: str
    started: float
    root: str
    autostarted: bool = False
    log: str = ""


def places(environ: Mapping[str, str], uid: int) -> Places:
    """Relative paths in the environment are taken from the working directory."""
    if uid == 0:
        root, run, config = "/var/lib/boatyard", SYSTEM_RUN, "/etc/boatyard/boatd.toml"
    else:
        home = environ.get("HOME") or pwd.getpwuid(uid).pw_dir
        root = (environ.get("XDG_DATA_HOME") or f"{home}/.local/share") + "/boatyard"
        # Without a login session there is no XDG_RUNTIME_DIR; a directory beside the data is as private as it is.
        runtime = environ.get("XDG_RUNTIME_DIR")
        run = f"{runtime}/boatyard" if runtime else f"{root}/run"
        config = (environ.get("XDG_CONFIG_HOME") or f"{home}/.config") + "/boatyard/boatd.toml"
    return Places(
        root=os.path.abspath(environ.get("BOATD_ROOT") or root),
        run=os.path.abspath(environ.get("BOATD_RUN") or run),
        config=os.path.abspath(environ.get("BOATD_CONFIG") or config),
    )


def beside(socket: str, name: str) -> str:
    """The file `name` that belongs to the daemon listening at `socket`."""
    return os.path.join(os.path.dirname(socket), name)


def read_card(socket: str) -> Card | None:
    """None when there is none, or it is not (yet) whole."""
    try:
        with open(beside(socket, CARD_NAME), "rb") as file:
            return msgspec.json.decode(file.read(65536), type=Card)
    except (OSError, msgspec.DecodeError):
        return None


def find_daemon(host: str | None, environ: Mapping[str, str], uid: int) -> tuple[Endpoint, bool]:
    """Where to find the daemon, and whether a client may start one there: only where nobody chose an address.

    An explicit `host` (--host) stands before BOAT_HOST, before this user's own daemon, before the system's when its
    socket is there and open to this user (members of its group)."""
    mine = places(environ, uid)
    chosen = host or environ.get("BOAT_HOST")
    if chosen:
        return parse(chosen, environ, os.path.dirname(mine.config)), False
    if uid != 0 and not os.path.exists(mine.socket):
        system = f"{SYSTEM_RUN}/{SOCKET_NAME}"
        if os.access(system, os.R_OK | os.W_OK):
            return UnixEndpoint(system), False
    return UnixEndpoint(mine.socket), True
