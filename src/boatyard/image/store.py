"""The image store: which names stand for which images.

A row is a name and the descriptor of what it names (a manifest or an index); the documents are in the content store,
the layers there or in the layer store. Several names may stand for one image. An image that lost its last name to a
newer one stays as a *dangling* image, under a name that no reference can have, until it is deleted.

Specification: none; names and removal behave as Docker's users know them.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from boatyard.errors import BoatyardError, ConflictError, InvalidError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.content.store import ContentStore
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor

_DANGLING = "<none>@"
_COLUMNS = "SELECT name, descriptor, created, updated FROM images"
_HEX = re.compile(r"[a-f0-9]{1,128}")


@dataclass(frozen=True, slots=True)
class Image:
    """A name and what it stands for. `name` is a normalised reference, or `<none>@DIGEST` for a dangling image."""

    name: str
    target: Descriptor
    created: float
    updated: float

    @property
    def dangling(self) -> bool:
        return self.name.startswith(_DANGLING)

    @property
    def reference(self) -> Reference | None:
        """None for a dangling image."""
        return None if self.dangling else references.parse(self.name)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What `delete` did: the names it took away, and the images that have no name any more."""

    untagged: tuple[str, ...]
    deleted: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened in the store: `tag`, `untag`, `create` (an image was built that wasn't there) or `delete`
    (it lost its last name). `name` is "" where it isn't about one."""

    action: str
    name: str
    target: Descriptor


def _nobody(change: Change) -> None:
    """Nobody wants to know."""


class ImageStore:
    """One per daemon, made by its wiring. Safe to use from any thread. `told` is told of each change when it has
    happened, in the thread that made it."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        *,
        clock: Callable[[], float] = time.time,
        told: Callable[[Change], None] = _nobody,
    ) -> None:
        self._database = database
        self._content = content
        self._clock = clock
        self._told = told
        self._identities: dict[Digest, frozenset[Digest]] = {}
        self.generation = 0
        """Grows with every change: a garbage collection sees by it that it has to look again."""

    def get(self, name: str | Reference) -> Image | None:
        """The image of that name, `latest` when it says no tag. A name with a digest finds the image of that repository
        with that digest, or the manifest with it inside an index. InvalidError for what is no name."""
        reference = _normalised(name)
        if reference.digest is None:
            return self._row(str(reference))
        named = [image for image in self.list() if _same_repository(image, reference)]
        for image in named:
            if image.target.digest == reference.digest:
                return image
        for image in named:
            for manifest in self._manifests(image.target):
                if manifest.digest == reference.digest:
                    return replace(image, target=manifest)
        return None

    def put(
        self, name: str | Reference | None, target: Descriptor, *, keep_replaced: bool = True, built: bool = False
    ) -> Image:
        """Let `name` stand for `target`, whose document must be in the content store. None: a dangling image. What the
        name stood for before becomes dangling if it has no other name, unless `keep_replaced` is false. `built`: the
        image was made here."""
        if name is None:
            key = _DANGLING + target.digest
        else:
            reference = _normalised(name)
            if reference.digest is not None:
                if reference.digest != target.digest:
                    raise InvalidError(f"{reference.familiar()} can't name an image with the digest {target.digest}")
                reference = replace(reference, tag=None)
            key = str(reference)
        with self._database.transaction() as connection:
            if self._content.info(target.digest) is None:
                raise NotFoundError(f"can't name {key}: its manifest {target.digest} is not in the content store")
            now = self._clock()
            before = self._row(key)
            created_now = built and not self.named(target.digest)
            created = before.created if before and before.target.digest == target.digest else now
            connection.execute(
                "INSERT OR REPLACE INTO images (name, descriptor, digest, created, updated) VALUES (?, ?, ?, ?, ?)",
                (key, msgspec.json.encode(target), target.digest, created, now),
            )
            if name is not None:
                connection.execute("DELETE FROM images WHERE name = ?", (_DANGLING + target.digest,))
            if before and keep_replaced and not self.named(before.target.digest):
                self.put(None, before.target)
            self.generation += 1
        if created_now:
            self._told(Change("create", "", target))
        if name is not None:
            self._told(Change("tag", key, target))
        return Image(key, target, created, now)

    def remove(self, name: str | Reference) -> Image:
        """Take away one name and leave nothing in its place. NotFoundError."""
        image = self._remove(name)
        if not image.dangling:
            self._told(Change("untag", image.name, image.target))
        return image

    def _remove(self, name: str | Reference) -> Image:
        key = name if isinstance(name, str) and name.startswith(_DANGLING) else str(_normalised(name))
        with self._database.transaction() as connection:
            image = self._row(key)
            if image is None:
                raise self._not_found(key)
            connection.execute("DELETE FROM images WHERE name = ?", (key,))
            self.generation += 1
        return image

    def delete(self, text: str, *, force: bool = False) -> Deleted:
        """What `docker rmi` does. A name is untagged; if it was the last one, the image is deleted. An ID deletes the
        image with all its names, if they are in one repository or with `force`; else ConflictError."""
        with self._database.transaction():
            image = self.resolve(text)
            # A name pinned to one platform resolves to that platform; what is removed is the row.
            image = self._row(image.name) or image
            digest = image.target.digest
            if self._is_name(text, image):
                doomed: Sequence[Image] = [image]
            else:
                doomed = self.named(digest)
                repositories = {each.reference.name for each in doomed if each.reference}
                if len(repositories) > 1 and not force:
                    names = ", ".join(each.reference.familiar() for each in doomed if each.reference)
                    raise ConflictError(
                        f"image {text} has names in several repositories: {names}",
                        hint="remove it by name, or add --force to remove all of them",
                    )
            for each in doomed:
                self._remove(each.name)
            untagged = tuple(each.name for each in doomed if not each.dangling)
            last = not self.named(digest)
        for name in untagged:
            self._told(Change("untag", name, image.target))
        if last:
            self._told(Change("delete", "", image.target))
        return Deleted(untagged, (digest,) if last else ())

    def list(self) -> Sequence[Image]:
        """All images, dangling ones too, by name."""
        return [_image(row) for row in self._database.rows(f"{_COLUMNS} ORDER BY name")]

    def named(self, digest: Digest) -> Sequence[Image]:
        """All rows whose target has that digest, by name."""
        return [_image(row) for row in self._database.rows(f"{_COLUMNS} WHERE digest = ? ORDER BY name", (digest,))]

    def resolve(self, text: str) -> Image:
        """The image that somebody means by a name, an ID or the beginning of one. IDs are the digests of an image's
        index, of its manifests and of its configs (Docker's IDs). A name goes before an ID. NotFoundError with what
        could have been meant; ConflictError when the beginning fits several images."""
        beginning = text.removeprefix("sha256:").removeprefix("sha512:")
        looks_like_id = _HEX.fullmatch(beginning) is not None
        if not looks_like_id or (beginning == text and not references.is_identifier(text)):
            image = self.get(text)
            if image is not None:
                return image
        if looks_like_id and (found := self._by_id(text)):
            return found
        raise self._not_found(text)

    def id(self, image: Image, platform: Platform | None = None) -> Digest:
        """Docker's image ID: the digest of the config for `platform` (the host's). The target's own digest when that
        can't be found out."""
        try:
            return documents.read_manifest(self._content, image.target, platform).config.digest
        except BoatyardError:
            return image.target.digest

    def _row(self, key: str) -> Image | None:
        rows = self._database.rows(f"{_COLUMNS} WHERE name = ?", (key,))
        return _image(rows[0]) if rows else None

    def _by_id(self, text: str) -> Image | None:
        found: dict[Digest, Image] = {}
        for image in self.list():
            if image.target.digest not in found and any(
                _begins(identity, text) for identity in self._identities_of(image.target)
            ):
                found[image.target.digest] = image
        if len({self.id(image) for image in found.values()}) == 1:
            # One image, listed once more with its layers packed otherwise: the newest stands for all.
            return max(found.values(), key=lambda image: (not image.dangling, image.updated))
        if len(found) > 1:
            several = ", ".join(sorted(digests.encoded(digest)[:12] for digest in found))
            raise ConflictError(f"{text!r} is the beginning of several image IDs: {several}", hint="give more digits")
        return next(iter(found.values()), None)

    def _identities_of(self, target: Descriptor) -> frozenset[Digest]:
        known = self._identities.get(target.digest)
        if known is None:
            known = frozenset({target.digest, *self._inner_identities(target)})
            self._identities[target.digest] = known
        return known

    def _inner_identities(self, target: Descriptor) -> Iterable[Digest]:
        for manifest in self._manifests(target):
            yield manifest.digest
            try:
                yield documents.read_manifest(self._content, manifest).config.digest
            except BoatyardError:
                # A platform that isn't here, or is damaged: the image is still known by its other digests.
                continue

    def _manifests(self, target: Descriptor) -> Sequence[Descriptor]:
        try:
            return list(documents.image_manifests(self._content, target))
        except BoatyardError:
            # A damaged image must still be found and removed by name and digest.
            return []

    def _is_name(self, text: str, image: Image) -> bool:
        """Whether `text` found that image by name rather than by ID."""
        try:
            reference = _normalised(text)
        except InvalidError:
            return False
        return _same_repository(image, reference) and (reference.digest is not None or str(reference) == image.name)

    def _not_found(self, text: str) -> NotFoundError:
        names = {
            spelling: image.reference.familiar()
            for image in self.list()
            if image.reference
            for spelling in (image.reference.familiar(), image.reference.familiar_name())
        }
        near = difflib.get_close_matches(text, names, n=3) or difflib.get_close_matches(
            text.rpartition("/")[2], names, n=3
        )
        suggested = sorted({names[spelling] for spelling in near})
        hint = f"did you mean {' or '.join(suggested)}?" if suggested else "`boat images` lists what is there"
        return NotFoundError(f"there is no image {text}", hint=hint)


def _normalised(name: str | Reference) -> Reference:
    return (references.parse(name) if isinstance(name, str) else name).with_default_tag()


def _same_repository(image: Image, reference: Reference) -> bool:
    return image.reference is not None and image.reference.name == reference.name


def _begins(identity: Digest, text: str) -> bool:
    return identity.startswith(text) if ":" in text else digests.encoded(identity).startswith(text)


def _image(row: tuple[object, ...]) -> Image:
    name, descriptor, created, updated = row
    assert isinstance(name, str)
    assert isinstance(descriptor, bytes)
    assert isinstance(created, float)
    assert isinstance(updated, float)
    return Image(name, msgspec.json.decode(descriptor, type=Descriptor), created, updated)
