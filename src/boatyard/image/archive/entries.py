"""The entries of an image archive, taken from a tar stream in one pass, in whatever order they come.

Nothing is ever written under a name from the archive: blobs and large files go into the content store under the digest
of their bytes, small files stay in memory, links are remembered and followed within the archive. So a hostile name can
do no harm, but it is refused all the same: whoever wrote it means no good, or something else than an image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from boatyard.errors import IntegrityError, InvalidError, LayerError
from boatyard.image import digest as digests
from boatyard.image import documents
from boatyard.image.content.store import ContentStore
from boatyard.image.digest import Digest
from boatyard.image.layer import tarstream
from boatyard.image.layer.tarstream import Entry, TarReader, shown
from boatyard.image.spec import Descriptor

_DOCUMENT = 64 << 10
"""Blobs up to this many bytes may be documents."""
_SMALL = 1 << 20
"""Files up to this many bytes stay in memory, as long as they are few."""
_ALL_SMALL = 32 << 20
_MOST = 20_000
"""Entries besides blobs in the largest archive that is read: an image of 125 layers in Docker's old layout has 500."""
_LINKS = 16
_BLOB = re.compile(r"blobs/(sha256|sha512)/([a-f0-9]+)")
_IMPORT_HINT = "if it holds the files of a root file system, use `boat image import`"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the archive that lies in the content store."""

    digest: Digest
    size: int


@dataclass(slots=True)
class Entries:
    """What was in an archive."""

    files: dict[str, Stored | bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    names: int = 0

    def find(self, name: str) -> Stored | bytes | None:
        """The file of that name, links followed."""
        name = _clean(name)
        for _ in range(_LINKS):
            if name not in self.links:
                return self.files.get(name)
            name = self.links[name]
        raise InvalidError(f"the image archive has links that lead in a circle, at {name[:200]!r}")

    def document(self, name: str, content: ContentStore) -> bytes | None:
        """A small file's bytes. InvalidError when it is a large one."""
        found = self.find(name)
        if not isinstance(found, Stored):
            return found
        descriptor = Descriptor(media_type="", digest=found.digest, size=found.size)
        return documents.read_bytes(content, descriptor)

    def store(self, name: str, content: ContentStore) -> Stored | None:
        """The file of that name, in the content store after this."""
        found = self.find(name)
        if isinstance(found, bytes):
            written = documents.write(content, found, "")
            return Stored(written.digest, written.size)
        return found

    def looks_like_a_root(self) -> bool:
        tops = {name.partition("/")[0] for name in (*self.files, *self.links)}
        return len(tops & {"bin", "etc", "usr", "lib", "sbin", "root", "home", "var", "opt"}) > 1


def read_entries(stream: tarstream.Source, content: ContentStore, hold: Callable[[Digest], None] | None) -> Entries:
    """Read an uncompressed tar to its end. `hold` hears of each digest that comes into the content store: before it
    does if the archive says it, else right after. Raises InvalidError for what is no image archive, IntegrityError for
    a blob that isn't what its name says."""
    found = Entries()
    reader = TarReader(stream)
    in_memory = 0
    try:
        for entry in reader:
            name = _checked_name(entry.name)
            found.names += 1
            if entry.kind == tarstream.DIRECTORY or not name:
                continue
            if entry.kind in (tarstream.SYMLINK, tarstream.HARD_LINK):
                found.links[name] = _link_target(name, entry)
                found.files.pop(name, None)
            elif entry.kind != tarstream.REGULAR:
                raise InvalidError(
                    f"the archive has a device or pipe, {name!r}: no image archive has", hint=_IMPORT_HINT
                )
            elif blob := _BLOB.fullmatch(name):
                digest = _blob_digest(blob, name)
                found.files[name] = _ingest(reader, entry, content, digest, hold)
            else:
                found.links.pop(name, None)
                if len(found.files) + len(found.links) > _MOST:
                    raise InvalidError("the archive has too many files for an image archive", hint=_IMPORT_HINT)
                if entry.size <= _SMALL and in_memory + entry.size <= _ALL_SMALL:
                    in_memory += entry.size
                    found.files[name] = b"".join(bytes(view) for _, view in reader.content())
                else:
                    found.files[name] = _ingest(reader, entry, content, None, hold)
    except LayerError as error:
        raise not_readable(error) from error
    return found


def not_readable(error: LayerError) -> InvalidError:
    return InvalidError(
        f"this is not a readable image archive: {error.message}",
        hint="it takes what `docker save`, `podman save`, `skopeo copy` and `boat image save` write, compressed or not",
    )


def _ingest(
    reader: TarReader,
    entry: Entry,
    content: ContentStore,
    digest: Digest | None,
    hold: Callable[[Digest], None] | None,
) -> Stored:
    if entry.sparse is not None:
        raise InvalidError(f"{shown(entry.name)} is a sparse file in the archive", hint="write it without --sparse")
    if digest is not None:
        if hold:
            hold(digest)
        info = content.info(digest)
        # Small ones are documents, on which everything depends: what is damaged in the store is replaced.
        if info is not None and info.size == entry.size > _DOCUMENT:
            return Stored(digest, entry.size)
    with content.ingest(f"archive {os.urandom(8).hex()}") as writer:
        try:
            for _, view in reader.content():
                writer.write(view)
            committed = writer.commit(size=entry.size, digest=digest)
        except IntegrityError as error:
            raise IntegrityError(
                f"{shown(entry.name)} in the archive is damaged: {error.message}",
                hint="make or fetch the archive again",
            ) from error
        except BaseException:
            writer.abort()
            raise
    if digest is None and hold:
        hold(committed)
    return Stored(committed, entry.size)


def _blob_digest(blob: re.Match[str], name: str) -> Digest:
    text = f"{blob[1]}:{blob[2]}"
    if not digests.is_digest(text):
        raise InvalidError(f"the archive has a blob with a name that is no digest: {name[:200]!r}")
    return Digest(text)


def _checked_name(name: bytes) -> str:
    """Relative, with neither `.` nor `..`; "" for the archive's root itself."""
    text = name.decode(errors="surrogateescape")
    if text.startswith("/") or ".." in text.split("/"):
        raise InvalidError(f"the archive has an entry that leads out of it: {shown(name)}")
    return _clean(text)


def _clean(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _link_target(name: str, entry: Entry) -> str:
    """Docker writes `../ID/layer.tar` for a layer that it wrote before. A hard link's target counts from the root."""
    link = entry.link.decode(errors="surrogateescape")
    parts = name.split("/")[:-1] if entry.kind == tarstream.SYMLINK else []
    for part in link.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part == "..":
            raise InvalidError(f"the archive has a link that leads out of it: {shown(entry.name)}")
        elif part not in ("", "."):
            parts.append(part)
    if link.startswith("/"):
        raise InvalidError(f"the archive has a link that leads out of it: {shown(entry.name)}")
    return "/".join(parts)
