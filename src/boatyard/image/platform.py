"""Platforms: what an image runs on, as `os/architecture[/variant]`.

Specification: OCI image-spec, image-index.md, "platform"; normalisation as containerd's `platforms` package documents
it.
"""

from __future__ import annotations

import platform as _host
from collections.abc import Sequence

import msgspec

from boatyard.errors import InvalidError


class Platform(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A normalised platform. Field names are those of the OCI document."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
    "aarch64": "arm64", "armhf": "arm", "armel": "arm", "armv6l": "arm", "armv7l": "arm", "loongarch64": "loong64",
    "powerpc64le": "ppc64le",
}  # fmt: skip
_VARIANTS = {"armhf": "v7", "armel": "v6", "armv6l": "v6", "armv7l": "v7"}
_KNOWN = frozenset({
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
})  # fmt: skip
_SYSTEMS = {"macos": "darwin"}


def normalise(
    os: str, architecture: str, variant: str = "", os_version: str = "", os_features: Sequence[str] = ()
) -> Platform:
    os = _SYSTEMS.get(os.lower(), os.lower())
    raw = architecture.lower()
    architecture = _ARCHITECTURES.get(raw, raw)
    variant = variant.lower() or _VARIANTS.get(raw, "")
    if architecture == "arm64" and variant in ("8", "v8"):
        variant = ""
    elif architecture == "arm":
        variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
    elif architecture == "amd64" and variant == "v1":
        variant = ""
    return Platform(
        os=os, architecture=architecture, variant=variant, os_version=os_version, os_features=tuple(os_features)
    )


def parse(text: str, default: Platform | None = None) -> Platform:
    """Parse `os`, `architecture`, `os/architecture` or `os/architecture/variant`; what is left out is the host's."""
    host = default or host_platform()
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(
        part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in parts
    ):
        raise InvalidError(f"invalid platform {text!r}", hint="a platform looks like linux/amd64 or linux/arm/v7")
    if len(parts) == 1:
        word = parts[0].lower()
        if word in ("linux", "windows", "darwin", "macos", "freebsd"):
            return normalise(word, host.architecture, host.variant)
        platform = normalise(host.os, word)
        if platform.architecture not in _KNOWN:
            raise InvalidError(
                f"{text!r} is neither an operating system nor an architecture",
                hint="a platform looks like linux/amd64 or linux/arm/v7",
            )
        return platform
    return normalise(*parts)


def host_platform() -> Platform:
    return normalise("linux", _host.machine())


def matches(wanted: Platform, offered: Platform) -> bool:
    """Whether an image for `offered` can serve a request for `wanted` natively (older arm and amd64 variants run on
    newer)."""
    offered = normalise(offered.os, offered.architecture, offered.variant)
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return False
    if wanted.variant == offered.variant:
        return True
    order = {"arm": ("v5", "v6", "v7", "v8"), "amd64": ("", "v2", "v3", "v4"), "arm64": ("", "v9")}.get(
        wanted.architecture, ()
    )
    return (
        wanted.variant in order
        and offered.variant in order
        and order.index(offered.variant) <= order.index(wanted.variant)
    )


def closest(wanted: Platform, offered: Sequence[Platform]) -> int | None:
    """The index of the best match for `wanted`, or None."""
    candidates = [(index, item) for index, item in enumerate(offered) if matches(wanted, item)]
    if not candidates:
        return None
    return max(
        candidates,
        key=lambda pair: (
            normalise(pair[1].os, pair[1].architecture, pair[1].variant).variant == wanted.variant,
            pair[1].variant,
            -pair[0],
        ),
    )[0]
