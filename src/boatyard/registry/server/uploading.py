"""Pushing blobs: in one request, in two, in chunks, in a stream, or from another repository.

Specification: OCI distribution-spec 1.1, "Pushing blobs".
"""

from __future__ import annotations

import asyncio
import re

from boatyard.errors import ConflictError, IntegrityError, NotFoundError
from boatyard.image.digest import Digest
from boatyard.registry.server.blobs import checked
from boatyard.registry.server.refusal import RefusedError, digest_invalid, upload_unknown
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Header, Request
from boatyard.registry.server.route import is_name
from boatyard.registry.server.store import Upload

_CONTENT_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


async def begin(registry: Registry, request: Request) -> None:
    """POST to the uploads of a repository."""
    name = request.route.name
    if (mounted := request.parameter("mount")) is not None:
        digest = checked(mounted)
        if await _mount(registry, request, name, digest, request.parameter("from")):
            await request.answer(201, _located(name, digest))
            return
    text = request.parameter("digest")
    algorithm = request.parameter("digest-algorithm") or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise digest_invalid(algorithm, "the digest's algorithm is not supported")
    expected = checked(text) if text is not None else None
    id = await asyncio.to_thread(registry.blobs.begin, name, algorithm)
    if expected is not None:
        await _finish(registry, request, id, expected)
        return
    await request.answer(202, _state(name, id, 0))


async def _mount(registry: Registry, request: Request, name: str, digest: Digest, source: str | None) -> bool:
    """Whether the blob was found where the client says, or (it needn't say) where the client may read."""
    sources = [source] if source else registry.records.linked_anywhere(digest)
    for each in sources:
        allowed = is_name(each) and request.admitted.may("repository", each, "pull")
        if allowed and await asyncio.to_thread(registry.records.mount_blob, name, digest, each):
            return True
    return False


async def status(registry: Registry, request: Request) -> None:
    name, id = request.route.name, request.route.rest
    try:
        offset = registry.blobs.size(name, id)
    except NotFoundError as error:
        raise upload_unknown() from error
    await request.answer(204, _state(name, id, offset))


async def cancel(registry: Registry, request: Request) -> None:
    upload = await _open(registry, request.route.name, request.route.rest)
    await asyncio.to_thread(upload.abort)
    await request.answer(204)


async def append(registry: Registry, request: Request) -> None:
    """PATCH: a chunk, or a stream of unknown length."""
    name, id = request.route.name, request.route.rest
    upload = await _open(registry, name, id)
    try:
        await _receive(registry, request, upload, id)
    finally:
        await asyncio.to_thread(upload.close)
    await request.answer(202, _state(name, id, upload.offset))


async def finish(registry: Registry, request: Request) -> None:
    """PUT: the last bytes, or all of them, or none."""
    text = request.parameter("digest")
    if text is None:
        raise digest_invalid("", "the digest of the blob is missing")
    await _finish(registry, request, request.route.rest, checked(text))


async def _finish(registry: Registry, request: Request, id: str, digest: Digest) -> None:
    name = request.route.name
    upload = await _open(registry, name, id)
    try:
        await asyncio.to_thread(upload.expect, digest)
        await _receive(registry, request, upload, id)
        try:
            await asyncio.to_thread(upload.verify, digest)
        except IntegrityError as error:
            await asyncio.to_thread(upload.abort)
            raise digest_invalid(digest, f"provided digest did not match uploaded content: {error.message}") from error
        await asyncio.to_thread(registry.records.link_blob, name, digest, upload.offset, upload.publisher(digest))
    finally:
        await asyncio.to_thread(upload.close)
    registry.metrics.add("blobs_pushed")
    await request.answer(201, _located(name, digest))


async def _open(registry: Registry, name: str, id: str) -> Upload:
    try:
        return await asyncio.to_thread(registry.blobs.append, name, id)
    except NotFoundError as error:
        raise upload_unknown() from error
    except ConflictError as error:
        raise RefusedError(409, "BLOB_UPLOAD_INVALID", error.message, headers=[(b"retry-after", b"1")]) from error


async def _receive(registry: Registry, request: Request, upload: Upload, id: str) -> None:
    """The body to its end. RefusedError (416) before a byte is read that doesn't follow the last one."""
    begun = upload.offset
    said = _promised(request, upload, id)
    async with registry.receiving:
        async for piece in request.body():
            await asyncio.to_thread(upload.write, piece)
    received = upload.offset - begun
    registry.metrics.add("received_bytes", received)
    if said is not None and said != received:
        await asyncio.to_thread(upload.truncate, begun)
        raise RefusedError(400, "SIZE_INVALID", f"the chunk's range has {said} bytes, its content {received}")


def _promised(request: Request, upload: Upload, id: str) -> int | None:
    """How many bytes the chunk should have, where its range is given."""
    text = request.header(b"content-range")
    if not text:
        return None
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None or int(match[2]) + 1 < int(match[1]):
        raise RefusedError(400, "BLOB_UPLOAD_INVALID", "malformed Content-Range: it is FIRST-LAST")
    first, last = map(int, match.groups())
    if first != upload.offset:
        raise RefusedError(
            416,
            "BLOB_UPLOAD_INVALID",
            f"the next byte is number {upload.offset}",
            headers=_state(request.route.name, id, upload.offset),
        )
    if request.length is not None and request.length != last + 1 - first:
        raise RefusedError(400, "SIZE_INVALID", "Content-Range and Content-Length contradict each other")
    return last + 1 - first


def _state(name: str, id: str, offset: int) -> list[Header]:
    return [
        (b"location", f"/v2/{name}/blobs/uploads/{id}".encode("ascii")),
        (b"range", b"0-%d" % max(0, offset - 1)),
        (b"docker-upload-uuid", id.encode("latin-1")),
    ]


def _located(name: str, digest: Digest) -> list[Header]:
    return [
        (b"location", f"/v2/{name}/blobs/{digest}".encode("ascii")),
        (b"docker-content-digest", digest.encode("ascii")),
    ]
