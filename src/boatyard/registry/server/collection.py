"""Online garbage collection: what no manifest needs goes, while clients push and pull.

What a client may be counting on stays: a blob that was pushed, mounted or asked for within the grace, since a manifest
of it may be about to come; everything that a manifest is made of, of all its platforms, as long as the manifest is
there. Rows go first; bytes go when no repository has a row for them, under the lock under which rows are made.

Manifests without a tag stay, unless they are asked to go: people pull by digest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from boatyard.errors import NotFoundError
from boatyard.image.digest import Digest
from boatyard.registry.server.records import Records
from boatyard.registry.server.store import BlobStore

log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Rows or files that are removed before others may write."""
_AT_ONCE_ELSEWHERE = 5
"""The same, of objects: each is two requests."""

_KEPT = """
    WITH RECURSIVE kept (repository, digest) AS (
        SELECT repository, digest FROM tags
        UNION
        SELECT repository, digest FROM manifests WHERE pushed > :young
        UNION
        SELECT p.repository, p.digest FROM kept k JOIN parts p ON p.repository = k.repository AND p.manifest = k.digest
        UNION
        SELECT m.repository, m.digest FROM kept k JOIN manifests m ON m.repository = k.repository AND m.subject =
        k.digest
    )
    SELECT m.repository, m.digest FROM manifests m
    WHERE NOT EXISTS (SELECT 1 FROM kept k WHERE k.repository = m.repository AND k.digest = m.digest)
    LIMIT :most
"""
"""Manifests that no tag leads to: neither as a part nor as what refers to it."""

_UNUSED = """
    SELECT l.repository, l.digest FROM links l
    WHERE l.seen <= :young
    AND NOT EXISTS (SELECT 1 FROM parts p WHERE p.repository = l.repository AND p.digest = l.digest)
    LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class Collected:
    manifests: int
    blobs: int
    """Of a repository: the bytes may be another's, too."""
    files: int
    freed: int


def collect(records: Records, blobs: BlobStore, *, now: float, grace: float, untagged: bool = False) -> Collected:
    """Blocks for long, others never for long. Any number may run at once."""
    young = now - grace
    manifests = _remove(records, _KEPT, "manifests", young) if untagged else 0
    links = _remove(records, _UNUSED, "links", young)
    freed = blobs.cleanup(now=now)
    files = 0
    old = [info for info in blobs.walk() if info.modified <= young]
    at_once = _AT_ONCE if blobs.objects is None else _AT_ONCE_ELSEWHERE
    for at in range(0, len(old), at_once):
        for size in _drop(records, blobs, [info.digest for info in old[at : at + at_once]], young):
            files += 1
            freed += size
    return Collected(manifests, links, files, freed)


def _remove(records: Records, select: str, table: str, young: float) -> int:
    """Chosen and removed under one lock, so many at once, until there are none."""
    count = 0
    while True:
        with records.writing() as connection:
            found = connection.execute(select, {"young": young, "most": _AT_ONCE}).fetchall()
            connection.executemany(f"DELETE FROM {table} WHERE repository = ? AND digest = ?", found)
        count += len(found)
        if not found:
            return count


def _drop(records: Records, blobs: BlobStore, digests: Iterable[Digest], young: float) -> Iterable[int]:
    """Sizes of the files removed: those that nobody has."""
    freed = []
    with records.writing() as connection:
        for digest in digests:
            wanted = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM links WHERE digest = ?1)"
                " OR EXISTS (SELECT 1 FROM manifests WHERE digest = ?1)",
                (digest,),
            ).fetchone()[0]
            info = blobs.info(digest)
            if wanted or info is None or info.modified > young:
                continue
            try:
                blobs.delete(digest)
            except NotFoundError:
                continue  # another collection was here
            freed.append(info.size)
    return freed
