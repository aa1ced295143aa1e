"""Outputs that a client names when everything is built, over its session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boatyard.api.buildkit.gateway.answer import metadata_of
from boatyard.api.buildkit.requester import SessionRequester
from boatyard.api.buildkit.values import export
from boatyard.build.frontend.base import FrontendResult
from boatyard.build.request import Export
from boatyard.session import exporter


class ClientChoice:
    """One per build."""

    def __init__(self, requester: SessionRequester) -> None:
        self._requester = requester

    async def __call__(self, result: FrontendResult) -> Sequence[Export]:
        session = await self._requester.session()
        refs = [image.edge.vertex.digest for image in result.images if image.edge]
        async with session.needed():
            chosen = await exporter.find_exporters(session, metadata_of(result), refs)
        exports = [export(each.type, each.attrs) for each in chosen]
        self._requester.expect(exports)
        return exports

    async def finish(self, response: Mapping[str, str]) -> None:
        """Tell the client what came of them."""
        session = await self._requester.session()
        async with session.needed():
            await exporter.finalize(session, response)
