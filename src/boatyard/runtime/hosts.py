"""The files about names that every container gets: /etc/hosts, /etc/resolv.conf, /etc/hostname.

Specification: hosts(5), resolv.conf(5).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boatyard.errors import InvalidError
from boatyard.runtime.container import HOST_GATEWAY

RESOLV_CONF = Path("/etc/resolv.conf")
UPSTREAM_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved writes the servers behind its own stub on 127.0.0.53."""

LOOPBACK = "127.0.0.1"

PUBLIC_NAMESERVERS = ("8.8.8.8", "8.8.4.4")
"""What Docker falls back to when the host's servers can't be reached from a network of one's own."""


def hosts_file(hostname: str, extra: Iterable[tuple[str, str]] = (), address: str = "", gateway: str = LOOPBACK) -> str:
    """/etc/hosts. `extra` are (name, address) pairs; `address` is the container's own, when it has one; `gateway` that
    of the host, "" when it can't be reached, which leaves its names out. Raises InvalidError for what is not an
    address.
    """
    lines = [
        f"127.0.0.1\tlocalhost{'' if address or not hostname else ' ' + hostname}",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "ff00::0\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    if address and hostname:
        lines.append(f"{address}\t{hostname}")
    for name, value in extra:
        if value == HOST_GATEWAY:
            if not gateway:
                continue
            value = gateway
        try:
            parsed = ipaddress.ip_address(value)
        except ValueError as error:
            raise InvalidError(f"extra host {name}: {value!r} is not an IP address") from error
        if not name or any(character.isspace() or character == "#" for character in name):
            raise InvalidError(f"extra host {name!r}: a host name has no spaces and no #")
        lines.append(f"{parsed}\t{name}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Resolver:
    """What resolv.conf says. Lines that are none of these are not kept."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def over(self, other: Resolver) -> Resolver:
        """What this one says, and the rest of the other."""
        return Resolver(
            self.nameservers or other.nameservers, self.search or other.search, self.options or other.options
        )

    def render(self) -> str:
        lines = [f"nameserver {server}" for server in self.nameservers]
        if self.search:
            lines.append("search " + " ".join(self.search))
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "".join(line + "\n" for line in lines)


def parse_resolver(text: str) -> Resolver:
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            # The last of them counts.
            search = tuple(words[1:])
        elif words[0] == "options":
            options.extend(words[1:])
    return Resolver(tuple(nameservers), search, tuple(options))


def reachable_nameservers(servers: Sequence[str]) -> tuple[str, ...]:
    """Those that can be reached from another network namespace: not the host's loopback, nor a link-local address
    with its interface.
    """
    kept = []
    for server in servers:
        try:
            address = ipaddress.ip_address(server)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_link_local):
            kept.append(server)
    return tuple(kept)


def host_resolver(resolv_conf: Path = RESOLV_CONF) -> Resolver:
    try:
        return parse_resolver(resolv_conf.read_text(errors="replace"))
    except OSError:
        return Resolver()


def sandbox_resolver(resolv_conf: Path = RESOLV_CONF, upstream: Path = UPSTREAM_RESOLV_CONF) -> tuple[Resolver, bool]:
    """The resolver for a container with a network of its own, and whether it is the host's (False: public servers had
    to be taken).
    """
    resolver = host_resolver(resolv_conf)
    servers = reachable_nameservers(resolver.nameservers)
    if not servers and upstream.exists():
        resolver = host_resolver(upstream)
        servers = reachable_nameservers(resolver.nameservers)
    return Resolver(servers or PUBLIC_NAMESERVERS, resolver.search, resolver.options), bool(servers)
