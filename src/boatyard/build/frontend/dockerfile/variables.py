"""Variables of a build: a stage's environment, the predefined arguments, the proxies.

Specification: the Dockerfile reference, "ARG", "Automatic platform ARGs", "Predefined ARGs".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boatyard.build.llb.graph import ProxyEnv
from boatyard.image.platform import Platform

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Environment(Mapping[str, str]):
    """Variables in the order in which they were last set: that order is part of a RUN step's digest. Owned by one
    stage."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})
        self._pairs: tuple[str, ...] | None = None

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def set(self, name: str, value: str) -> None:
        self._values.pop(name, None)
        self._values[name] = value
        self._pairs = None

    def copy(self) -> Environment:
        return Environment(self._values)

    @property
    def pairs(self) -> tuple[str, ...]:
        """NAME=value, as an exec step takes them."""
        if self._pairs is None:
            self._pairs = tuple(f"{name}={value}" for name, value in self._values.items())
        return self._pairs


def split_pair(pair: str) -> tuple[str, str]:
    """Of an image config's `env`."""
    name, _, value = pair.partition("=")
    return name, value


def predefined(build: Platform, target: Platform, stage: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """The automatic arguments, which `arguments` (of the command line) override."""
    values = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {name: arguments.get(name, value) for name, value in values.items()}


def proxies(arguments: Mapping[str, str]) -> ProxyEnv | None:
    """The proxy arguments, in any case: steps get them without an ARG, and neither keys nor history know them."""
    known = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    found = {name.lower(): value for name, value in sorted(arguments.items()) if name.lower() in known}
    return ProxyEnv(**found) if found else None
