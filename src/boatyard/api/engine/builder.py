"""What the builder and the images keep on the disk, and removing it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from boatyard.api.engine import filters as filters_
from boatyard.api.engine import image_documents
from boatyard.api.engine.call import Answer, Call, json
from boatyard.api.engine.filters import Filters
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.client.documents.disk import PruneRequest, UsageRecord
from boatyard.errors import InvalidError
from boatyard.image.timestamp import rfc3339

_KINDS = ("container", "image", "volume", "build-cache")
_PRUNE_FILTERS = (
    "until", "unused-for", "id", "parents", "description", "type", "inuse", "shared", "private", "mutable", "immutable",
)  # fmt: skip
_BOOLEAN = ("inuse", "shared", "private", "mutable", "immutable")


def routes(services: Services) -> tuple[Route, ...]:
    return (
        Route("GET", "/system/df", partial(_usage, services)),
        Route("POST", "/build/prune", partial(_prune, services)),
        Route("POST", "/build/cancel", partial(_cancel, services)),
    )


async def _usage(services: Services, call: Call) -> Answer:
    kinds = call.query.all("type") if call.since(1, 42) else ()
    for kind in kinds:
        if kind not in _KINDS:
            raise InvalidError(f"unknown object type: {kind}")
    document: dict[str, Any] = {
        "LayersSize": 0,
        "Images": None,
        "Containers": None if kinds and "container" not in kinds else [],
        "Volumes": None if kinds and "volume" not in kinds else [],
        "BuildCache": None,
    }
    if not kinds or "image" in kinds:
        images, use = await asyncio.gather(services.images.list_images(()), services.images.layer_use())
        document["LayersSize"] = use.total
        document["Images"] = [
            image_documents.summary(image, call.version, shared_size=use.shared.get(image.digest, 0), containers=0)
            for image in images
        ]
    if not kinds or "build-cache" in kinds:
        records = (await services.disk.usage(())).records
        document["BuildCache"] = [_record(record, call) for record in records]
        if not call.since(1, 42):
            document["BuilderSize"] = sum(record.size for record in records)
    return json(document)


def _record(record: UsageRecord, call: Call) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ID": record.id,
        "Type": record.type,
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": record.shared,
        "Size": record.size,
        "CreatedAt": rfc3339(record.created),
        "LastUsedAt": rfc3339(record.last_used) if record.last_used else None,
        "UsageCount": record.usage_count,
    }
    if record.parents:
        # The first one was all there was; the blank in the newer name is Docker's.
        document |= {" Parents": list(record.parents)} if call.since(1, 42) else {"Parent": record.parents[0]}
    return document


async def _prune(services: Services, call: Call) -> Answer:
    query = call.query
    kept, most, free = query.number("keep-storage"), 0, 0
    if call.since(1, 48):
        kept = query.number("reserved-space") or kept
        most, free = query.number("max-used-space"), query.number("min-free-space")
    if min(kept, most, free) < 0:
        raise InvalidError("a space can't be negative")
    wanted = tuple(_terms(query.filters(*_PRUNE_FILTERS)))
    pruned = await services.disk.prune(
        PruneRequest(
            filters=wanted, all=query.flag("all"), reserved_space=kept, max_used_space=most, min_free_space=free
        )
    )
    services.events.publish("builder", "prune", "", {"reclaimed": str(pruned.bytes)})
    deleted = [record.id for record in pruned.records]
    return json({"CachesDeleted": deleted or None, "SpaceReclaimed": pruned.bytes})


def _terms(filters: Filters) -> list[str]:
    """In the builder's words. `inuse` and its like are asked without a value."""
    found = []
    for name, values in filters.items():
        for value in values:
            if name in _BOOLEAN:
                wanted = filters_.truth({name: (value or "true",)}, name, True)
                found.append(name if wanted else f"{name}==false")
            else:
                found.append(f"{name}={value}" if name in ("until", "unused-for") else f"{name}=={value}")
    return found


async def _cancel(services: Services, call: Call) -> Answer:
    id = call.query.text("id")
    if not id:
        raise InvalidError("build ID not provided")
    services.builds.cancel(id)
    return Answer()
