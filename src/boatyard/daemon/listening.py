"""Where the daemon listens, as its configuration says it, and who may come: pure, no socket is touched."""

from __future__ import annotations

import msgspec

from boatyard.client.endpoint import TLS_PORT, Endpoint, TcpEndpoint, UnixEndpoint, VsockEndpoint, number, split_port
from boatyard.errors import InvalidError

ANY_CID = 0xFFFFFFFF


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files for TCP. Clients need a certificate of `ca`."""

    cert: str = ""
    key: str = ""
    ca: str = ""
    allow_unauthenticated: bool = False
    """Serve TCP clients that prove nothing: without TLS where there is no `cert`, any client where there is no `ca`."""


def check_address(address: str, tls: TlsConfig) -> None:
    """InvalidError when it is nowhere to listen at, or would let in clients that prove nothing, and nobody asked for
    that."""
    kind = parse_listen(address)
    if bool(tls.cert) != bool(tls.key):
        raise InvalidError("TLS needs a certificate and its key", hint="set tls.cert and tls.key")
    if not isinstance(kind, TcpEndpoint) or tls.allow_unauthenticated:
        return
    if not tls.cert:
        raise InvalidError(
            f"can't listen at {address!r} without TLS: whoever reaches it could become root here",
            hint="set tls.cert, tls.key and tls.ca; tls.allow_unauthenticated if everybody may",
        )
    if not tls.ca:
        raise InvalidError(
            f"can't listen at {address!r} without tls.ca: clients could not be told apart",
            hint="set tls.ca; tls.allow_unauthenticated if everybody may",
        )


def parse_mode(text: str) -> int | None:
    """Octal; None when that is no mode of a socket."""
    try:
        mode = int(text, 8)
    except ValueError:
        return None
    return mode if mode <= 0o777 else None


def parse_listen(address: str) -> Endpoint:
    """InvalidError when it is nowhere to listen at. An empty host is every interface, an empty CID every one."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme == "unix" and rest.startswith("/"):
        return UnixEndpoint(rest)
    if separator and scheme == "tcp":
        return TcpEndpoint(*split_port(rest, address, TLS_PORT))
    if separator and scheme == "vsock":
        cid, port = split_port(rest, address, None)
        return VsockEndpoint(number(cid, address) if cid else ANY_CID, port)
    raise InvalidError(
        f"can't listen at {address!r}: unix, tcp and vsock addresses are supported",
        hint="write unix:///PATH, tcp://HOST:PORT or vsock://CID:PORT",
    )
