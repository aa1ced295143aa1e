"""What a frontend is given to work with: `frontend.base.Bridge` over this build's solver job."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from boatyard.build.frontend.base import FileReader, ResolvedImage
from boatyard.build.llb.graph import Edge, Graph, Vertex
from boatyard.build.ops.worker import Worker
from boatyard.build.requester import Requester
from boatyard.build.result import Result
from boatyard.build.solver.scheduler import Job
from boatyard.build.source import oci_layout
from boatyard.build.source.image import FoundImage
from boatyard.errors import InvalidError
from boatyard.image import reference as references
from boatyard.image.platform import Platform
from boatyard.progress import Emit, VertexEvent, WarningEvent


@runtime_checkable
class Dated(Protocol):
    """A source that knows how old it is, once it was looked up."""

    async def source_time(self) -> int | None: ...


class JobBridge:
    """One per build. `learn` is called before a graph is solved, so that the build knows where its steps come from."""

    def __init__(
        self, job: Job, worker: Worker, requester: Requester, emit: Emit, learn: Callable[[Graph], None]
    ) -> None:
        self.platform = worker.platform
        self._job = job
        self._worker = worker
        self._requester = requester
        self._emit = emit
        self._learn = learn
        self._resolved: dict[tuple[str, str, str], ResolvedImage] = {}

    async def resolve_image(self, reference: str, platform: Platform, *, mode: str = "default") -> ResolvedImage:
        key = (reference, str(platform), mode)
        if key not in self._resolved:
            self._resolved[key] = await self._resolve(reference, platform, mode)
        return self._resolved[key]

    async def _resolve(self, reference: str, platform: Platform, mode: str) -> ResolvedImage:
        name = f"[internal] load metadata for {reference}"
        digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        started = time.time()
        self._emit(VertexEvent(digest=digest, name=name, started=started))
        try:
            found = await self._find(reference, platform, mode)
        except BaseException as error:
            self._emit(VertexEvent(digest=digest, name=name, started=started, completed=time.time(), error=str(error)))
            raise
        self._emit(VertexEvent(digest=digest, name=name, started=started, completed=time.time()))
        return ResolvedImage(str(found.reference.with_digest(found.digest)), found.digest, found.config)

    async def _find(self, reference: str, platform: Platform, mode: str) -> FoundImage:
        images = self._worker.images
        if reference.startswith("oci-layout://"):
            return await oci_layout.take(reference, "", platform, self._requester, images, self._worker.layers)
        return await images.find(references.parse(reference).with_default_tag(), platform, mode)

    async def source_time(self, vertex: Vertex) -> int | None:
        """Seconds since the epoch: of a git source's commit, of a download's last change; None when it isn't known."""
        await self._job.settle(Edge(vertex))
        op = self._job.op(vertex)
        return await op.source_time() if isinstance(op, Dated) else None

    async def solve(self, graph: Graph) -> FileReader:
        if graph.root is None:
            raise InvalidError("there is nothing to solve: the graph is empty")
        self._learn(graph)
        return ResultFiles(await self._job.solve(graph.root))

    def warn(self, warning: WarningEvent) -> None:
        self._emit(warning)


class ResultFiles:
    """Reads files of a result."""

    def __init__(self, result: Result) -> None:
        self._result = result

    async def read_file(self, path: str) -> bytes:
        return await self._result.read_file(path)

    async def read_dir(self, path: str) -> Sequence[str]:
        return await self._result.read_dir(path)
