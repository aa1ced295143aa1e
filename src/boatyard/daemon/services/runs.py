"""Running images."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Callable, Mapping

from boatyard.client.documents.runs import RunRequest
from boatyard.daemon.services.platforms import runs_here
from boatyard.engine.run import Runner, RunOptions
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image import documents
from boatyard.image import platform as platforms
from boatyard.image.content.store import Provider
from boatyard.image.platform import Platform
from boatyard.image.store import Image, ImageStore
from boatyard.progress import Emit, WarningEvent
from boatyard.runtime import container
from boatyard.runtime.container import Control, Stdio, TerminalReceiver

_FOREIGN = "{} is for {}, whose programs don't run on this machine: `boat platform install {}` adds an emulator"


class Runs:
    """Implements `RunService` of the native API."""

    def __init__(
        self,
        runner: Runner,
        images: ImageStore,
        content: Provider,
        *,
        trust_host_ca: bool,
        proxy: Mapping[str, str],
    ) -> None:
        self._runner = runner
        self._content = content
        self._images = images
        self._trust_host_ca = trust_host_ca
        self._proxy = proxy
        self._running: dict[str, Control] = {}

    async def run(
        self, request: RunRequest, stdio: Stdio | TerminalReceiver, on_start: Callable[[str], None], emit: Emit
    ) -> int:
        image = self._images.resolve(request.image)
        platform = platforms.parse(request.platform) if request.platform else None
        found = self._platform(image, platform)
        id = os.urandom(16).hex()

        def started(control: Control) -> None:
            self._running[id] = control
            on_start(id)

        try:
            code = await self._runner.run(
                image.target,
                platform,
                self._options(request, terminal=not isinstance(stdio, Stdio)),
                stdio,
                on_start=started,
                on_warning=lambda message: emit(WarningEvent(short=message)),
            )
            # So end runtimes and shells when the kernel refuses a program.
            if code in (1, 126) and not runs_here(found):
                emit(WarningEvent(short=_FOREIGN.format(image.name, found, found.architecture)))
            return code
        finally:
            self._running.pop(id, None)

    def _platform(self, image: Image, wanted: Platform | None) -> Platform:
        """An image of one platform is run whatever the host's is (it may be emulated), but not in another's name."""
        found = documents.read_image(self._content, image.target, wanted).platform
        if wanted is not None and not platforms.matches(wanted, found):
            raise NotFoundError(f"{image.name} is for {found}, not for {wanted}", hint="leave --platform out")
        return found

    def _options(self, request: RunRequest, *, terminal: bool) -> RunOptions:
        try:
            network = container.Network(request.network or "default")
        except ValueError as error:
            raise InvalidError(f"unknown network {request.network!r}", hint="use default, host or none") from error
        proxy = self._proxy if request.proxy is None else request.proxy
        return RunOptions(
            command=request.argv,
            entrypoint=request.entrypoint,
            env=(*(f"{name}={value}" for name, value in proxy.items() if value), *request.env),
            volumes=request.volumes,
            tmpfs=request.tmpfs,
            working_dir=request.workdir,
            user=request.user,
            hostname=request.hostname,
            network=network,
            extra_hosts=tuple(_host(text) for text in request.add_hosts),
            shm_size=request.shm_size,
            ulimits=tuple(_limit(text) for text in request.ulimits),
            resources=container.Resources(
                memory=request.memory,
                cpu_period=100_000 if request.cpus else 0,
                cpu_quota=int(request.cpus * 100_000),
            ),
            read_only=request.read_only,
            privileged=request.privileged,
            init=request.init,
            trust_host_ca=self._trust_host_ca if request.trust_host_ca is None else request.trust_host_ca,
            terminal=terminal,
        )

    async def signal(self, id: str, signal: str) -> None:
        control = self._running.get(id)
        if control is None:
            raise NotFoundError(f"no container {id!r} is running")
        control.signal(_signal(signal))


def _signal(text: str) -> int:
    if text.isdigit():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return signals.Signals[name].value
    except KeyError as error:
        raise InvalidError(f"unknown signal {text!r}", hint="use a number or a name such as TERM") from error


def _host(text: str) -> tuple[str, str]:
    name, separator, address = text.partition(":") if "=" not in text else text.partition("=")
    if not separator or not name or not address:
        raise InvalidError(f"invalid host {text!r}", hint="write NAME:ADDRESS")
    return name, address


def _limit(text: str) -> container.Limit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return container.Limit(name, int(soft), int(hard or soft))
    except ValueError as error:
        raise InvalidError(
            f"invalid limit {text!r}", hint="write NAME=SOFT[:HARD], such as nofile=1024:2048"
        ) from error
