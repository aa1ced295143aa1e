"""Images from and to registries: `docker pull`, `docker push`, `docker login`, and looking at what a registry has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import msgspec

from boatyard.api.engine import progress_lines, registry_auth
from boatyard.api.engine.call import Answer, Call, json
from boatyard.api.engine.errors import body_of, message_of, status_of
from boatyard.api.engine.images import found
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.api.feed import Feed
from boatyard.api.stream import answer, send_document
from boatyard.client.documents.envelope import StreamEvent
from boatyard.client.documents.images import ImagePull, ImagePulled, ImagePush, ImagePushed
from boatyard.errors import UnsupportedError
from boatyard.image import reference as references
from boatyard.image.reference import Reference
from boatyard.progress import StatusEvent
from boatyard.registry.credential import Credential
from boatyard.wire.asgi import Send, until_disconnected

_SHORT = 12
_R = TypeVar("_R")
_R_contra = TypeVar("_R_contra", contravariant=True)


def routes(services: Services) -> tuple[Route, ...]:
    return (
        Route("POST", "/images/{name}/push", partial(_push, services)),
        Route("GET", "/images/search", _search),
        Route("GET", "/distribution/{name}/json", partial(_distribution, services)),
        Route("POST", "/auth", partial(_auth, services)),
    )


class Held:
    """One client's credentials, which came in a header. Implements `build.source.image.Keys`."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential

    async def registry_credentials(self, host: str) -> Credential | None:
        return self._credential


class _Said(Protocol[_R_contra]):
    def __call__(self, result: _R_contra, /) -> bytes: ...


class TransferForm(Generic[_R]):
    """How a transfer is told: a line a layer. Implements `api.stream.Form`."""

    content_type = b"application/json"

    def __init__(self, first: bytes, doing: str, done: str, said: _Said[_R]) -> None:
        self._first = first
        self._doing = doing
        self._done = done
        self._said = said

    def events(self, events: Sequence[StreamEvent]) -> bytes:
        found = b"".join(self._line(event) for event in events if isinstance(event, StatusEvent))
        first, self._first = (self._first, b"") if found else (b"", self._first)
        return first + found

    def _line(self, event: StatusEvent) -> bytes:
        id = event.id.partition(":")[2][:_SHORT]
        if event.completed is not None:
            return progress_lines.status(self._done, id)
        return progress_lines.transfer(msgspec.structs.replace(event, id=id, name=self._doing))

    def result(self, result: _R) -> bytes:
        return self._first + self._said(result)

    def failure(self, error: BaseException) -> bytes:
        return progress_lines.error(error)

    async def refuse(self, send: Send, error: BaseException) -> None:
        await send_document(send, status_of(error), body_of(message_of(error)))


async def pull(services: Services, call: Call, name: str, platform: str) -> None:
    """What `docker pull` asks for."""
    reference = _wanted(name, call.query.text("tag"))
    keys = Held(registry_auth.one(call.header("x-registry-auth")))
    request = ImagePull(name=str(reference), platforms=(platform,) if platform else ())
    shown = reference.digest or reference.tag or ""
    first = progress_lines.status(f"Pulling from {reference.path}", shown)

    def said(result: ImagePulled) -> bytes:
        news = "Downloaded newer image for" if result.new else "Image is up to date for"
        return progress_lines.status(f"Digest: {result.digest}") + progress_lines.status(
            f"Status: {news} {reference.familiar()}"
        )

    async def run(feed: Feed) -> ImagePulled:
        return await services.images.pull_image(request, keys, feed.emit)

    form: TransferForm[ImagePulled] = TransferForm(first, "Downloading", "Pull complete", said)
    await answer(run, form, call.running, call.send, until_disconnected(call.receive))


def _wanted(name: str, tag: str) -> Reference:
    reference = references.parse(name.removesuffix(":"))
    if tag:
        reference = references.parse(f"{reference}@{tag}") if ":" in tag else reference.with_tag(tag)
    return reference.with_default_tag()


async def _push(services: Services, call: Call) -> None:
    name, tag = call.names["name"], call.query.text("tag")
    reference = _wanted(name, tag)
    await found(services.images, reference.familiar())
    platform = call.platform()
    keys = Held(registry_auth.one(call.header("x-registry-auth")))
    request = ImagePush(name=str(reference), platform=str(platform) if platform else "")
    first = progress_lines.status(f"The push refers to repository [{reference.name}]")

    def said(result: ImagePushed) -> bytes:
        aux = {"Tag": reference.tag, "Digest": result.digest, "Size": result.size}
        return progress_lines.status(
            f"{reference.tag}: digest: {result.digest} size: {result.size}"
        ) + progress_lines.aux(aux)

    async def run(feed: Feed) -> ImagePushed:
        return await services.images.push_image(request, keys, feed.emit)

    form: TransferForm[ImagePushed] = TransferForm(first, "Pushing", "Pushed", said)
    await answer(run, form, call.running, call.send, until_disconnected(call.receive))


async def _search(call: Call) -> Answer:
    raise UnsupportedError(
        "searching for images is not supported yet", hint="registries' own pages do that; `boat tags NAME` lists tags"
    )


class _Auth(msgspec.Struct):
    username: str = ""
    password: str = ""
    serveraddress: str = ""
    identitytoken: str = ""


async def _auth(services: Services, call: Call) -> Answer:
    given = await call.document(_Auth)
    host = registry_auth.host(given.serveraddress or "docker.io")
    keys = Held(Credential(given.username, given.password, given.identitytoken))
    await services.images.check_registry(host, keys)
    return json({"Status": "Login Succeeded", "IdentityToken": ""})


async def _distribution(services: Services, call: Call) -> Answer:
    reference = references.parse(call.names["name"]).with_default_tag()
    keys = Held(registry_auth.one(call.header("x-registry-auth")))
    described = await services.images.look_up(reference, keys)
    return json(
        {
            "Descriptor": {
                "mediaType": described.target.media_type,
                "digest": described.target.digest,
                "size": described.target.size,
            },
            "Platforms": [
                {
                    "architecture": each.architecture,
                    "os": each.os,
                    **({"variant": each.variant} if each.variant else {}),
                }
                for each in described.platforms
            ],
        }
    )
