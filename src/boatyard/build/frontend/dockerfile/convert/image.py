"""The image config of a stage while its instructions change it.

Specification: OCI image-spec, config.md; Docker's extensions of it (healthcheck, onbuild, shell).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from boatyard.build.frontend.dockerfile.variables import DEFAULT_PATH, split_pair
from boatyard.image.platform import Platform
from boatyard.image.spec import Healthcheck, History, ImageConfig, RunConfig

COMMENT = "buildkit.dockerfile.v0"
"""In the history entries of every Dockerfile frontend: tools look for it."""


@dataclass(slots=True)
class ImageDraft:
    """Owned by one stage. `env` keeps the place of a variable that is set again."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    author: str = ""
    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    working_dir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: list[str] = field(default_factory=list)
    shell: tuple[str, ...] | None = None
    history: list[History] = field(default_factory=list)

    def copy(self) -> ImageDraft:
        return replace(
            self,
            exposed_ports=dict(self.exposed_ports),
            env=dict(self.env),
            volumes=dict(self.volumes),
            labels=dict(self.labels),
            on_build=list(self.on_build),
            history=list(self.history),
        )

    def record(self, created_by: str, created: str, *, layer: bool = False) -> None:
        """An entry of the history. `layer`: the instruction makes a layer."""
        self.history.append(History(created=created, created_by=created_by, comment=COMMENT, empty_layer=not layer))

    def in_shell(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """The shell form as arguments."""
        return (*(self.shell or ("/bin/sh", "-c")), " ".join(words))

    def set_platform(self, platform: Platform) -> None:
        """That of the target, in the parts it names."""
        same = (platform.os, platform.architecture) == (self.os, self.architecture)
        self.os, self.architecture = platform.os, platform.architecture
        if platform.variant or not same:
            self.variant = platform.variant
        if platform.os_version or not same:
            self.os_version = platform.os_version
        if platform.os_features:
            self.os_features = platform.os_features

    def finish(self) -> ImageConfig:
        return ImageConfig(
            author=self.author,
            architecture=self.architecture,
            os=self.os,
            os_version=self.os_version,
            os_features=self.os_features,
            variant=self.variant,
            config=RunConfig(
                user=self.user,
                exposed_ports=self.exposed_ports,
                env=tuple(f"{name}={value}" for name, value in self.env.items()),
                entrypoint=self.entrypoint,
                cmd=self.cmd,
                volumes=self.volumes,
                working_dir=self.working_dir,
                labels=self.labels,
                stop_signal=self.stop_signal,
                args_escaped=self.args_escaped,
                healthcheck=self.healthcheck,
                on_build=tuple(self.on_build),
                shell=self.shell,
            ),
            history=tuple(self.history),
        )


def empty(platform: Platform) -> ImageDraft:
    """The config that `FROM scratch` starts with."""
    return ImageDraft(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        os_version=platform.os_version,
        os_features=platform.os_features,
        working_dir="/",
        env={"PATH": DEFAULT_PATH},
    )


def of_config(config: ImageConfig) -> ImageDraft:
    """What a stage inherits from a base image: everything but the time it was made."""
    run = config.config
    return ImageDraft(
        architecture=config.architecture,
        os=config.os,
        variant=config.variant,
        os_version=config.os_version,
        os_features=config.os_features,
        author=config.author,
        user=run.user,
        exposed_ports=dict(run.exposed_ports),
        env=dict(split_pair(pair) for pair in run.env),
        entrypoint=run.entrypoint,
        cmd=run.cmd,
        volumes=dict(run.volumes),
        working_dir=run.working_dir,
        labels=dict(run.labels),
        stop_signal=run.stop_signal,
        args_escaped=run.args_escaped,
        healthcheck=run.healthcheck,
        on_build=list(run.on_build),
        shell=run.shell,
        history=list(config.history),
    )


def has_layers(config: ImageConfig) -> bool:
    return bool(config.rootfs.diff_ids) or any(not entry.empty_layer for entry in config.history)
