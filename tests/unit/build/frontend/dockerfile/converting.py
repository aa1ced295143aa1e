"""The outside world of a conversion, in memory: images, directories, repositories and downloads; and short names for
looking at what came out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from boatyard.build.frontend.base import Frontend, FrontendRequest, FrontendResult, ResolvedImage
from boatyard.build.frontend.dockerfile.frontend import build
from boatyard.build.llb.graph import Edge, ExecOp, FileOp, Graph, SourceOp, Vertex
from boatyard.errors import NotFoundError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig, RunConfig
from boatyard.progress import WarningEvent

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")
DIFF_ID = "sha256:" + "2" * 64
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class MemoryFiles:
    files: Files

    async def read_file(self, path: str) -> bytes:
        try:
            return self.files[path.strip("/")]
        except KeyError:
            raise NotFoundError(f"no file {path}") from None

    async def read_dir(self, path: str) -> Sequence[str]:
        return sorted(self.files)


@dataclass
class Yard:
    """A bridge over dictionaries. `images` maps normalised references to what their config has beside the platform; any
    other image is there with an empty config, unless `missing` names it. `files` maps source identifiers to files."""

    files: dict[str, Files] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    platform: Platform = AMD64
    entitlements: frozenset[str] = frozenset()
    frontends: dict[str, Frontend] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    warnings: list[WarningEvent] = field(default_factory=list)
    solved: list[Vertex] = field(default_factory=list)
    asked: list[tuple[str, Platform, str]] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    async def resolve_image(self, reference: str, platform: Platform, *, mode: str = "default") -> ResolvedImage:
        self.asked.append((reference, platform, mode))
        if reference in self.missing:
            raise NotFoundError(f"image {reference} is not there")
        config = {
            "architecture": platform.architecture,
            "os": platform.os,
            "variant": platform.variant,
            "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
            "config": {"Env": None},
        } | self.images.get(reference, {})
        digest = digest_of(reference)
        return ResolvedImage(f"{reference}@{digest}", digest, json.dumps(config).encode())

    async def solve(self, graph: Graph) -> MemoryFiles:
        assert graph.root is not None
        vertex = graph.root.vertex
        self.solved.append(vertex)
        source = vertex
        while not isinstance(source.op, SourceOp):
            source = source.inputs[0].vertex
        if source.op.identifier not in self.files:
            raise NotFoundError(f"no source {source.op.identifier}")
        return MemoryFiles(self.files[source.op.identifier])

    async def source_time(self, vertex: Vertex) -> int | None:
        assert isinstance(vertex.op, SourceOp)
        return self.times.get(vertex.op.identifier)

    async def run_frontend(self, name: str, request: FrontendRequest) -> FrontendResult:
        return await self.frontends[name](self, request)

    def learn(self, files: Mapping[str, str]) -> None:
        self.sources.update(files)

    def warn(self, warning: WarningEvent) -> None:
        self.warnings.append(warning)


def digest_of(reference: str) -> Digest:
    return digests.of_bytes(reference.encode())


def yard(dockerfile: str | bytes, context: Files | None = None, /, **known: Any) -> Yard:
    """With a Dockerfile (indented as it stands in a test) and a context."""
    text = dedent(dockerfile).lstrip("\n").encode() if isinstance(dockerfile, str) else dockerfile
    files = {"local://dockerfile": {"Dockerfile": text}, "local://context": dict(context or {})}
    return Yard(files=files | known.pop("files", {}), **known)


def run_build(bridge: Yard, inputs: Mapping[str, Edge | None] | None = None, /, **options: str) -> FrontendResult:
    """Options with characters that names can't have go in as `{"build-arg:X": ...}` with `**`."""
    return asyncio.run(build(bridge, FrontendRequest(options, inputs or {})))


def converted(dockerfile: str, context: Files | None = None, /, **options: str) -> Converted:
    bridge = yard(dockerfile, context)
    return Converted(bridge, run_build(bridge, **options))


@dataclass
class Converted:
    """One platform of a result, for looking at."""

    bridge: Yard
    result: FrontendResult
    index: int = 0

    @property
    def edge(self) -> Edge | None:
        return self.result.images[self.index].edge

    @property
    def config(self) -> ImageConfig:
        return self.result.images[self.index].config

    @property
    def run_config(self) -> RunConfig:
        return self.config.config

    @property
    def last(self) -> Vertex:
        assert self.edge is not None
        return self.edge.vertex

    @property
    def vertices(self) -> list[Vertex]:
        return list(in_order(self.edge))

    @property
    def names(self) -> list[str]:
        return [vertex.name for vertex in self.vertices]

    @property
    def history(self) -> list[str]:
        return [entry.created_by for entry in self.config.history]

    def named(self, text: str) -> Vertex:
        """The one whose name has that text."""
        found = [vertex for vertex in self.vertices if text in vertex.name]
        assert len(found) == 1, self.names
        return found[0]

    def execs(self) -> list[ExecOp]:
        return [vertex.op for vertex in self.vertices if isinstance(vertex.op, ExecOp)]

    def copies(self) -> list[FileOp]:
        return [vertex.op for vertex in self.vertices if isinstance(vertex.op, FileOp)]

    def sources(self) -> dict[str, SourceOp]:
        return {vertex.op.identifier: vertex.op for vertex in self.vertices if isinstance(vertex.op, SourceOp)}


def in_order(edge: Edge | None) -> Iterator[Vertex]:
    """Inputs first, each once."""
    seen: set[str] = set()

    def walk(vertex: Vertex) -> Iterator[Vertex]:
        if vertex.digest in seen:
            return
        seen.add(vertex.digest)
        for item in vertex.inputs:
            yield from walk(item.vertex)
        yield vertex

    if edge is not None:
        yield from walk(edge.vertex)


def env_of(op: ExecOp) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in op.meta.env)
