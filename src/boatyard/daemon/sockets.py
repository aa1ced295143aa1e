"""The daemon's sockets: made by itself, or handed over by systemd. Unix sockets, TCP, vsock.

Specification of the hand-over: sd_listen_fds(3), sd_notify(3).
"""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boatyard.client.endpoint import TcpEndpoint, UnixEndpoint, VsockEndpoint
from boatyard.client.places import DESCRIPTOR_SOCKET_NAME, beside
from boatyard.daemon.config import Config
from boatyard.daemon.listening import parse_listen, parse_mode
from boatyard.errors import ConflictError, InvalidError, StorageError, UnsupportedError

log = logging.getLogger(__name__)

DEFAULT_GROUP = "boatyard"
_FIRST_PASSED = 3
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_VSOCK)
_MAX_PATH = 107


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound socket. `owned`: made here, so that its file is removed at the end. `path` is empty where it has none."""

    socket: socket.socket
    path: str
    owned: bool
    inode: int = 0

    @property
    def address(self) -> str:
        """As clients write it."""
        if self.path:
            return f"unix://{self.path}"
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_VSOCK:
            return f"vsock://{name[0]}:{name[1]}"
        return str(TcpEndpoint(name[0], name[1]))

    @property
    def tcp(self) -> bool:
        return self.socket.family in (socket.AF_INET, socket.AF_INET6)

    def unlink(self) -> None:
        """Remove the file, so that nobody connects any more, unless somebody has put another one in its place."""
        if not self.owned or not self.path:
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
        if sock.family not in _FAMILIES:
            raise InvalidError(
                f"descriptor {descriptor}, which systemd passed, is no unix, TCP or vsock socket",
                hint="use ListenStream=/PATH in the socket unit",
            )
        found.append(Bound(sock, sock.getsockname() if sock.family == socket.AF_UNIX else "", owned=False))
    return found


def bind(path: str, kind: socket.SocketKind, group: str, owner: int | None = None, mode: int | None = None) -> Bound:
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
        if mode is None:
            mode = 0o600 if gid is None else 0o660
        previous = os.umask(0o777 & ~mode)
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


def bind_tcp(endpoint: TcpEndpoint) -> list[Bound]:
    """One socket for each address that the host's name has; for no name, one that takes them all."""
    if not endpoint.host:
        if socket.has_dualstack_ipv6():
            return [_listening(endpoint, socket.AF_INET6, ("::", endpoint.port))]
        return [_listening(endpoint, socket.AF_INET, ("0.0.0.0", endpoint.port))]
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError as error:
        raise InvalidError(f"can't listen at {endpoint}: {error.strerror}") from error
    bound: list[Bound] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            bound.append(_listening(endpoint, family, address))
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def bind_vsock(endpoint: VsockEndpoint) -> Bound:
    return _listening(endpoint, socket.AF_VSOCK, (endpoint.cid, endpoint.port))


def open_all(config: Config, environ: Mapping[str, str], pid: int) -> tuple[list[Bound], list[Bound]]:
    """The request sockets (streams), and the descriptor sockets (packets), one of these beside each unix one of
    those."""
    given = passed(environ, pid)
    streams = [bound for bound in given if bound.socket.type == socket.SOCK_STREAM]
    packets = [bound for bound in given if bound.socket.type == socket.SOCK_SEQPACKET]
    mode = parse_mode(config.mode) if config.mode else None
    try:
        if not streams:
            for address in config.listen:
                endpoint = parse_listen(address)
                if isinstance(endpoint, UnixEndpoint):
                    streams.append(bind(endpoint.path, socket.SOCK_STREAM, config.group, config.owner, mode))
                elif isinstance(endpoint, VsockEndpoint):
                    streams.append(bind_vsock(endpoint))
                else:
                    streams += bind_tcp(endpoint)
        elif any(bound.tcp for bound in streams) and not (config.tls.ca or config.tls.allow_unauthenticated):
            raise InvalidError(
                "systemd passed a TCP socket, and there is no TLS for it",
                hint="set tls.cert, tls.key and tls.ca; tls.allow_unauthenticated if everybody may",
            )
        for path in dict.fromkeys(beside(one.path, DESCRIPTOR_SOCKET_NAME) for one in streams if one.path):
            if all(packet.path != path for packet in packets):
                packets.append(bind(path, socket.SOCK_SEQPACKET, config.group, config.owner, mode))
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


def _listening(endpoint: TcpEndpoint | VsockEndpoint, family: int, address: Any) -> Bound:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise UnsupportedError(f"can't listen at {endpoint}: the kernel has no such sockets") from error
    try:
        if family != socket.AF_VSOCK:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(f"somebody else listens at {endpoint}", hint="stop it, or listen elsewhere") from error
        raise StorageError(f"can't listen at {endpoint}: {error.strerror}") from error
    return Bound(sock, "", owned=True)


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
