"""`python.v0`: the frontend is an async function in Python, which the option `source` names.

    ./frontend.py    a file of the client's context
    NAME             an entry point (group boatyard.frontends) of a package that is installed beside the daemon

Either runs in a process of its own, in a sandbox, and speaks LLBBridge as any other frontend does.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from boatyard.build.frontend.base import FrontendRequest, FrontendResult, GuestBridge
from boatyard.build.frontend.dockerfile import context as contexts
from boatyard.build.frontend.gateway import sandbox
from boatyard.build.frontend.gateway.conversation import Converse
from boatyard.build.frontend.gateway.frontend import root
from boatyard.build.frontend.gateway.guest import DEFAULT, GuestLimits, host
from boatyard.build.frontend.gateway.image import LIBRARY, check_needs
from boatyard.build.frontend.gateway.sandbox import PythonPlaces
from boatyard.build.ops.worker import Worker
from boatyard.errors import DeniedError, InvalidError, NotFoundError
from boatyard.image.interruption import run_settled
from boatyard.runtime.container import ContainerSpec, Limit, Network, Resources, SecretFile, TmpfsMount

DIRECTORY = "/frontend"
"""Where a file of the client's is inside."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.]*)?")
_LARGEST = 1 << 20
_PIDS = 64
_FILES = 256
_SPARE = 64 << 20
"""Memory of a process beside its data: libraries, page tables."""


@dataclass(frozen=True, slots=True)
class PythonSource:
    """`file` is a path in the context, "" for an installed one. `what` is told to the process."""

    what: str
    file: str = ""


def parse(source: str) -> PythonSource:
    """InvalidError for what is neither."""
    path, _, attribute = source.partition(":")
    if path.endswith(".py"):
        clean = posixpath.normpath("/" + path)[1:]
        if path.startswith("/") or ".." in path.split("/"):
            raise InvalidError(
                f"the frontend {source!r} is not within the build context", hint="name it as in python:./frontend.py"
            )
        return PythonSource(f"{DIRECTORY}/{clean}" + (f":{attribute}" if attribute else ""), clean)
    if not _NAME.fullmatch(source):
        raise InvalidError(
            f"{source!r} is no frontend in Python",
            hint="write python:./FILE.py for a file of the context, python:NAME for an installed one",
        )
    return PythonSource(source)


class PythonFrontend:
    """One per daemon. `memory`: bytes that one process may have."""

    def __init__(
        self,
        worker: Worker,
        converse: Converse,
        *,
        enabled: bool = True,
        memory: int = 1 << 30,
        limits: GuestLimits = DEFAULT,
        known: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._worker = worker
        self._converse = converse
        self._enabled = enabled
        self._memory = memory
        self._limits = limits
        self._known = known
        self._places: asyncio.Task[PythonPlaces] | None = None

    async def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> FrontendResult:
        if not self._enabled:
            raise DeniedError(
                "the daemon's configuration allows no frontends in Python", hint="frontend.python = true allows them"
            )
        source = parse(request.options.get("source", ""))
        check_needs(source.file or source.what, request, LIBRARY)
        data = await _read(bridge, request, source.file) if source.file else b""
        places = await self._found()
        name = source.file or source.what
        async with bridge.shown(f"[internal] run the frontend {name}") as step, root(self._worker.layers, ()) as at:
            await run_settled(sandbox.furnish, at)
            spec = self._spec(at, places, source, data, request, await self._known())
            async with self._converse(bridge, request) as conversation:
                return await host(self._worker.executor, spec, conversation, step, name, self._limits)

    async def _found(self) -> PythonPlaces:
        if self._places is None or (self._places.done() and self._places.exception() is not None):
            self._places = asyncio.create_task(asyncio.to_thread(sandbox.find))
        return await asyncio.shield(self._places)

    def _spec(
        self,
        at: Path,
        places: PythonPlaces,
        source: PythonSource,
        data: bytes,
        request: FrontendRequest,
        known: Mapping[str, str],
    ) -> ContainerSpec:
        options = (
            f"BUILDKIT_FRONTEND_OPT_{number}={name}={value}"
            for number, (name, value) in enumerate(request.options.items())
        )
        file = (SecretFile(f"{DIRECTORY}/{source.file}", data, mode=0o444),) if source.file else ()
        return ContainerSpec(
            root=at,
            args=(places.interpreter, "-s", "-P", "-m", "boatyard.frontend", source.what),
            env=sandbox.environment(places, (*options, *(f"{name}={value}" for name, value in known.items()))),
            cwd=DIRECTORY,
            user=sandbox.USER,
            mounts=(*places.mounts(), TmpfsMount("/tmp", size=64 << 20), *file),
            hostname="frontend",
            network=Network.NONE,
            unprivileged=True,
            readonly_root=True,
            resources=Resources(memory=self._memory + _SPARE, pids=_PIDS),
            ulimits=(
                Limit("core", 0, 0),
                Limit("data", self._memory, self._memory),
                Limit("nofile", _FILES, _FILES),
            ),
        )


async def _read(bridge: GuestBridge, request: FrontendRequest, path: str) -> bytes:
    """From the context, wherever that is."""
    try:
        data = await contexts.read_file(bridge, request, path)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no file {path!r} in the build context to be the frontend",
            hint="the path is meant from the root of the context",
        ) from error
    if len(data) > _LARGEST:
        raise InvalidError(f"the frontend {path!r} is larger than {_LARGEST >> 20} MiB", hint="is it the right file?")
    return data
