"""The ASGI application: a request's way to its call, and what becomes of errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from boatyard.errors import BoatyardError, StorageError
from boatyard.registry.server import blobs, listing, manifests, uploading
from boatyard.registry.server import route as routes
from boatyard.registry.server.refusal import RefusedError, method_not_allowed
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Request
from boatyard.registry.server.route import Kind, Route
from boatyard.wire.asgi import Receive, Scope, Send

log = logging.getLogger(__name__)

Call = Callable[[Registry, Request], Awaitable[None]]


async def _root(registry: Registry, request: Request) -> None:
    await request.answer_json({})


CALLS: dict[Kind, dict[str, Call]] = {
    "root": {"GET": _root, "HEAD": _root},
    "catalog": {"GET": listing.catalog},
    "blob": {"GET": blobs.get, "HEAD": blobs.get, "DELETE": blobs.delete},
    "uploads": {"POST": uploading.begin},
    "upload": {
        "GET": uploading.status,
        "PATCH": uploading.append,
        "PUT": uploading.finish,
        "DELETE": uploading.cancel,
    },
    "manifest": {"GET": manifests.get, "HEAD": manifests.get, "PUT": manifests.put, "DELETE": manifests.delete},
    "tags": {"GET": listing.tags},
    "referrers": {"GET": listing.referrers},
}
_READING = frozenset(("GET", "HEAD"))


class Application:
    """One per process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(Route("root"), scope, receive, send)
        try:
            await self._call(request)
        except RefusedError as error:
            await _refuse(request, error)
        except StorageError as error:
            log.error("%s", error.message)
            full = RefusedError(507, "UNKNOWN", "the registry's disk is full or failing")
            await _refuse(request, full)
        except BoatyardError as error:
            log.error("%s %s: %s", request.method, scope["path"], error.message)
            await _refuse(request, RefusedError(500, "UNKNOWN", error.message))
        finally:
            self._registry.metrics.requests[request.method, request.route.kind, request.status] += 1

    async def _call(self, request: Request) -> None:
        request.route = routes.parse(request.scope["path"])
        calls = CALLS[request.route.kind]
        call = calls.get(request.method)
        if call is None:
            raise method_not_allowed(", ".join(calls))
        if self._registry.settings.read_only and request.method not in _READING:
            raise RefusedError(405, "UNSUPPORTED", "this registry is read-only")
        await call(self._registry, request)


async def _refuse(request: Request, error: RefusedError) -> None:
    if request.status:
        raise error  # in the middle of an answer
    headers = [(b"content-type", b"application/json"), *error.headers, *await request.drop_body()]
    await request.answer(error.status, headers, error.body())
