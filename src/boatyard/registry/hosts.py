"""Where a registry's API is served: itself or a mirror, over TLS or not. Values only."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from boatyard.errors import InvalidError
from boatyard.image.reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host` may have a port. `prefix`: a path before `/v2/`, without a slash at its end. `ca`: files of certificates
    that are trusted besides the system's. `keypairs`: files of certificates and
    their keys, to be known by; of those that would do for a server, the first."""

    host: str
    plain: bool = False
    verify: bool = True
    ca: tuple[str, ...] = ()
    keypairs: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    mirror_of: str = ""
    """The registry's domain, when this isn't the registry itself."""

    @property
    def base(self) -> str:
        return f"{'http' if self.plain else 'https'}://{self.host}{self.prefix}"


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What is configured for one registry. `mirrors`: hosts (or URLs) that are asked first, in order. `http`: no TLS.
    `insecure`: TLS without verifying who answers."""

    mirrors: tuple[str, ...] = ()
    http: bool = False
    insecure: bool = False
    ca: tuple[str, ...] = ()
    keypairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Hosts:
    """By a registry's domain, as references name it."""

    settings: Mapping[str, HostSettings] = field(default_factory=dict)

    def origin(self, domain: str) -> Endpoint:
        """The registry itself. Without settings, those on this machine are spoken to without TLS, as is the custom."""
        settings = self.settings.get(domain)
        if settings is None:
            return Endpoint(_HUB) if domain == DEFAULT_DOMAIN else Endpoint(domain, plain=is_loopback(domain))
        return _endpoint(_HUB if domain == DEFAULT_DOMAIN else domain, settings)

    def endpoints(self, domain: str) -> tuple[Endpoint, ...]:
        """Where to read from: the mirrors, then the registry."""
        settings = self.settings.get(domain)
        mirrors = settings.mirrors if settings else ()
        return (*(self._mirror(mirror, domain) for mirror in mirrors), self.origin(domain))

    def _mirror(self, text: str, domain: str) -> Endpoint:
        scheme, separator, rest = text.partition("://")
        if separator and scheme not in ("http", "https"):
            raise InvalidError(f"the mirror {text!r} of {domain} is no http(s) address")
        host, _, path = (rest if separator else text).partition("/")
        if not host:
            raise InvalidError(f"the mirror {text!r} of {domain} names no host")
        settings = self.settings.get(host)
        endpoint = _endpoint(host, settings) if settings else Endpoint(host, plain=is_loopback(host))
        return Endpoint(
            host,
            plain=scheme == "http" if separator else endpoint.plain,
            verify=endpoint.verify,
            ca=endpoint.ca,
            keypairs=endpoint.keypairs,
            prefix=f"/{path.strip('/')}" if path.strip("/") else "",
            mirror_of=domain,
        )


def _endpoint(host: str, settings: HostSettings) -> Endpoint:
    return Endpoint(host, plain=settings.http, verify=not settings.insecure, ca=settings.ca, keypairs=settings.keypairs)


def is_loopback(host: str) -> bool:
    """Whether a host (perhaps with a port) is this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
