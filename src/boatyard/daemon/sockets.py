"""The daemon's sockets: made by itself, or handed over by systemd.

Specification of the hand-over: sd_listen_fds(3), sd_notify(3).
"""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from boatyard.client.places import DESCRIPTOR_SOCKET_NAME, beside
from boatyard.errors import ConflictError, InvalidError, StorageError

log = logging.getLogger(__name__)

DEFAULT_GROUP = "boatyard"
_FIRST_PASSED = 3
_MAX_PATH = 107


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound socket. `owned`: made here, so that its file is removed at the end."""

    socket: socket.socket
    path: str
    owned: bool
    inode: int = 0

    def unlink(self) -> None:
        """Remove the file, so that nobody connects any more, unless somebody has put another one in its place."""
        if not self.owned:
            return
        try:
            if os.stat(self.path).st_ino == self.inode:
                os.unlink(self.path)
        except FileNotFoundError:
            log.debug("%s is gone already", self.path)

    def close(self) -> None:
        self.unlink()
        self.socket.close()


def passed(environ: Mapping[str, str], pid: int) -> list[Bound]:
    """The listening sockets systemd handed over; none when it didn't."""
    if environ.get("LISTEN_PID") != str(pid):
        return []
    text = environ.get("LISTEN_FDS", "0")
    if not text.isdigit():
        raise InvalidError(f"LISTEN_FDS is {text!r}, not a number")
    found = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + int(text)):
        os.set_inheritable(descriptor, False)
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise InvalidError(
                f"descriptor {descriptor}, which systemd passed, is no socket: {error.strerror}"
            ) from error
        if sock.family != socket.AF_UNIX:
            raise InvalidError(
                f"descriptor {descriptor}, which systemd passed, is no unix socket",
                hint="use ListenStream=/PATH in the socket unit",
            )
        found.append(Bound(sock, sock.getsockname(), owned=False))
    return found


def bind(path: str, kind: socket.SocketKind, group: str, owner: int | None = None) -> Bound:
    """A new unix socket for the daemon's user, or another `owner`, and the group's members. A stale file in its place
    is removed. ConflictError when somebody answers there."""
    if len(os.fsencode(path)) > _MAX_PATH:
        raise InvalidError(
            f"the socket path {path} is longer than {_MAX_PATH} bytes",
            hint="choose a shorter run directory with --run or BOATD_RUN",
        )
    gid = _gid(group)
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        _remove_stale(path, kind)
        # The mode is right from the first moment: nobody can connect before chmod.
        previous = os.umask(0o177 if gid is None else 0o117)
        try:
            sock.bind(path)
        finally:
            os.umask(previous)
        if gid is not None or owner is not None:
            os.chown(path, -1 if owner is None else owner, -1 if gid is None else gid)
    except OSError as error:
        sock.close()
        raise StorageError(f"can't make the socket {path}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return Bound(sock, path, owned=True, inode=os.stat(path).st_ino)


def open_all(
    addresses: tuple[str, ...], group: str, environ: Mapping[str, str], pid: int, *, owner: int | None = None
) -> tuple[list[Bound], list[Bound]]:
    """The request sockets (streams) and the descriptor sockets (packets), one of these beside each of those."""
    given = passed(environ, pid)
    streams = [bound for bound in given if bound.socket.type == socket.SOCK_STREAM]
    packets = [bound for bound in given if bound.socket.type == socket.SOCK_SEQPACKET]
    try:
        if not streams:
            for address in addresses:
                streams.append(bind(address.removeprefix("unix://"), socket.SOCK_STREAM, group, owner))
        for path in dict.fromkeys(beside(stream.path, DESCRIPTOR_SOCKET_NAME) for stream in streams):
            if all(packet.path != path for packet in packets):
                packets.append(bind(path, socket.SOCK_SEQPACKET, group, owner))
    except BaseException:
        for bound in (*streams, *packets):
            bound.close()
        raise
    return streams, packets


def notify(environ: Mapping[str, str], state: str) -> None:
    """Tell systemd, if it asked to be told ("READY=1", "STOPPING=1")."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("can't notify systemd at %s: %s", address, error)


def _remove_stale(path: str, kind: socket.SocketKind) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConflictError(f"{path} exists and is no socket", hint="remove it, or listen elsewhere")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            pass  # nobody listens: its daemon was killed
        except OSError as error:
            raise ConflictError(f"{path} is in use: {error.strerror}", hint="listen elsewhere") from error
        else:
            raise ConflictError(
                f"another daemon listens at {path}", hint="stop it (`boat daemon stop`), or listen elsewhere"
            )
    os.unlink(path)


def _gid(name: str) -> int | None:
    if not name:
        return None
    try:
        gid = int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        if name == DEFAULT_GROUP:
            return None
        raise InvalidError(f"there is no group {name!r}", hint=f"make it (`groupadd {name}`), or set another") from None
    # Somebody else's group can't be set without privileges; the default is then only a default.
    return None if name == DEFAULT_GROUP and os.geteuid() != 0 else gid
