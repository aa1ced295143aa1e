"""Dockerfile instructions as changes of an image config (`boat image import --change`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boatyard.build.frontend.base import FileReader, FrontendRequest, FrontendResult, ResolvedImage
from boatyard.build.frontend.dockerfile import frontend
from boatyard.build.llb.graph import Graph
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image.platform import Platform, host_platform
from boatyard.image.spec import RunConfig
from boatyard.progress import WarningEvent

NAME = "changes"


async def apply_changes(changes: Sequence[str]) -> RunConfig:
    """The config that the instructions make of an empty one. InvalidError for those that would do more than that."""
    text = "\n".join(("FROM scratch", *changes)) + "\n"
    result = await frontend.build(TextBridge(text.encode()), FrontendRequest({"filename": NAME}))
    (image,) = result.images
    if image.edge is not None:
        raise InvalidError("only instructions that change the config can be applied", hint="such as CMD, ENV, LABEL")
    return image.config.config


class TextBridge:
    """A bridge that knows one file and nothing else."""

    def __init__(self, dockerfile: bytes) -> None:
        self.platform: Platform = host_platform()
        self.entitlements: frozenset[str] = frozenset()
        self._dockerfile = dockerfile

    async def resolve_image(self, reference: str, platform: Platform, *, mode: str = "default") -> ResolvedImage:
        raise NotFoundError(f"image {reference} can't be used here")

    async def solve(self, graph: Graph) -> FileReader:
        return self

    async def read_file(self, path: str) -> bytes:
        if path.strip("/") == NAME:
            return self._dockerfile
        raise NotFoundError(f"no file {path}")

    async def read_dir(self, path: str) -> Sequence[str]:
        return [NAME]

    async def run_frontend(self, name: str, request: FrontendRequest) -> FrontendResult:
        raise InvalidError("a syntax directive has no place among changes")

    def learn(self, files: Mapping[str, str]) -> None:
        """There is but the one."""

    def warn(self, warning: WarningEvent) -> None:
        """Remarks on style are for files that people keep."""
