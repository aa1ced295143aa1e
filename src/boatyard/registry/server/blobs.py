"""Blobs: are they there, give them, whole or in part, and forget them.

Specification: OCI distribution-spec 1.1, "Pulling blobs", "Checking if content exists", "Deleting Blobs"; RFC 9110, 14.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from boatyard.errors import NotFoundError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.registry.server.refusal import RefusedError, blob_unknown, digest_invalid, name_unknown
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import PIECE, Header, Request

if TYPE_CHECKING:
    from boatyard.registry.server.objects import Objects

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def get(registry: Registry, request: Request) -> None:
    """GET and HEAD."""
    name, digest = request.route.name, checked(request.route.rest)
    if registry.mirror is not None and registry.records.link(name, digest) is None and await _mirror(registry, request):
        return
    size = await _found(registry, name, digest)
    etag = b'"%s"' % digest.encode("ascii")
    headers: list[Header] = [
        (b"content-type", b"application/octet-stream"),
        (b"docker-content-digest", digest.encode("ascii")),
        (b"etag", etag),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"max-age=31536000, immutable"),
    ]
    if etag.decode() in request.header(b"if-none-match"):
        await request.answer(304, headers)
        return
    if request.method == "HEAD":
        await request.answer_head(200, size, headers)
        return
    first, count, status = 0, size, 200
    if asked := request.header(b"range"):
        first, count = part(asked, size)
        if (first, count) != (0, size):
            status = 206
            headers.append((b"content-range", b"bytes %d-%d/%d" % (first, first + count - 1, size)))
    if registry.blobs.objects is not None:
        await _pass_on(registry.blobs.objects, request, digest, status, headers, first, count)
        registry.metrics.add("sent_bytes", count)
        return
    try:
        file = registry.blobs.open(digest)
    except NotFoundError as error:
        raise blob_unknown(digest) from error
    with file:
        await request.answer_file(status, headers, file, first, count)
    registry.metrics.add("sent_bytes", count)


async def _pass_on(
    objects: Objects, request: Request, digest: Digest, status: int, headers: list[Header], first: int, count: int
) -> None:
    """From the object store to the client."""
    pieces = objects.stream(digest, first, count, PIECE)
    try:
        piece = await asyncio.to_thread(next, pieces, b"")
        while piece or not request.status:
            await request.answer_piece(headers, count, piece, status)
            piece = await asyncio.to_thread(next, pieces, b"")
    except NotFoundError as error:
        raise blob_unknown(digest) from error
    finally:
        await asyncio.to_thread(pieces.close)


async def _mirror(registry: Registry, request: Request) -> bool:
    """Bring a blob from the mirrored registry. Whether that was the answer, too: to a GET of all of it, whose size is
    known."""
    assert registry.mirror is not None
    digest = checked(request.route.rest)
    passing = request.method == "GET" and not request.header(b"range")
    async for size, piece in registry.mirror.fetch(request.route.name, digest):
        registry.metrics.add("mirrored_bytes", len(piece))
        if passing and size is not None:
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"docker-content-digest", digest.encode("ascii")),
            ]
            await request.answer_piece(headers, size, piece)
    return request.status != 0


async def _found(registry: Registry, name: str, digest: Digest) -> int:
    link = registry.records.link(name, digest)
    if link is None:
        raise name_unknown(name) if registry.records.repository(name) is None else blob_unknown(digest)
    size, seen = link
    if registry.clock() - seen > registry.settings.grace / 4 and not registry.settings.read_only:
        # Whoever knows that it is here may push a manifest of it without sending it again.
        await asyncio.to_thread(registry.records.touch_blob, name, digest)
    return size


async def delete(registry: Registry, request: Request) -> None:
    digest = checked(request.route.rest)
    if not await asyncio.to_thread(registry.records.unlink_blob, request.route.name, digest):
        raise blob_unknown(digest)
    await request.answer(202)


def checked(text: str) -> Digest:
    if not digests.is_digest(text):
        raise digest_invalid(text)
    return Digest(text)


def part(text: str, size: int) -> tuple[int, int]:
    """First byte and count of what a Range header asks for; all when it asks for several parts, or in other units.
    RefusedError (416) when it has nothing of it."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        begin = max(0, size - int(last))
        end = size if int(last) else begin
    else:
        begin = int(first)
        end = min(size, int(last) + 1) if last else size
    if begin >= end:
        headers = [(b"content-range", b"bytes */%d" % size)]
        raise RefusedError(416, "SIZE_INVALID", f"there are {size} bytes, none of them in this range", headers=headers)
    return begin, end - begin
