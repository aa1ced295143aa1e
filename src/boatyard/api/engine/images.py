"""Images: listing, looking at one, naming, removing."""

from __future__ import annotations

import time
from functools import partial

from boatyard.api.engine import filters as filters_
from boatyard.api.engine import image_documents
from boatyard.api.engine.call import Answer, Call, json
from boatyard.api.engine.filters import Filters
from boatyard.api.engine.moments import parse_moment
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import ImageService, Services
from boatyard.client.documents.images import ImageDelete, ImageSummary
from boatyard.errors import BoatyardError, ConflictError, InvalidError, NotFoundError, UnsupportedError
from boatyard.image import reference as references

_LIST_FILTERS = ("dangling", "label", "before", "since", "reference", "until")
_PRUNE_FILTERS = ("dangling", "label", "label!", "until")
_PASSED_ON = ("dangling", "label", "before", "since", "reference")


def routes(services: Services) -> tuple[Route, ...]:
    images = services.images
    return (
        Route("GET", "/images/json", partial(_list, images)),
        Route("GET", "/images/{name}/json", partial(_inspect, services)),
        Route("GET", "/images/{name}/history", partial(_history, images)),
        Route("POST", "/images/{name}/tag", partial(_tag, images)),
        Route("POST", "/images/prune", partial(_prune, services)),
        Route("DELETE", "/images/{name}", partial(_delete, images)),
    )


async def found(images: ImageService, name: str) -> str:
    """The name of an image that is there. Clients know by the words of this error that they have to pull."""
    try:
        await images.resolve_image(name)
    except NotFoundError:
        raise NotFoundError(f"No such image: {_in_full(name)}") from None
    return name


def _in_full(name: str) -> str:
    """With its tag, as Docker shows it; an ID as it is."""
    try:
        return references.parse(name).with_default_tag().familiar()
    except InvalidError:
        return name


async def _list(images: ImageService, call: Call) -> Answer:
    filters = dict(call.query.filters(*_LIST_FILTERS))
    if not call.since(1, 41) and (pattern := call.query.text("filter")):
        filters["reference"] = (*filters.get("reference", ()), pattern)
    chosen = await _matching(images, filters)
    use = await images.layer_use() if call.since(1, 42) and call.query.flag("shared-size") else None
    with_manifests = call.since(1, 47) and call.query.flag("manifests")
    return json(
        [
            image_documents.summary(
                image,
                call.version,
                shared_size=use.shared.get(image.digest, 0) if use else image_documents.NOT_COUNTED,
                manifests=await images.image_manifests(image.digest) if with_manifests else None,
            )
            for image in chosen
        ]
    )


async def _matching(images: ImageService, filters: Filters) -> list[ImageSummary]:
    """`before`, `since`: NotFoundError when the image they name isn't there."""
    for name in (filters_.single(filters, "before"), filters_.single(filters, "since")):
        if name:
            await found(images, name)
    filters_.truth(filters, "dangling", True)
    lines = [f"{field}={value}" for field in _PASSED_ON for value in filters.get(field, ())]
    chosen = await images.list_images(lines)
    until = _until(filters)
    return [image for image in chosen if until is None or (image.created or 0.0) <= until]


def _until(filters: Filters) -> float | None:
    written = filters_.single(filters, "until")
    return parse_moment(written, time.time()) if written else None


async def _inspect(services: Services, call: Call) -> Answer:
    images = services.images
    with_manifests = call.since(1, 48) and call.query.flag("manifests")
    platform = call.platform() if call.since(1, 49) else None
    if with_manifests and platform:
        raise InvalidError("conflicting options: manifests and platform options cannot both be set")
    name = await found(images, call.names["name"])
    detail = await images.inspect_image(name, str(platform or ""))
    manifests = await images.image_manifests(name) if with_manifests else None
    return json(image_documents.inspection(detail, call.version, services.driver, manifests))


async def _history(images: ImageService, call: Call) -> Answer:
    name = await found(images, call.names["name"])
    platform = str((call.platform() if call.since(1, 48) else None) or "")
    detail = await images.inspect_image(name, platform)
    history = await images.image_history(name, platform)
    return json(image_documents.history(history.entries, detail.id))


async def _tag(images: ImageService, call: Call) -> Answer:
    target = repository(call)
    if target is None:
        raise InvalidError("the parameter repo is missing")
    if references.parse(target).familiar_name() == "sha256":
        raise InvalidError("refusing to create an ambiguous tag using digest algorithm as name")
    name = await found(images, call.names["name"])
    await images.tag_image(name, target)
    return Answer(201)


def repository(call: Call) -> str | None:
    """The new name that the parameters repo and tag ask for; None without repo."""
    repo, tag = call.query.text("repo"), call.query.text("tag")
    if not repo:
        return None
    reference = references.parse(repo)
    if reference.digest:
        raise InvalidError("cannot import digest reference")
    return str(reference.with_tag(tag) if tag else reference.with_default_tag())


async def _delete(images: ImageService, call: Call) -> Answer:
    name = call.names["name"]
    if not name.strip():
        raise InvalidError("image name cannot be blank")
    if call.since(1, 50) and call.query.all("platforms"):
        raise UnsupportedError("removing one platform of an image is not supported yet")
    return json(await _deleted(images, await found(images, name), force=call.query.flag("force")))


async def _deleted(images: ImageService, name: str, *, force: bool) -> list[dict[str, str]]:
    id = await _id(images, name)
    try:
        gone = await images.delete_images(ImageDelete(names=(name,), force=force))
    except ConflictError:
        raise ConflictError(
            f"conflict: unable to delete {_short(id)} (must be forced) - image is referenced in multiple repositories"
        ) from None
    untagged = [{"Untagged": references.parse(each).familiar()} for each in gone.untagged]
    return untagged + [{"Deleted": id} for _ in gone.deleted]


async def _id(images: ImageService, name: str) -> str:
    """Of a damaged image, which can't be looked at but must be removable, its name is told in place of its ID."""
    try:
        return (await images.inspect_image(name, "")).id
    except BoatyardError:
        return name


def _short(id: str) -> str:
    return id.removeprefix("sha256:")[:12]


async def _prune(services: Services, call: Call) -> Answer:
    """Without the filter dangling=false, only images that have no name."""
    images = services.images
    filters = call.query.filters(*_PRUNE_FILTERS)
    dangling_only = filters_.truth(filters, "dangling", True)
    until = _until(filters)
    doomed = {
        image.digest: image.id
        for image in await images.list_images(("dangling=true",) if dangling_only else ())
        if (until is None or (image.created or 0.0) <= until) and filters_.match_labels(filters, image.labels)
    }
    gone = await images.delete_images(ImageDelete(names=tuple(doomed), force=True))
    deleted = [{"Untagged": references.parse(name).familiar()} for name in gone.untagged]
    deleted += [{"Deleted": doomed[digest]} for digest in gone.deleted]
    reclaimed = gone.bytes
    services.events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    return json({"ImagesDeleted": deleted or None, "SpaceReclaimed": reclaimed})
