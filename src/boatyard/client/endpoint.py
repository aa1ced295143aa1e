"""Where a daemon answers: a unix socket, TCP with TLS, or a vsock; and how to get there.

Addresses are `unix:///PATH`, `tcp://HOST:PORT` and `vsock://CID:PORT`. TCP means TLS, with the certificates of a
directory, unless BOAT_TLS_VERIFY is 0.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from boatyard.client.failure import SEE_ITS_LOG
from boatyard.errors import BoatyardError, DeniedError, InvalidError, NotFoundError, UnavailableError, UnsupportedError

if TYPE_CHECKING:
    import asyncio
    import ssl

TLS_PORT = 2376
PLAIN_PORT = 2375
"""As Docker's."""
_NO = ("0", "false", "no", "off")
_HINT = "start one with `boatd`, or correct --host or BOAT_HOST"


class Certificates(msgspec.Struct, frozen=True):
    """PEM files; empty where there is none."""

    ca: str = ""
    cert: str = ""
    key: str = ""


class UnixEndpoint(msgspec.Struct, frozen=True):
    path: str

    def __str__(self) -> str:
        return self.path

    def connect(self, timeout: float | None) -> socket.socket:
        """OSError when nobody listens."""
        return _connected(socket.AF_UNIX, self.path, timeout)

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        import asyncio

        return await asyncio.open_unix_connection(self.path, limit=limit)


class TcpEndpoint(msgspec.Struct, frozen=True):
    host: str
    port: int
    certificates: Certificates | None = None
    """None: without TLS."""

    def __str__(self) -> str:
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def connect(self, timeout: float | None) -> socket.socket:
        """OSError when nobody listens, or the certificates are not accepted by either end."""
        context = self._context()
        connection = socket.create_connection((self.host, self.port), timeout)
        if context is None:
            return connection
        try:
            return context.wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        import asyncio

        return await asyncio.open_connection(self.host, self.port, limit=limit, ssl=self._context())

    def _context(self) -> ssl.SSLContext | None:
        if self.certificates is None:
            return None
        from boatyard.wire import tls

        return tls.client_context(self.certificates.cert, self.certificates.key, self.certificates.ca)


class VsockEndpoint(msgspec.Struct, frozen=True):
    cid: int
    port: int

    def __str__(self) -> str:
        return f"vsock://{self.cid}:{self.port}"

    def connect(self, timeout: float | None) -> socket.socket:
        """OSError when nobody listens, or the kernel has no vsock."""
        return _connected(socket.AF_VSOCK, (self.cid, self.port), timeout)

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        import asyncio

        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (self.cid, self.port))
            return await asyncio.open_connection(sock=sock, limit=limit)
        except BaseException:
            sock.close()
            raise


Endpoint = UnixEndpoint | TcpEndpoint | VsockEndpoint


def parse(host: str, environ: Mapping[str, str], config: str) -> Endpoint:
    """An address, or a bare absolute path. `config` is the directory of this user's configuration, where certificates
    are kept unless the environment says where.

    InvalidError for what is malformed, UnsupportedError for other kinds of address."""
    scheme, separator, rest = host.partition("://")
    if not separator and host.startswith("/"):
        return UnixEndpoint(host)
    if separator and scheme == "unix":
        return UnixEndpoint(os.path.abspath(rest))
    if separator and scheme == "tcp":
        plain = environ.get("BOAT_TLS_VERIFY", "").lower() in _NO
        name, port = split_port(rest, host, PLAIN_PORT if plain else TLS_PORT)
        return TcpEndpoint(name or "localhost", port, None if plain else certificates(environ, config))
    if separator and scheme == "vsock":
        cid, port = split_port(rest, host, None)
        return VsockEndpoint(number(cid, host), port)
    raise UnsupportedError(
        f"can't reach a daemon at {host!r}: unix, tcp and vsock addresses are supported",
        hint="such as unix:///run/boatyard/boatd.sock or tcp://host:2376",
    )


def split_port(text: str, address: str, default: int | None) -> tuple[str, int]:
    """HOST:PORT, [IPv6]:PORT or HOST. `address` is what errors name."""
    text = text.rstrip("/")
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise InvalidError(f"{address!r} is no address: a bracket without end")
        port = rest[1:]
    else:
        host, _, port = text.partition(":") if text.count(":") < 2 else (text, "", "")
    if not port:
        if default is None:
            raise InvalidError(f"{address!r} names no port")
        return host, default
    found = number(port, address)
    if found > 65535 and not address.startswith("vsock"):
        raise InvalidError(f"{address!r} has no such port: {port}")
    return host, found


def number(text: str, address: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 32):
        raise InvalidError(f"{address!r} is no address: {text!r} is not a number")
    return int(text)


def certificates(environ: Mapping[str, str], config: str) -> Certificates:
    """Those of BOAT_CERT_PATH, which must be there, or of the configuration's `tls` directory, as far as they are; any
    of them may be named by itself (BOAT_TLS_CACERT, BOAT_TLS_CERT, BOAT_TLS_KEY)."""
    directory = environ.get("BOAT_CERT_PATH", "")
    if directory and not os.path.isfile(f"{directory}/ca.pem"):
        raise NotFoundError(f"there is no ca.pem in {directory}", hint="BOAT_CERT_PATH names a directory with one")
    found = {
        kind: environ.get(f"BOAT_TLS_{variable}") or _present(f"{directory or f'{config}/tls'}/{kind}.pem")
        for kind, variable in (("ca", "CACERT"), ("cert", "CERT"), ("key", "KEY"))
    }
    if bool(found["cert"]) != bool(found["key"]):
        raise InvalidError(
            f"a certificate needs its key, and a key its certificate: there is only {found['cert'] or found['key']}"
        )
    return Certificates(**found)


def unreachable(endpoint: Endpoint, error: OSError) -> BoatyardError:
    """The error for a daemon that can't be connected to."""
    if isinstance(endpoint, UnixEndpoint):
        if isinstance(error, PermissionError):
            return DeniedError(
                f"not allowed to talk to the daemon at {endpoint}",
                hint="join the group that owns the socket, or run `boat` as the daemon's user",
            )
        why = "nothing is there" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        return UnavailableError(f"no daemon answers at {endpoint}: {why}", hint=_HINT)
    return _tls_problem(endpoint, error) or UnavailableError(
        f"no daemon answers at {endpoint}: {error.strerror or error}", hint=_HINT
    )


def lost(endpoint: Endpoint, error: OSError) -> BoatyardError:
    """The error for a daemon that could be connected to, and then was gone."""
    return _tls_problem(endpoint, error) or UnavailableError(
        f"lost the daemon at {endpoint}: {error.strerror or error}", hint=refused_certificate(endpoint) or SEE_ITS_LOG
    )


def refused_certificate(endpoint: Endpoint) -> str:
    """What to try when a daemon ends a connection before it answers; empty where TLS isn't the reason. Since TLS 1.3
    a client takes the handshake for done before the server has looked at its certificate."""
    if not isinstance(endpoint, TcpEndpoint):
        return ""
    if endpoint.certificates is None:
        return "it may speak TLS only: try without BOAT_TLS_VERIFY=0"
    if endpoint.certificates.cert:
        return f"it may not accept the certificate {endpoint.certificates.cert}"
    return "it may want a certificate, and there is none: see BOAT_CERT_PATH"


def _tls_problem(endpoint: Endpoint, error: OSError) -> BoatyardError | None:
    reason: Any = getattr(error, "reason", None)
    if not isinstance(reason, str):  # not OpenSSL's
        return None
    verify = getattr(error, "verify_message", "")
    return DeniedError(
        f"can't talk TLS with the daemon at {endpoint}: {verify or reason.replace('_', ' ').lower()}",
        hint="the daemon and this user need certificates of one authority: see BOAT_CERT_PATH",
    )


def _present(path: str) -> str:
    return path if os.path.isfile(path) else ""


def _connected(family: int, address: Any, timeout: float | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
