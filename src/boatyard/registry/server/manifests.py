"""Manifests: give, take and forget them. Those that are asked for stay in memory.

Specification: OCI distribution-spec 1.1, "Pulling manifests", "Pushing Manifests", "Deleting Tags", "Deleting
Manifests".
"""

from __future__ import annotations

import asyncio

from boatyard.errors import NotFoundError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.registry.server import manifest as documents
from boatyard.registry.server.memory import Known
from boatyard.registry.server.records import ManifestRow
from boatyard.registry.server.refusal import (
    RefusedError,
    digest_invalid,
    manifest_invalid,
    manifest_unknown,
    name_unknown,
)
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Header, Request
from boatyard.registry.server.route import is_tag

_MOST_TAGS = 50


async def get(registry: Registry, request: Request) -> None:
    """GET and HEAD."""
    name, reference = request.route.name, request.route.rest
    if registry.mirror is not None and (is_tag(reference) or digests.is_digest(reference)):
        await registry.mirror.bring_manifest(name, reference)
    known = registry.manifests.get(name, reference) or await _load(registry, name, reference)
    if known.etag in request.header(b"if-none-match"):
        await request.answer(304, known.headers)
        return
    if request.method == "HEAD":
        await request.answer_head(200, len(known.data), known.headers)
        return
    await request.answer(200, known.headers, known.data)


async def _load(registry: Registry, name: str, reference: str) -> Known:
    if ":" in reference and not digests.is_digest(reference):
        raise digest_invalid(reference)
    generation = registry.records.generation()
    row = registry.records.manifest(name, reference)
    if row is None:
        unknown = registry.records.repository(name) is None
        raise name_unknown(name) if unknown else manifest_unknown(reference)
    try:
        data = await asyncio.to_thread(_read, registry, row.digest)
    except NotFoundError as error:
        raise manifest_unknown(reference) from error
    digest = row.digest.encode("ascii")
    headers = [
        (b"content-type", row.media_type.encode("ascii")),
        (b"docker-content-digest", digest),
        (b"etag", b'"%s"' % digest),
    ]
    known = Known(data, f'"{row.digest}"', headers)
    registry.manifests.put(name, reference, known, generation)
    return known


def _read(registry: Registry, digest: Digest) -> bytes:
    return registry.blobs.read(digest)


async def put(registry: Registry, request: Request) -> None:
    name, reference = request.route.name, request.route.rest
    tags = _tags(reference, request)
    too_long = RefusedError(413, "MANIFEST_INVALID", f"a manifest may have {documents.LARGEST} bytes")
    data = await request.small_body(documents.LARGEST, too_long)
    facts = documents.read(data, request.header(b"content-type"))
    digest = digests.of_bytes(data, digests.algorithm(Digest(reference)) if ":" in reference else "sha256")
    if ":" in reference and digest != reference:
        raise digest_invalid(reference, f"the manifest has the digest {digest}")
    row = ManifestRow(digest, facts.media_type, len(data), facts.artifact_type, facts.subject, facts.annotations)
    missing = await asyncio.to_thread(_store, registry, name, row, facts, tags, data)
    if missing:
        raise RefusedError(
            404,
            "MANIFEST_BLOB_UNKNOWN",
            f"the repository has no {missing[0]}" + (f", and {len(missing) - 1} more" if missing[1:] else ""),
            detail=[{"digest": each} for each in missing[:100]],
        )
    headers: list[Header] = [
        (b"location", f"/v2/{name}/manifests/{reference}".encode("ascii")),
        (b"docker-content-digest", digest.encode("ascii")),
    ]
    if facts.subject is not None:
        headers.append((b"oci-subject", facts.subject.encode("ascii")))
    if request.parameter("tag") is not None:
        headers.append((b"oci-tag", ", ".join(tags).encode("ascii")))
    registry.metrics.add("manifests_pushed")
    await request.answer(201, headers)


def _tags(reference: str, request: Request) -> list[str]:
    if ":" not in reference:
        if not is_tag(reference):
            raise manifest_invalid(f"{reference[:160]!r} is no tag")
        return [reference]
    if not digests.is_digest(reference):
        raise digest_invalid(reference)
    tags = list(dict.fromkeys(request.query.get("tag", []))) if request.scope["query_string"] else []
    if bad := [tag for tag in tags if not is_tag(tag)]:
        raise manifest_invalid(f"{bad[0][:160]!r} is no tag")
    if len(tags) > _MOST_TAGS:
        raise RefusedError(414, "UNSUPPORTED", f"at most {_MOST_TAGS} tags are taken at once")
    return tags


def _store(
    registry: Registry, name: str, row: ManifestRow, facts: documents.Facts, tags: list[str], data: bytes
) -> list[Digest]:
    with registry.blobs.stage(data, row.digest) as staged:
        missing = registry.records.put_manifest(
            name,
            row,
            blobs=facts.blobs,
            manifests=facts.manifests,
            tags=tags,
            publish=staged.publisher(row.digest),
        )
        if missing:
            staged.abort()
        return missing


async def delete(registry: Registry, request: Request) -> None:
    name, reference = request.route.name, request.route.rest
    if ":" in reference and not digests.is_digest(reference):
        raise digest_invalid(reference)
    if not await asyncio.to_thread(registry.records.delete_manifest, name, reference):
        unknown = registry.records.repository(name) is None
        raise name_unknown(name) if unknown else manifest_unknown(reference)
    await request.answer(202)
