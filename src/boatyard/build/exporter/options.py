"""Attributes of the image exporters (`image`, `oci`, `docker`), parsed.

Names and values are BuildKit's (reference: `buildctl build --output`); unknown ones are refused with the nearest known
name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.image.layer.compression import Compression
from boatyard.image.reference import Reference

_KNOWN = (
    "name", "push", "push-by-digest", "registry.insecure", "unpack", "store", "dangling-name-prefix", "name-canonical",
    "oci-mediatypes", "oci-artifact", "attestation-inline", "prefer-nondist-layers", "compression", "compression-level",
    "force-compression", "rewrite-timestamp", "tar", "dest", "source-date-epoch",
)  # fmt: skip
_ANNOTATION = re.compile(
    r"annotation(?:-(?P<level>manifest|index|manifest-descriptor|index-descriptor))?(?:\[(?P<platform>[^\]]*)\])?\.(?P<key>.+)"
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """`level`: manifest, index, manifest-descriptor or index-descriptor. `platform` "" is every platform."""

    level: str
    platform: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class ImageOptions:
    names: tuple[Reference, ...] = ()
    compression: Compression | None = None
    """None: nothing was asked for."""
    force_compression: bool = False
    rewrite_timestamp: bool = False
    oci: bool = True
    """OCI media types, not Docker's."""
    tar: bool = True
    annotations: tuple[Annotation, ...] = field(default=())
    epoch: int | None = None
    push: bool = False
    push_by_digest: bool = False
    """Under no tag."""
    name_canonical: bool = False
    """Name it by its digest, too."""

    @property
    def blob_compression(self) -> Compression:
        return self.compression or Compression("gzip")


def parse(attrs: Mapping[str, str], *, oci: bool) -> ImageOptions:
    """`oci`: whether OCI media types are the default. Raises InvalidError, UnsupportedError."""
    annotations = []
    for name, value in attrs.items():
        if match := _ANNOTATION.fullmatch(name):
            level = match["level"] or "manifest"
            if match["platform"]:
                platforms.parse(match["platform"])
            annotations.append(Annotation(level, match["platform"] or "", match["key"], value))
        else:
            check_names((name,), _KNOWN)
    push, by_digest = flag(attrs, "push"), flag(attrs, "push-by-digest")
    if (push or by_digest) and not attrs.get("name", "").strip(", "):
        raise InvalidError("there is nothing to push to: the image has no name", hint="name it: -t REGISTRY/NAME:TAG")
    for name, asked in (
        ("store", not flag(attrs, "store", True)),
        ("dangling-name-prefix", bool(attrs.get("dangling-name-prefix"))),
    ):
        if asked:
            raise UnsupportedError(f"the exporter attribute {name!r} is not supported yet", hint="leave it out")
    return ImageOptions(
        names=tuple(
            references.parse(name).with_default_tag()
            for name in map(str.strip, attrs.get("name", "").split(","))
            if name
        ),
        compression=_compression(attrs),
        force_compression=flag(attrs, "force-compression"),
        rewrite_timestamp=flag(attrs, "rewrite-timestamp"),
        oci=flag(attrs, "oci-mediatypes", oci),
        tar=flag(attrs, "tar", True),
        annotations=tuple(annotations),
        epoch=_epoch(attrs.get("source-date-epoch", "")),
        push=push,
        push_by_digest=by_digest,
        name_canonical=flag(attrs, "name-canonical"),
    )


def is_known(name: str) -> bool:
    """Whether the image exporters have an attribute of that name."""
    return name in _KNOWN or _ANNOTATION.fullmatch(name) is not None


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """InvalidError for an attribute that an exporter doesn't have."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise InvalidError(
                f"unknown exporter attribute {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
            )


def _compression(attrs: Mapping[str, str]) -> Compression | None:
    kind = attrs.get("compression", "")
    level = attrs.get("compression-level", "")
    if not kind and not level:
        return None
    if kind == "estargz":
        raise UnsupportedError("compression=estargz is not supported yet", hint="use gzip, zstd or uncompressed")
    if kind not in ("", "gzip", "zstd", "uncompressed"):
        raise InvalidError(f"unknown compression {kind!r}", hint="use gzip, zstd or uncompressed")
    try:
        number = int(level) if level else None
    except ValueError as error:
        raise InvalidError(f"compression-level {level!r} is not a number") from error
    kind = {"": "gzip", "uncompressed": "tar"}.get(kind, kind)
    return Compression(kind, number) if number is not None else Compression(kind)


def _epoch(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InvalidError(f"SOURCE_DATE_EPOCH {text!r} is not a number of seconds") from error


def flag(attrs: Mapping[str, str], name: str, default: bool = False) -> bool:
    """A boolean attribute; a name without value is true."""
    value = attrs.get(name)
    if value is None:
        return default
    if value.lower() in ("", "true", "1", "yes", "on"):
        return True
    if value.lower() in ("false", "0", "no", "off"):
        return False
    raise InvalidError(f"{name}={value!r} is neither true nor false")
