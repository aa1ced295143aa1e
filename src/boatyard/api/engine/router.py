"""Docker's HTTP API as an ASGI application: versions, routes, headers, errors as answers.

Specification: moby/moby, `api/swagger.yaml`, version 1.50.
"""

from __future__ import annotations

import logging

from boatyard import __version__
from boatyard.api.engine import absent, archives, build, builder, events, images, registries, system, upgrades, version
from boatyard.api.engine.call import Answer, Call, Query
from boatyard.api.engine.errors import body_of, message_of, status_of
from boatyard.api.engine.routes import Route, Routes
from boatyard.api.engine.services import Services
from boatyard.api.stream import Running
from boatyard.errors import BoatyardError
from boatyard.wire.asgi import Application, ClientGoneError, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

_HEADERS = (
    (b"api-version", version.text(version.MAXIMUM).encode("ascii")),
    (b"docker-experimental", b"false"),
    (b"ostype", b"linux"),
    (b"server", f"Boatyard/{__version__} (linux)".encode("ascii")),
)


def all_routes(services: Services) -> tuple[Route, ...]:
    return (
        *system.routes(services),
        *events.routes(services),
        *archives.routes(services),
        *registries.routes(services),
        *images.routes(services),
        *build.routes(services),
        *builder.routes(services),
        *upgrades.routes(services),
        *absent.routes(),
    )


def application(services: Services, running: Running) -> Application:
    return _Api(Routes(all_routes(services)), running)


class _Api:
    def __init__(self, routes: Routes, running: Running) -> None:
        self._routes = routes
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        written, path = version.split(scope["path"])
        try:
            answer = await self._handle(written, path, scope, receive, send_with_headers)
        except ClientGoneError:
            raise
        except Exception as error:
            # Every error of every handler ends here: ours are answers, others are defects that are logged.
            if begun:
                raise
            if not isinstance(error, BoatyardError):
                log.exception("%s %s failed unexpectedly", scope["method"], scope["path"])
            answer = _refusal(error, written)
        if answer is not None:
            await send_answer(send_with_headers, answer)

    async def _handle(self, written: str, path: str, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        if scope["method"] == "OPTIONS":
            return Answer()
        spoken = version.parse(written)
        found = self._routes.find(scope["method"], path)
        if found is None:
            return Answer(404, body_of("page not found"))
        handle, names = found
        return await handle(Call(spoken, names, Query(scope["query_string"]), scope, receive, send, self._running))


def _refusal(error: Exception, written: str) -> Answer:
    if version.is_ancient(written):
        return Answer(status_of(error), f"{message_of(error)}\n".encode(), "text/plain; charset=utf-8")
    return Answer(status_of(error), body_of(message_of(error)))


async def send_answer(send: Send, answer: Answer) -> None:
    headers = [*answer.headers]
    if answer.status not in (204, 304):
        headers += [
            (b"content-type", answer.content_type.encode("ascii")),
            (b"content-length", str(len(answer.body)).encode("ascii")),
        ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
