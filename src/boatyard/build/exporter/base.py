"""What an exporter is: it takes the result of a build and puts it where the request says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from boatyard.build.requester import OutputTarget
from boatyard.build.result import Result
from boatyard.build.solver.types import StepContext
from boatyard.build.source.image import Keys
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """One platform of a build's result. `result` None is the empty tree; `epoch` is SOURCE_DATE_EPOCH, if set."""

    platform: Platform
    result: Result | None
    config: ImageConfig
    epoch: int | None = None
    base_digest: Digest | None = None
    base_name: str = ""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    images: Sequence[BuiltImage]
    attrs: Mapping[str, str]
    """BuildKit's attributes (reference/builder.md 6)."""
    target: OutputTarget | None
    multi_platform: bool = False
    keys: Keys | None = None
    """Whose credentials a push uses."""


@dataclass(frozen=True, slots=True)
class Exported:
    """`response` holds BuildKit's keys: containerimage.digest, containerimage.config.digest, containerimage.descriptor
    (JSON), image.name."""

    response: Mapping[str, str] = field(default_factory=dict)


class Exporter(Protocol):
    def check(self, attrs: Mapping[str, str]) -> None:
        """Refuse attributes that make no sense, before anything is built: InvalidError, UnsupportedError."""

    async def __call__(self, step: StepContext, request: ExportRequest) -> Exported: ...
