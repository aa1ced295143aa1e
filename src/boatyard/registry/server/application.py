"""The ASGI application: a request's way to its call, and what becomes of errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from boatyard.errors import BoatyardError, StorageError
from boatyard.registry.server import blobs, browsing, listing, manifests, selfservice, tokens, uploading
from boatyard.registry.server import route as routes
from boatyard.registry.server.refusal import RefusedError, method_not_allowed
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Header, Request
from boatyard.registry.server.route import Kind, Route
from boatyard.wire.asgi import Receive, Scope, Send

log = logging.getLogger(__name__)

Call = Callable[[Registry, Request], Awaitable[None]]


async def _root(registry: Registry, request: Request) -> None:
    await request.answer_json({})


async def _metrics(registry: Registry, request: Request) -> None:
    headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
    await request.answer(200, headers, registry.metrics.text().encode("ascii"))


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
    "token": {"GET": tokens.get, "POST": tokens.post},
    "metrics": {"GET": _metrics},
    "repositories": {"GET": browsing.repositories},
    "repository": {"GET": browsing.repository},
    "image": {"GET": browsing.image},
    "session": {"POST": selfservice.log_in},
    "own tokens": {"GET": selfservice.list_tokens, "POST": selfservice.make_token},
    "own token": {"DELETE": selfservice.revoke_token},
}
_UNGUARDED = frozenset(("token", "session"))
"""Kinds of routes where one gets what one is let in by."""
_NO_CONTENT = frozenset(("token", "session", "own tokens", "own token"))
"""Which change nothing that is read-only."""
_READING = frozenset(("GET", "HEAD"))


class Application:
    """One per process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(Route("root"), scope, receive, send)
        started = time.perf_counter()
        try:
            await self._call(request)
        except RefusedError as error:
            await _refuse(request, error)
        except StorageError as error:
            log.error("%s", error.message)
            await _refuse(request, RefusedError(507, "UNKNOWN", "the registry's disk is full or failing"))
        except BoatyardError as error:
            log.error("%s %s: %s", request.method, scope["path"], error.message)
            await _refuse(request, RefusedError(500, "UNKNOWN", error.message))
        finally:
            seconds = time.perf_counter() - started
            self._registry.metrics.request(request.method, request.route.kind, request.status, seconds)

    async def _call(self, request: Request) -> None:
        request.route = routes.parse(request.scope["path"])
        kind = request.route.kind
        calls = CALLS[kind]
        call = calls.get(request.method)
        if call is None:
            raise method_not_allowed(", ".join(calls))
        if kind not in _UNGUARDED:
            request.admitted = await self._registry.guard.admit(request, needed(request.route, request.method))
        settings = self._registry.settings
        if (settings.read_only or settings.mirror_of) and request.method not in _READING and kind not in _NO_CONTENT:
            raise RefusedError(
                405,
                "UNSUPPORTED",
                "this registry is " + (f"a mirror of {settings.mirror_of}" if settings.mirror_of else "read-only"),
            )
        await call(self._registry, request)


def needed(route: Route, method: str) -> Sequence[tuple[str, str, str]]:
    """Type, name and action of what somebody must be allowed for this."""
    if route.kind == "catalog":
        return (("registry", "catalog", "*"),)
    if not route.name or route.kind in ("repository", "image"):
        return ()  # they show what one may see
    if route.kind in ("uploads", "upload") or method == "PUT":
        return (("repository", route.name, "pull"), ("repository", route.name, "push"))
    return (("repository", route.name, "delete" if method == "DELETE" else "pull"),)


async def _refuse(request: Request, error: RefusedError) -> None:
    if request.status:
        raise error  # in the middle of an answer
    headers: list[Header] = [(b"content-type", b"application/json"), *error.headers, *await request.drop_body()]
    await request.answer(error.status, headers, error.body())
