"""The build op: LLB in LLB. The definition is read from a file of its first input and solved by the same job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from boatyard.build.llb import codec
from boatyard.build.llb.graph import BuildOp, Vertex
from boatyard.build.ops.worker import BuildContext
from boatyard.build.result import Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.errors import InvalidError, UnsupportedError

DEFAULT_FILENAME = "/buildkit.llb.definition"


class BuildStep:
    """The op of one build vertex in one build."""

    def __init__(self, vertex: Vertex, op: BuildOp, build: BuildContext) -> None:
        if op.builder != -1:
            raise UnsupportedError(
                "a build op that names a builder image is not supported", hint="leave the builder at -1: this solver"
            )
        self._op = op
        self._build = build
        self._input = op.inputs.get("buildkit.llb.definition", 0)
        if not 0 <= self._input < len(vertex.inputs):
            raise InvalidError(f"the build op reads its definition from input {self._input}, which it doesn't have")

    async def cache_map(self, step: StepContext) -> CacheMap:
        parts = repr((sorted(self._op.attrs.items()), sorted(self._op.inputs.items()), self._op.definition))
        # It only waits for the vertices of its definition, which take slots of their own.
        return CacheMap(digest=f"build {hashlib.sha256(parts.encode()).hexdigest()}", contents=(None,), limited=False)

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        path = self._op.attrs.get("llbbuild.filename") or DEFAULT_FILENAME
        data = self._op.definition or await inputs[self._input].read_file(path)
        graph = codec.decode(data)
        if graph.root is None:
            raise InvalidError(f"the definition in {path} is empty")
        return [await self._build.solve(graph.root)]
