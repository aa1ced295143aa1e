"""Images in and out as archives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from boatyard.api.download import download
from boatyard.api.engine import progress_lines, registries
from boatyard.api.engine.call import Call
from boatyard.api.engine.errors import body_of, message_of, status_of
from boatyard.api.engine.images import found, repository
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import ImageService, Services
from boatyard.api.feed import Feed
from boatyard.api.stream import answer, send_document
from boatyard.client.documents.envelope import StreamEvent
from boatyard.client.documents.images import ImageImport, ImageSave, ImagesLoaded
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.progress import Event, StatusEvent
from boatyard.wire.asgi import Send
from boatyard.wire.pipes import open_pipe, pump_body

_TAR = b"application/x-tar"


def routes(services: Services) -> tuple[Route, ...]:
    images = services.images
    return (
        Route("GET", "/images/get", partial(_save, images)),
        Route("GET", "/images/{name}/get", partial(_save, images)),
        Route("POST", "/images/load", partial(_load, images)),
        Route("POST", "/images/create", partial(_create, services)),
    )


# -- out -------------------------------------------------------------------------------------------------------------


async def _save(images: ImageService, call: Call) -> None:
    names = (call.names["name"],) if "name" in call.names else call.query.all("names")
    # Clients that join several names with a comma are out there.
    names = tuple(name for text in names for name in text.split(",") if name)
    if not names:
        raise InvalidError("no images were named", hint="?names=NAME, which may be repeated")
    platform = call.platform() if call.since(1, 48) else None
    for name in names:
        await found(images, name)
    request = ImageSave(names=names, platforms=(str(platform),) if platform else ())
    await download(
        lambda target: images.save_images(request, target, _ignore), _TAR, call.running, call.receive, call.send
    )


def _ignore(event: Event) -> None:
    """An archive as a body has no room for progress."""


# -- in --------------------------------------------------------------------------------------------------------------


class LoadingForm:
    """How loading is told. Implements `api.stream.Form`; `said` makes the last lines of the result."""

    content_type = b"application/json"

    def __init__(self, said: Callable[[ImagesLoaded], bytes], *, quiet: bool) -> None:
        self._said = said
        self._quiet = quiet

    def events(self, events: Sequence[StreamEvent]) -> bytes:
        if self._quiet:
            return b""
        return b"".join(progress_lines.transfer(event) for event in events if isinstance(event, StatusEvent))

    def result(self, result: ImagesLoaded) -> bytes:
        return self._said(result)

    def failure(self, error: BaseException) -> bytes:
        return progress_lines.error(error)

    async def refuse(self, send: Send, error: BaseException) -> None:
        await send_document(send, status_of(error), body_of(message_of(error)))


async def _load(images: ImageService, call: Call) -> None:
    if call.since(1, 48) and call.query.text("platform"):
        raise UnsupportedError("loading one platform of an archive is not supported yet", hint="load all of them")
    form = LoadingForm(_loaded, quiet=call.query.flag("quiet", True))
    await _read_body(call, form, images.load_images)


def _loaded(result: ImagesLoaded) -> bytes:
    names = [f"Loaded image: {references.parse(name).familiar()}\n" for name in result.names]
    return progress_lines.text("".join(names or [f"Loaded image ID: {id}\n" for id in result.ids]))


async def _create(services: Services, call: Call) -> None:
    platform = str(platforms.parse(written)) if (written := call.query.text("platform")) and call.since(1, 32) else ""
    if name := call.query.text("fromImage"):
        await registries.pull(services, call, name, platform)
        return
    source = call.query.text("fromSrc")
    if source != "-":
        raise UnsupportedError(
            "importing from a URL is not supported yet", hint="download it, and give it to `docker import -`"
        )
    request = ImageImport(
        token="",
        name=repository(call) or "",
        message=call.query.text("message") or f"Imported from {source}",
        platform=platform,
        changes=call.query.all("changes"),
    )
    form = LoadingForm(lambda result: b"".join(map(progress_lines.status, result.ids)), quiet=True)
    await _read_body(call, form, partial(services.images.import_image, request))


async def _read_body(
    call: Call, form: LoadingForm, work: Callable[[int, Callable[[Event], None]], Awaitable[ImagesLoaded]]
) -> None:
    """`work` reads the request's body from a pipe."""

    async def run(feed: Feed) -> ImagesLoaded:
        return await work(pipe.readable, feed.emit)

    with open_pipe() as pipe:
        await answer(run, form, call.running, call.send, pump_body(call.receive, pipe))
