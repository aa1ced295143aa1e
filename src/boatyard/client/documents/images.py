"""Images in the daemon's store, and the base images it makes."""

from __future__ import annotations

from typing import Any

import msgspec

from boatyard.image.spec import Descriptor


class ImageSummary(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One image ID with all its names. `id` is the config's digest, `digest` the manifest's or index's."""

    id: str
    digest: str
    names: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    created: float | None = None
    stored: float | None = None
    size: int = 0
    """Bytes of all layers, uncompressed."""
    unique_size: int = 0
    labels: dict[str, str] = {}
    descriptor: Descriptor | None = None
    """Of the manifest or index that the names stand for."""
    problem: str = ""
    """Why nothing more is known of it than its name: a document of it is damaged or missing."""


class ImageList(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    images: tuple[ImageSummary, ...]


class ImageLayer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    diff_id: str
    size: int
    media_type: str = ""
    digest: str = ""


class ImageDetail(ImageSummary, frozen=True, omit_defaults=True, kw_only=True):
    """`config`, `manifest` (and `index`, when the name stands for one) are the documents, decoded."""

    platform: str = ""
    layers: tuple[ImageLayer, ...] = ()
    config: dict[str, Any] = {}
    manifest: dict[str, Any] = {}
    index: dict[str, Any] | None = None
    annotations: dict[str, str] = {}


class ImageHistoryEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The newest comes first. `id`: the image that ends here, if it is stored under a name."""

    created: float | None = None
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False
    size: int = 0
    diff_id: str = ""
    tags: tuple[str, ...] = ()


class ImageHistory(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    entries: tuple[ImageHistoryEntry, ...]


class ImageDelete(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    names: tuple[str, ...]
    force: bool = False


class ImagesDeleted(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    bytes: int = 0


class ImageTag(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    source: str
    target: str


class ImageTagged(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    name: str


class ImageLoad(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Read a `docker save` or OCI archive (any compression) from the file or pipe `token`."""

    token: str


class ImageImport(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Make an image of the root file system archive `token`. `changes` are Dockerfile instructions (CMD, ENV, ...)."""

    token: str
    name: str = ""
    message: str = ""
    platform: str = ""
    changes: tuple[str, ...] = ()


class ImagesLoaded(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


class ImageSave(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`format`: oci or docker. Written to the file or pipe `token`, or, without one, sent as the answer's body."""

    names: tuple[str, ...]
    format: str = "docker"
    platforms: tuple[str, ...] = ()
    compression: str = ""
    compression_level: int | None = None
    token: str = ""


class ImagesSaved(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    bytes: int
    digest: str = ""


class ImagePull(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`platforms`: none means the host's. `credentials`: the token of a socket on which the client answers for its
    credentials; see `client.credentials`."""

    name: str
    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    credentials: str = ""


class ImagePulled(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    """`new`: the name stood for something else before, or for nothing."""

    name: str
    digest: str
    new: bool = True


class ImagePush(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`compression` of layers that were made here."""

    name: str
    platform: str = ""
    compression: str = "gzip"
    compression_level: int | None = None
    credentials: str = ""


class ImagePushed(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    name: str
    digest: str
    size: int


class BootstrapRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`image`: `debian:SUITE[-slim]` or `busybox`. "" takes the default of the distribution."""

    image: str
    tags: tuple[str, ...] = ()
    suite: str = ""
    variant: str = ""
    mirror: str = ""
    arch: str = ""
    include: tuple[str, ...] = ()
    source_date_epoch: int | None = None
    no_cache: bool = False
    proxy: dict[str, str] | None = None


class Bootstrapped(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    id: str
    digest: str
    names: tuple[str, ...] = ()
    size: int = 0
