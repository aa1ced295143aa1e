"""What the solver knows of the world: ops with cache maps, opaque results, a store of results. No containers, no
images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Result = Any
"""What an op makes, one per output. Opaque here; see `build.result`."""


@dataclass(frozen=True, slots=True)
class ContentKey:
    """The checksum of exactly the files an op reads from one input. `files` maps path to digest, for explanations; it
    may be lazy (called only when a step is explained)."""

    digest: str
    files: Callable[[], Mapping[str, str]] | None = None


ContentOf = Callable[[Result], Awaitable[ContentKey]]


@dataclass(frozen=True, slots=True)
class CacheMap:
    """How an op is told apart from others.

    `digest`: of the op itself, without its inputs. `contents`: for each input, how to checksum what the op reads of it,
    or None when only the input's own key counts. `components`: named parts of the digest in a readable form ("argument
    NAME" -> value), for explanations; secrets never stand there. `cacheable` False: always execute, never record.
    `limited` False: executing takes none of the solver's parallel slots (for ops that only wait for other vertices).
    """

    digest: str
    contents: tuple[ContentOf | None, ...] = ()
    components: Mapping[str, str] = field(default_factory=dict)
    cacheable: bool = True
    limited: bool = True


class StepContext(Protocol):
    """What an op may tell while it works. All of it may be called from the event loop only."""

    def log(self, data: bytes, stream: int = 1) -> None: ...
    def status(self, id: str, name: str = "", current: int = 0, total: int = 0, done: bool = False) -> None:
        """A sub-task's progress; `name` defaults to the id."""

    def warn(self, short: str, detail: str = "") -> None: ...


class Op(Protocol):
    """One step. Made anew per build; `cache_map` is called once, before `execute`."""

    async def cache_map(self, step: StepContext) -> CacheMap:
        """May do cheap work (resolve a tag to a digest, ask a git server for a commit). Reads no input."""

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        """The outputs. Is cancelled by cancelling the task, and then leaves nothing behind."""


class Vertex(Protocol):
    """A node of the graph: an op in waiting."""

    @property
    def digest(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> Sequence[Edge]: ...
    @property
    def ignore_cache(self) -> bool: ...
    @property
    def group(self) -> Group | None:
        """Which steps it is shown as one with."""


class Group(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def weak(self) -> bool:
        """This step alone doesn't make it appear."""


class Edge(Protocol):
    """One output of a vertex."""

    @property
    def vertex(self) -> Vertex: ...
    @property
    def index(self) -> int: ...


class OpResolver(Protocol):
    """Turns a vertex into the op that does it."""

    def __call__(self, vertex: Any) -> Op: ...


class ResultStore(Protocol):
    """Results that outlive the process, by id."""

    async def save(self, result: Result) -> str | None:
        """An id, or None when this kind of result can't be kept (a view of the client's directory)."""

    async def load(self, id: str) -> Result:
        """NotFoundError or IntegrityError when it is no longer there: the solver then undoes the hit."""
