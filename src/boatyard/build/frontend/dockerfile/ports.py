"""What EXPOSE names: `80`, `8000-8010/udp`; tolerated: an address and a host port in front (`127.0.0.1:8080:80`)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from boatyard.errors import InvalidError

_PROTOCOLS = ("tcp", "udp", "sctp")
_HIGHEST = 65535
_HINT = "ports look like 80, 80/udp or 8000-8010/tcp"


@dataclass(frozen=True, slots=True)
class PortRange:
    """`text` is as written. `address` and `host` are of no use here: lint remarks on them, and on a `protocol` that
    isn't in lower case."""

    text: str
    first: int
    last: int
    protocol: str
    address: str = ""
    host: str = ""

    def names(self) -> tuple[str, ...]:
        """`80/tcp` for each port, as the image config has them."""
        return tuple(f"{port}/{self.protocol.lower()}" for port in range(self.first, self.last + 1))


def parse_port(text: str) -> PortRange:
    """One word of EXPOSE, after expansion. InvalidError when it is no port."""
    front, _, container = text.rpartition(":")
    address, _, host = front.rpartition(":")
    port, _, protocol = container.partition("/")
    protocol = protocol or "tcp"
    if protocol.lower() not in _PROTOCOLS:
        raise InvalidError(
            f"unknown protocol {protocol!r} in the port {text!r}", hint="protocols are tcp, udp and sctp"
        )
    if address:
        _check_address(address, text)
    first, last = _range(port, text)
    if host:
        host_first, host_last = _range(host, text)
        if first != last and host_last - host_first != last - first:
            raise InvalidError(f"the two port ranges in {text!r} differ in length", hint=_HINT)
    return PortRange(text, first, last, protocol, address, host)


def _check_address(address: str, text: str) -> None:
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        ipaddress.ip_address(bare)
    except ValueError as error:
        raise InvalidError(f"invalid address {address!r} in the port {text!r}", hint=_HINT) from error


def _range(ports: str, text: str) -> tuple[int, int]:
    first, dash, last = ports.partition("-")
    low = _number(first, text)
    high = _number(last, text) if dash else low
    if high < low:
        raise InvalidError(f"the port range {ports!r} in {text!r} goes backwards", hint=_HINT)
    return low, high


def _number(port: str, text: str) -> int:
    if not (port.isascii() and port.isdecimal()):
        raise InvalidError(f"invalid port {text!r}", hint=_HINT)
    if len(port.lstrip("0")) > 5 or int(port) > _HIGHEST:
        raise InvalidError(f"invalid port {text!r}: the highest is {_HIGHEST}", hint=_HINT)
    return int(port)
