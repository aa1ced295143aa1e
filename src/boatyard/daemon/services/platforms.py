"""Emulators: which the kernel knows of, telling it of more, and of fewer."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from boatyard.client.documents.platforms import PlatformRequest, PlatformsChanged, PlatformState
from boatyard.errors import BoatyardError, InvalidError, NotFoundError
from boatyard.image import platform as platforms
from boatyard.image.interruption import run_settled
from boatyard.image.platform import Platform
from boatyard.runtime import emulation, qemu
from boatyard.runtime.emulation import EMULATORS, Emulator

log = logging.getLogger(__name__)

_RUN_TOO = {"amd64": ("386",)}
"""Architectures whose programs a processor runs beside its own."""


class Platforms:
    """Implements `PlatformService` of the native API. One per daemon.

    `kept` is where it unpacks emulators, and remembers (as links in `registered`) which ones it was asked for: the
    kernel forgets them when the machine stops, and when nothing has binfmt_misc mounted any more.
    """

    def __init__(self, kept: Path, binfmt: Path = emulation.BINFMT) -> None:
        self._kept = kept
        self._registered = kept / "registered"
        self._binfmt = binfmt
        self._changing = threading.Lock()

    def restore(self) -> None:
        """Tell the kernel again of what an earlier daemon was asked for. Blocks."""
        there = set(emulation.platforms(self._binfmt))
        for link in sorted(self._registered.glob("qemu-*")):
            emulator = EMULATORS.get(link.name)
            if emulator is None or emulator.platform in there:
                continue
            try:
                emulation.register(emulator, link.readlink(), self._binfmt)
            except BoatyardError as error:
                log.warning("programs for %s are not emulated: %s", emulator.platform, error)

    async def list_platforms(self) -> Sequence[PlatformState]:
        return await run_settled(self._list)

    async def install_platforms(self, request: PlatformRequest) -> PlatformsChanged:
        return await run_settled(self._install, request.platforms)

    async def uninstall_platforms(self, request: PlatformRequest) -> PlatformsChanged:
        return await run_settled(self._uninstall, request.platforms)

    def _list(self) -> list[PlatformState]:
        own = platforms.host_platform()
        return [PlatformState(platform=str(own), status="native"), *map(self._state, emulated(own.architecture))]

    def _state(self, emulator: Emulator) -> PlatformState:
        for handler in emulation.handlers(self._binfmt):
            if handler.platform == emulator.platform:
                status = "emulated" if handler.fixed else "host-only"
                return PlatformState(platform=emulator.platform, status=status, emulator=handler.interpreter)
        program = qemu.find(emulator, self._kept)
        return PlatformState(platform=emulator.platform, status="none", emulator=str(program or ""))

    def _install(self, names: Sequence[str]) -> PlatformsChanged:
        with self._changing:
            wanted = chosen(names, platforms.host_platform().architecture)
            emulation.require(self._binfmt)
            there = set(emulation.platforms(self._binfmt))
            missing = [emulator for emulator in wanted if emulator.platform not in there]
            absent = tuple(emulator for emulator in missing if qemu.find(emulator, self._kept) is None)
            if absent:
                log.info("fetching %s of %s", ", ".join(one.handler for one in absent), qemu.PACKAGE)
                qemu.fetch(absent, self._kept, os.environ)
            for emulator in missing:
                program = qemu.find(emulator, self._kept)
                if program is None:
                    raise NotFoundError(f"there is no static {emulator.handler}")
                emulation.register(emulator, program, self._binfmt)
                self._remember(emulator, program)
                log.info("programs for %s are run by %s", emulator.platform, program)
            return self._changed(wanted, missing)

    def _uninstall(self, names: Sequence[str]) -> PlatformsChanged:
        with self._changing:
            wanted = chosen(names, platforms.host_platform().architecture)
            there = {handler.platform for handler in emulation.handlers(self._binfmt)}
            found = [emulator for emulator in wanted if names or emulator.platform in there]
            for emulator in found:
                (self._registered / emulator.handler).unlink(missing_ok=True)
                emulation.unregister(emulator, self._binfmt)
                log.info("programs for %s are emulated no more", emulator.platform)
            return self._changed(found, found)

    def _remember(self, emulator: Emulator, program: Path) -> None:
        self._registered.mkdir(parents=True, exist_ok=True)
        draft = self._registered / f".{emulator.handler}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(program)
        draft.replace(self._registered / emulator.handler)

    def _changed(self, wanted: Sequence[Emulator], changed: Sequence[Emulator]) -> PlatformsChanged:
        return PlatformsChanged(
            platforms=tuple(map(self._state, wanted)), changed=tuple(emulator.platform for emulator in changed)
        )


def emulated(own: str) -> list[Emulator]:
    """Those that a machine of this architecture needs an emulator for."""
    native = (own, *_RUN_TOO.get(own, ()))
    return [emulator for emulator in EMULATORS.values() if emulator.platform.split("/")[1] not in native]


def chosen(names: Sequence[str], own: str) -> list[Emulator]:
    """By architecture or platform; without names, all. InvalidError for what there is no emulator of, or no need."""
    there = {emulator.platform.split("/")[1]: emulator for emulator in emulated(own)}
    found: list[Emulator] = []
    for name in names or there:
        wanted = platforms.parse(name)
        if wanted.architecture not in there:
            if wanted.architecture in (own, *_RUN_TOO.get(own, ())):
                raise InvalidError(f"this machine runs programs for {wanted} by itself", hint="leave it out")
            raise InvalidError(f"there is no emulator of {wanted}", hint=f"there are: {', '.join(sorted(there))}")
        if there[wanted.architecture] not in found:
            found.append(there[wanted.architecture])
    return found


def runs_here(platform: Platform) -> bool:
    """Its programs: by the machine itself, or under an emulator."""
    own = platforms.host_platform().architecture
    there = (own, *_RUN_TOO.get(own, ()), *(platforms.parse(each).architecture for each in emulation.platforms()))
    return platform.architecture in there


def runnable(configured: Sequence[str]) -> tuple[str, ...]:
    """What this daemon builds for: what the configuration says, or all whose programs run here. Its own first."""
    return tuple(configured) or (str(platforms.host_platform()), *emulation.platforms())
