"""Images of the daemon's store, and the base images it makes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from boatyard.api.download import download
from boatyard.api.feed import Feed
from boatyard.api.native.form import Lines
from boatyard.api.native.keys import ClientKeys
from boatyard.api.native.offers import Offers
from boatyard.api.native.operations import Incoming, Operation, Parameter, decode, read_body
from boatyard.api.native.relays import with_file
from boatyard.api.native.services import ImageService
from boatyard.api.stream import Running, answer
from boatyard.client.documents.images import (
    Bootstrapped,
    BootstrapRequest,
    ImageDelete,
    ImageDetail,
    ImageHistory,
    ImageImport,
    ImageList,
    ImageLoad,
    ImagePull,
    ImagePulled,
    ImagePush,
    ImagePushed,
    ImageSave,
    ImagesDeleted,
    ImagesLoaded,
    ImagesSaved,
    ImageTag,
    ImageTagged,
)
from boatyard.errors import InvalidError
from boatyard.progress import Event
from boatyard.wire.asgi import Receive, Send
from boatyard.wire.pipes import open_pipe, pump_body

_NAME = Parameter("name", "a name, an ID or an ID's prefix", required=True)
_PLATFORM = Parameter("platform", "which image of a multi-platform name")
_ARCHIVE = "application/x-tar"


def operations(service: ImageService, offers: Offers) -> tuple[Operation, ...]:
    return (
        Operation(
            "GET",
            "/images",
            "The images of the store.",
            ImageList,
            parameters=(Parameter("filter", "one a line: reference=, dangling=, label=, before=, since="),),
            plain=partial(_list, service),
        ),
        Operation(
            "GET",
            "/images/inspect",
            "One image.",
            ImageDetail,
            parameters=(_NAME, _PLATFORM),
            plain=partial(_inspect, service),
        ),
        Operation(
            "GET",
            "/images/history",
            "How an image was made.",
            ImageHistory,
            parameters=(_NAME, _PLATFORM),
            plain=partial(_history, service),
        ),
        Operation(
            "POST",
            "/images/delete",
            "Remove names, and images that have none left.",
            ImagesDeleted,
            request=ImageDelete,
            plain=partial(_delete, service),
        ),
        Operation(
            "POST", "/images/tag", "Give an image a name.", ImageTagged, request=ImageTag, plain=partial(_tag, service)
        ),
        Operation(
            "POST",
            "/images/load",
            "Read an archive from a descriptor.",
            ImagesLoaded,
            request=ImageLoad,
            streamed=partial(_load, service, offers),
        ),
        Operation(
            "PUT",
            "/images/archive",
            "Read an archive from the request's body.",
            ImagesLoaded,
            request_type=_ARCHIVE,
            raw=partial(_load_body, service),
        ),
        Operation(
            "POST",
            "/images/import",
            "Make an image of a root file system archive.",
            ImagesLoaded,
            request=ImageImport,
            streamed=partial(_import, service, offers),
        ),
        Operation(
            "POST",
            "/images/save",
            "Write an archive to a descriptor.",
            ImagesSaved,
            request=ImageSave,
            streamed=partial(_save, service, offers),
        ),
        Operation(
            "POST",
            "/images/archive",
            "Send an archive as the answer's body.",
            None,
            request=ImageSave,
            answer_type=_ARCHIVE,
            raw=partial(_save_body, service),
        ),
        Operation(
            "POST",
            "/images/pull",
            "Fetch an image from its registry.",
            ImagePulled,
            request=ImagePull,
            streamed=partial(_pull, service, offers),
        ),
        Operation(
            "POST",
            "/images/push",
            "Send an image to the registry of its name.",
            ImagePushed,
            request=ImagePush,
            streamed=partial(_push, service, offers),
        ),
        Operation(
            "POST",
            "/bootstrap",
            "Make a base image from a distribution's packages.",
            Bootstrapped,
            request=BootstrapRequest,
            streamed=partial(_bootstrap, service),
        ),
    )


async def _list(service: ImageService, incoming: Incoming) -> ImageList:
    return ImageList(images=tuple(await service.list_images(incoming.lines("filter"))))


async def _inspect(service: ImageService, incoming: Incoming) -> ImageDetail:
    return await service.inspect_image(incoming.required("name"), incoming.query.get("platform", ""))


async def _history(service: ImageService, incoming: Incoming) -> ImageHistory:
    return await service.image_history(incoming.required("name"), incoming.query.get("platform", ""))


async def _delete(service: ImageService, incoming: Incoming) -> ImagesDeleted:
    return await service.delete_images(incoming.document)


async def _tag(service: ImageService, incoming: Incoming) -> ImageTagged:
    request: ImageTag = incoming.document
    return ImageTagged(name=await service.tag_image(request.source, request.target))


async def _load(service: ImageService, offers: Offers, incoming: Incoming, feed: Feed) -> ImagesLoaded:
    request: ImageLoad = incoming.document
    return await with_file(
        request.token, offers, incoming.peer, os.O_RDONLY, lambda archive: service.load_images(archive, feed.emit)
    )


async def _import(service: ImageService, offers: Offers, incoming: Incoming, feed: Feed) -> ImagesLoaded:
    request: ImageImport = incoming.document
    return await with_file(
        request.token,
        offers,
        incoming.peer,
        os.O_RDONLY,
        lambda archive: service.import_image(request, archive, feed.emit),
    )


async def _save(service: ImageService, offers: Offers, incoming: Incoming, feed: Feed) -> ImagesSaved:
    request: ImageSave = incoming.document
    return await with_file(
        request.token,
        offers,
        incoming.peer,
        os.O_WRONLY,
        lambda target: service.save_images(request, target, feed.emit),
    )


@asynccontextmanager
async def _keys(token: str, offers: Offers, incoming: Incoming) -> AsyncIterator[ClientKeys]:
    """The credentials of the client, if it offers any."""
    async with AsyncExitStack() as stack:
        descriptor = None
        if token:
            handover = await offers.claim(token, incoming.peer.uid)
            stack.callback(handover.close)
            if len(handover.descriptors) != 1:
                raise InvalidError(f"one descriptor was expected with the token, {len(handover.descriptors)} came")
            descriptor = handover.descriptors[0]
        keys = ClientKeys(descriptor)
        stack.push_async_callback(keys.close)
        yield keys


async def _pull(service: ImageService, offers: Offers, incoming: Incoming, feed: Feed) -> ImagePulled:
    request: ImagePull = incoming.document
    async with _keys(request.credentials, offers, incoming) as keys:
        return await service.pull_image(request, keys, feed.emit)


async def _push(service: ImageService, offers: Offers, incoming: Incoming, feed: Feed) -> ImagePushed:
    request: ImagePush = incoming.document
    async with _keys(request.credentials, offers, incoming) as keys:
        return await service.push_image(request, keys, feed.emit)


async def _bootstrap(service: ImageService, incoming: Incoming, feed: Feed) -> Bootstrapped:
    return await service.bootstrap(incoming.document, feed.emit)


async def _load_body(service: ImageService, incoming: Incoming, receive: Receive, send: Send, running: Running) -> None:
    with open_pipe() as pipe:
        await answer(
            lambda feed: service.load_images(pipe.readable, feed.emit), Lines(), running, send, pump_body(receive, pipe)
        )


async def _save_body(service: ImageService, incoming: Incoming, receive: Receive, send: Send, running: Running) -> None:
    request = decode(await read_body(receive), ImageSave)
    if request.token:
        raise InvalidError("a token makes no sense where the archive is the answer's body")
    await download(
        lambda target: service.save_images(request, target, _ignore), _ARCHIVE.encode("ascii"), running, receive, send
    )


def _ignore(event: Event) -> None:
    """An archive as a body has no room for progress."""
