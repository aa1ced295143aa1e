"""The native API as an ASGI application: routes, documents in and out, errors as answers."""

from __future__ import annotations

import logging

import msgspec
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from boatyard import __version__
from boatyard.api.native import builds, disk, images, openapi, platforms, runs, system
from boatyard.api.native.errors import body_of
from boatyard.api.native.form import Lines, send_error
from boatyard.api.native.offers import Offers
from boatyard.api.native.operations import Incoming, Operation, decode, read_body
from boatyard.api.native.services import Services
from boatyard.api.stream import Running, answer, send_document
from boatyard.client.documents.envelope import PREFIX, VERSION_HEADER
from boatyard.errors import BoatyardError, NotFoundError, UnsupportedError
from boatyard.wire.asgi import Application, ClientGoneError, Message, Receive, Scope, Send, peer, until_disconnected
from boatyard.wire.peer import ELSEWHERE

log = logging.getLogger(__name__)

_VERSION = (VERSION_HEADER.encode("ascii"), __version__.encode("ascii"))


def all_operations(services: Services, offers: Offers) -> tuple[Operation, ...]:
    found = system.operations(services.system)
    if services.builds is not None:
        found += builds.operations(services.builds, offers, services.places)
    if services.images is not None:
        found += images.operations(services.images, offers)
    if services.disk is not None:
        found += disk.operations(services.disk, offers)
    if services.runs is not None:
        found += runs.operations(services.runs, offers)
    if services.platforms is not None:
        found += platforms.operations(services.platforms)
    return found


def application(services: Services, offers: Offers, running: Running) -> Application:
    operations = all_operations(services, offers)
    document = msgspec.json.encode(openapi.document(operations))
    routes = [
        Route(PREFIX + operation.path, _Endpoint(operation, running), methods=[operation.method])
        for operation in operations
    ]
    routes.append(Route(f"{PREFIX}/openapi.json", _Constant(document), methods=["GET"]))
    return _Boundary(Router(routes, redirect_slashes=False, default=_nothing_here))


class _Boundary:
    """Errors that nobody else answered, and the version on every answer."""

    def __init__(self, router: Application) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_with_version(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], _VERSION]
            await send(message)

        scope["app"] = self
        try:
            await self._router(scope, receive, send_with_version)
        except ClientGoneError:
            raise
        except HTTPException as error:  # the router's: a known path, another method
            refusal = UnsupportedError(f"{scope['method']} is not an operation of {scope['path']}")
            await send_document(send_with_version, error.status_code, body_of(refusal))
        except Exception as error:
            # Every error of every operation ends here: ours are answers, others are defects that are logged.
            if begun:
                raise
            if not isinstance(error, BoatyardError):
                log.exception("%s %s failed unexpectedly", scope["method"], scope["path"])
            await send_error(send_with_version, error)


class _Endpoint:
    """An operation as an ASGI application."""

    def __init__(self, operation: Operation, running: Running) -> None:
        self._operation = operation
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operation
        query = dict(QueryParams(scope["query_string"]))
        incoming = Incoming(names=scope["path_params"], query=query, peer=peer(scope) or ELSEWHERE)
        if operation.raw is not None:
            await operation.raw(incoming, receive, send, self._running)
            return
        body = await read_body(receive)
        if operation.request is not None:
            incoming.document = decode(body, operation.request)
        if operation.plain is not None:
            await send_document(send, 200, msgspec.json.encode(await operation.plain(incoming)))
            return
        streamed = operation.streamed
        assert streamed is not None
        gone = until_disconnected(receive)
        form = Lines(lambda: incoming.ref)
        await answer(lambda feed: streamed(incoming, feed), form, self._running, send, gone)


class _Constant:
    def __init__(self, document: bytes) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_document(send, 200, self._document)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFoundError(
        f"there is nothing at {scope['path']}",
        hint=f"client and daemon may be of different versions; {PREFIX}/openapi.json lists what this daemon offers",
    )
