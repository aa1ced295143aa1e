"""Platforms whose programs run on the daemon's machine, by themselves or emulated."""

from __future__ import annotations

import msgspec


class PlatformState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`status`: native, emulated, host-only (the emulator isn't there in containers) or none. `emulator`: the program
    that the kernel was told of, or that would be used."""

    platform: str
    status: str
    emulator: str = ""


class PlatformList(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    platforms: tuple[PlatformState, ...]


class PlatformRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Architectures (`arm64`) or platforms (`linux/arm64`); none is all there are."""

    platforms: tuple[str, ...] = ()


class PlatformsChanged(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was asked for, as it is now. `changed`: those that weren't so before."""

    platforms: tuple[PlatformState, ...]
    changed: tuple[str, ...] = ()
