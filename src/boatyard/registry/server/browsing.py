"""What there is, for people who look around: repositories, tags, platforms, sizes, what refers to them. JSON under
`/boat/registry/v1/`, of which each sees what they may pull.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from boatyard.errors import NotFoundError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.registry.server.records import ManifestRow
from boatyard.registry.server.refusal import RefusedError, manifest_unknown, name_unknown
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Request

_PAGE = 100
_LARGEST_CONFIG = 4 << 20


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str = ""
    size: int = 0
    media_type: str = ""
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None


class _Manifest(msgspec.Struct, rename="camel"):
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    annotations: dict[str, str] | None = None


class _Config(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    created: str = ""
    author: str = ""


async def repositories(registry: Registry, request: Request) -> None:
    """A page: `n` and `last` as elsewhere; `next` is the `last` of the next one."""
    count, last = _page(request)
    found: list[str] = []
    while len(found) <= count and (names := registry.records.repositories(last, 1000)):
        found += [name for name in names if request.admitted.may_on(name, "pull")]
        last = names[-1]
    summaries = [registry.records.summary(name) for name in found[:count]]
    answer: dict[str, Any] = {"repositories": summaries}
    if len(found) > count:
        answer["next"] = found[count - 1]
    await request.answer_json(answer)


async def repository(registry: Registry, request: Request) -> None:
    """Its tags, a page of them."""
    name = request.route.name
    if not request.admitted.may_on(name, "pull"):
        raise name_unknown(name)
    summary = registry.records.summary(name)
    if summary is None:
        raise name_unknown(name)
    count, last = _page(request)
    found = registry.records.tag_rows(name, last, count + 1)
    tags = []
    for tag, updated, row in found[:count]:
        described = await asyncio.to_thread(_describe, registry, name, row)
        tags.append({"tag": tag, "updated": updated, **described})
    answer: dict[str, Any] = {**summary, "tags": tags}
    if len(found) > count:
        answer["next"] = found[count - 1][0]
    await request.answer_json(answer)


async def image(registry: Registry, request: Request) -> None:
    """One manifest or index: its layers, or its platforms with theirs, and what refers to it."""
    name, reference = request.route.name, request.route.rest
    row = registry.records.manifest(name, reference)
    if row is None or not request.admitted.may_on(name, "pull"):
        raise manifest_unknown(reference)
    described = await asyncio.to_thread(_describe, registry, name, row, detailed=True)
    repository = registry.records.repository(name)
    assert repository is not None
    referring = registry.records.referrers(repository, row.digest, "", "", 1000)
    described["referrers"] = [
        {"digest": each.digest, "artifactType": each.artifact_type, "annotations": each.annotations or {}}
        for each in referring
    ]
    await request.answer_json(described)


def _describe(registry: Registry, name: str, row: ManifestRow, *, detailed: bool = False) -> dict[str, Any]:
    """`size`: of all that it is made of, each platform's once."""
    manifest = _read(registry, row.digest)
    found: dict[str, Any] = {"digest": row.digest, "mediaType": row.media_type}
    if manifest.annotations:
        found["annotations"] = manifest.annotations
    if manifest.manifests is None:
        layers = manifest.layers or []
        config = _config(registry, manifest.config)
        found["size"] = row.size + sum(each.size for each in layers) + (manifest.config.size if manifest.config else 0)
        found["platforms"] = [str(_Platform(config.os, config.architecture, config.variant))] if config.os else []
        if detailed:
            found["created"], found["author"] = config.created, config.author
            found["layers"] = [
                {"digest": each.digest, "size": each.size, "mediaType": each.media_type} for each in layers
            ]
        return found
    children: list[dict[str, Any]] = []
    for child in manifest.manifests:
        known = registry.records.manifest(name, child.digest)
        described: dict[str, Any] = {"digest": child.digest}
        if known:
            described = _describe(registry, name, known, detailed=detailed)
        if child.platform and child.platform.os:
            described["platforms"] = [str(child.platform)]
        children.append(described)
    found["size"] = row.size + sum(each.get("size", 0) for each in children)
    found["platforms"] = [text for each in children for text in each.get("platforms", []) if "unknown" not in text]
    if detailed:
        found["manifests"] = children
    return found


def _read(registry: Registry, digest: Digest) -> _Manifest:
    try:
        return msgspec.json.decode(registry.blobs.read(digest), type=_Manifest)
    except (NotFoundError, msgspec.MsgspecError):
        return _Manifest()


def _config(registry: Registry, descriptor: _Descriptor | None) -> _Config:
    """Of an image; an artifact's says nothing."""
    if descriptor is None or not digests.is_digest(descriptor.digest) or descriptor.size > _LARGEST_CONFIG:
        return _Config()
    try:
        return msgspec.json.decode(registry.blobs.read(Digest(descriptor.digest)), type=_Config)
    except (NotFoundError, msgspec.MsgspecError):
        return _Config()


def _page(request: Request) -> tuple[int, str]:
    text = request.parameter("n") or str(_PAGE)
    if not (text.isascii() and text.isdigit() and len(text) < 6) or not int(text):
        raise RefusedError(400, "UNSUPPORTED", "n is no number of entries")
    return min(int(text), 1000), request.parameter("last") or ""
