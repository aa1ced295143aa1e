"""Lists, page by page: tags, referrers, repositories.

Specification: OCI distribution-spec 1.1, "Content Discovery"; `_catalog` is the distribution project's.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

import msgspec

from boatyard.image import spec
from boatyard.image.spec import Descriptor, Index
from boatyard.registry.server.blobs import checked
from boatyard.registry.server.refusal import RefusedError, name_unknown
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Header, Request

_TAGS = 10_000
_REPOSITORIES = 100
_REFERRERS = 500


async def tags(registry: Registry, request: Request) -> None:
    name = request.route.name
    count, last = _page(request, _TAGS)
    if registry.mirror is not None:
        everything = [tag for tag in await registry.mirror.tags(name) if tag > last]
        await request.answer_json({"name": name, "tags": everything[:count]}, _next(request, everything, count))
        return
    repository = registry.records.repository(name)
    if repository is None:
        raise name_unknown(name)
    found = registry.records.tags(repository, last, count + 1) if count else []
    await request.answer_json({"name": name, "tags": found[:count]}, _next(request, found, count))


async def catalog(registry: Registry, request: Request) -> None:
    count, last = _page(request, _REPOSITORIES, most=1000)
    found = registry.records.repositories(last, count + 1) if count else []
    await request.answer_json({"repositories": found[:count]}, _next(request, found, count))


async def referrers(registry: Registry, request: Request) -> None:
    """Never 404, not even for a repository that isn't there: clients take that for a registry without this API."""
    name, subject = request.route.name, checked(request.route.rest)
    wanted = request.parameter("artifactType") or ""
    count, last = _page(request, _REFERRERS, most=_REFERRERS)
    repository = registry.records.repository(name)
    found = registry.records.referrers(repository, subject, wanted, last, count + 1) if repository and count else []
    descriptors = tuple(
        Descriptor(
            media_type=row.media_type,
            digest=row.digest,
            size=row.size,
            artifact_type=row.artifact_type,
            annotations=row.annotations or {},
        )
        for row in found[:count]
    )
    index = Index(schema_version=2, media_type=spec.OCI_INDEX, manifests=descriptors)
    headers: list[Header] = [(b"content-type", spec.OCI_INDEX.encode())]
    if wanted:
        headers.append((b"oci-filters-applied", b"artifactType"))
    headers += _next(request, [row.digest for row in found], count, **({"artifactType": wanted} if wanted else {}))
    await request.answer(200, headers, msgspec.json.encode(index))


def _page(request: Request, default: int, most: int = 10_000) -> tuple[int, str]:
    text = request.parameter("n")
    if text is None:
        return default, request.parameter("last") or ""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RefusedError(400, "UNSUPPORTED", "n is no number of entries", detail={"n": text[:100]})
    return min(int(text), most), request.parameter("last") or ""


def _next(request: Request, found: list[str], count: int, **others: str) -> list[Header]:
    if len(found) <= count or not count:
        return []
    query = urlencode({**others, "n": count, "last": found[count - 1]})
    return [(b"link", f'<{quote(request.scope["path"])}?{query}>; rel="next"'.encode("ascii"))]
