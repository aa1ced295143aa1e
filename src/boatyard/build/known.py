"""What a build learns while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from boatyard.build.llb.graph import Graph, SourceLocation
from boatyard.build.recording import FrontendCall
from boatyard.errors import SourceExcerpt
from boatyard.image.platform import Platform

MOST_REQUESTS = 20
"""To frontends, that are recorded of one build."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the build learned while it went on: its graphs, and where their steps stand in source files."""

    locations: dict[str, tuple[SourceLocation, ...]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    graphs: list[tuple[Platform, Graph]] = field(default_factory=list)
    results: dict[str, tuple[str, ...]] = field(default_factory=dict)
    requests: list[FrontendCall] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    """Steps of linked builds: digest -> id."""

    def learn_files(self, files: Mapping[str, str]) -> None:
        self.files.update(files)

    def learn_request(self, frontend: str, options: Mapping[str, str]) -> None:
        if len(self.requests) < MOST_REQUESTS:
            self.requests.append(FrontendCall(frontend=frontend, options=dict(options)))

    def learn(self, graph: Graph) -> None:
        self.learn_files(graph.files)
        stack = [graph.root.vertex] if graph.root else []
        while stack:
            vertex = stack.pop()
            if vertex.digest not in self.locations:
                self.locations[vertex.digest] = vertex.locations
                stack.extend(edge.vertex for edge in vertex.inputs)

    def excerpt(self, digest: str) -> SourceExcerpt | None:
        for place in self.locations.get(digest, ()):
            if place.filename in self.files:
                return SourceExcerpt(place.filename, self.files[place.filename], place.start, place.end)
        return None
