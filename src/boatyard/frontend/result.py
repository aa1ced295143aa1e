"""What a frontend returns: images, or the answer to a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from boatyard.frontend.state import State
from boatyard.image.platform import Platform
from boatyard.image.spec import History, ImageConfig


@dataclass(frozen=True, slots=True)
class Image:
    """Files, and how a container of them is run. A frontend may return one as it is."""

    state: State
    config: ImageConfig

    @classmethod
    def of(
        cls,
        state: State,
        platform: Platform,
        *,
        base: ImageConfig | None = None,
        entrypoint: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        ports: Sequence[str] = (),
        volumes: Sequence[str] = (),
        stop_signal: str = "",
    ) -> Image:
        """The state's environment, directory and user are the container's, too. What isn't given is `base`'s; but a
        command of the base was meant for its entrypoint, and goes with it. `ports`: as in `80/tcp`."""
        start = base or ImageConfig(
            architecture=platform.architecture,
            os=platform.os,
            variant=platform.variant,
            os_version=platform.os_version,
            os_features=platform.os_features,
        )
        run = start.config
        words = tuple(command) if command is not None else (run.cmd if entrypoint is None else None)
        changed = msgspec.structs.replace(
            run,
            env=tuple(f"{name}={value}" for name, value in state.environment.items()),
            working_dir=run.working_dir if state.directory == "/" and not run.working_dir else state.directory,
            user=state.user,
            entrypoint=tuple(entrypoint) if entrypoint is not None else run.entrypoint,
            cmd=words,
            labels={**run.labels, **(labels or {})},
            exposed_ports={**run.exposed_ports, **{_port(port): {} for port in ports}},
            volumes={**run.volumes, **{volume: {} for volume in volumes}},
            stop_signal=stop_signal or run.stop_signal,
        )
        made = tuple(History(created_by=step, comment="boatyard.frontend") for step in state.steps or ())
        history = (*start.history, *made)
        return cls(state, msgspec.structs.replace(start, config=changed, created="", history=history))

    def labelled(self, labels: Mapping[str, str]) -> Image:
        """With these labels besides its own: those that the request gives."""
        run = msgspec.structs.replace(self.config.config, labels={**self.config.config.labels, **labels})
        return Image(self.state, msgspec.structs.replace(self.config, config=run))

    @property
    def platform(self) -> Platform:
        config = self.config
        return Platform(
            os=config.os,
            architecture=config.architecture,
            variant=config.variant,
            os_version=config.os_version,
            os_features=config.os_features,
        )


def _port(text: str) -> str:
    return text if "/" in text else f"{text}/tcp"


@dataclass(frozen=True, slots=True)
class Result:
    """A build's result: one image a platform. `multi_platform`: an index is wanted, even of one. `metadata` is for
    exporters (`image.name`, annotations)."""

    images: tuple[Image, ...] = ()
    multi_platform: bool = False
    metadata: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question: `document` is what `--call=NAME,format=json` prints, `text` what it prints otherwise.
    `status` is the exit code of the command that asked."""

    document: Any
    text: str = ""
    status: int | None = None
    version: str = "1.0.0"

    def metadata(self) -> dict[str, bytes]:
        found = {
            "result.json": msgspec.json.format(msgspec.json.encode(self.document), indent=2),
            "result.txt": self.text.encode(),
            "version": self.version.encode(),
        }
        if self.status is not None:
            found["result.statuscode"] = str(self.status).encode()
        return found
