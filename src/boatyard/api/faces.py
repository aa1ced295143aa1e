"""The faces of one socket, told apart by the path of a request: the native API has a prefix, all else is Docker's."""

from __future__ import annotations

from boatyard.client.documents.envelope import PREFIX
from boatyard.wire.asgi import Application, Receive, Scope, Send


class Faces:
    """An ASGI application."""

    def __init__(self, native: Application, engine: Application) -> None:
        self._native = native
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        face = self._native if scope["path"].startswith(f"{PREFIX}/") else self._engine
        await face(scope, receive, send)
