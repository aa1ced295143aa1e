"""Small graphs with ops that count how often they ran, for tests of the solver."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from boatyard.build.solver.types import CacheMap, ContentKey, StepContext
from boatyard.errors import NotFoundError


@dataclass(frozen=True, eq=False)
class Node:
    """A vertex whose op's behaviour stands in it. Its digest covers `text` and the inputs."""

    text: str
    inputs: tuple[Edge, ...] = ()
    ignore_cache: bool = False
    reads_content: bool = False
    cacheable: bool = True
    group: None = None
    makes: Callable[[Sequence[str]], str] | None = None
    """The output from the inputs; by default both are concatenated."""
    before: Callable[[StepContext], Awaitable[None]] | None = None

    @property
    def digest(self) -> str:
        inputs = ",".join(f"{edge.vertex.digest}:{edge.index}" for edge in self.inputs)
        return hashlib.sha256(f"{self.text}|{inputs}".encode()).hexdigest()

    @property
    def name(self) -> str:
        return self.text


@dataclass(frozen=True)
class Edge:
    vertex: Node
    index: int = 0


def node(text: str, *inputs: Node, **options: object) -> Node:
    return Node(text, tuple(Edge(each) for each in inputs), **options)  # type: ignore[arg-type]


@dataclass
class Shop:
    """Makes ops and remembers what they did."""

    executed: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    def resolve(self, vertex: Node) -> CountingOp:
        return CountingOp(vertex, self)


@dataclass
class CountingOp:
    node: Node
    shop: Shop

    async def cache_map(self, step: StepContext) -> CacheMap:
        contents = tuple(checksum if self.node.reads_content else None for _ in self.node.inputs)
        return CacheMap(
            digest=hashlib.sha256(self.node.text.encode()).hexdigest(),
            contents=contents,
            components={"text": self.node.text},
            cacheable=self.node.cacheable,
        )

    async def execute(self, step: StepContext, inputs: Sequence[str]) -> Sequence[str]:
        self.shop.running += 1
        self.shop.most_running = max(self.shop.most_running, self.shop.running)
        try:
            if self.node.before:
                await self.node.before(step)
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.shop.cancelled.append(self.node.text)
            raise
        finally:
            self.shop.running -= 1
        self.shop.executed.append(self.node.text)
        if self.node.makes:
            return [self.node.makes(inputs)]
        return [f"{self.node.text}({','.join(inputs)})"]


async def checksum(result: str) -> ContentKey:
    return ContentKey(hashlib.sha256(result.encode()).hexdigest(), lambda: {"/file": result})


class MemoryResults:
    """Results that can be lost on purpose."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def save(self, result: str) -> str | None:
        id = hashlib.sha256(result.encode()).hexdigest()
        self.kept[id] = result
        return id

    async def load(self, id: str) -> str:
        if id not in self.kept:
            raise NotFoundError(f"result {id[:12]} is gone")
        return self.kept[id]
