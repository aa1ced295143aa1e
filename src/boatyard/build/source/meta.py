"""What can be known of a source without its files: the digest of an image, the commit of a repository.

Frontends ask for it, and clients that judge sources for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from boatyard.build.llb.graph import SourceOp
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform


@dataclass(frozen=True, slots=True)
class MetaQuestion:
    """About one source. `mode` is for images: default, pull or local. What is asked beyond the usual:
    `attestation_chain` and `attestations` of images, `objects` of git (the commit's and the tag's own bytes),
    `checksum` of a download, by this algorithm and with `suffix` behind its bytes."""

    source: SourceOp
    platform: Platform | None = None
    mode: str = ""
    log_name: str = ""
    no_config: bool = False
    attestation_chain: bool = False
    attestations: tuple[str, ...] = ()
    objects: bool = False
    checksum: str = ""
    suffix: bytes = b""


@dataclass(frozen=True, slots=True)
class ImageMeta:
    digest: Digest
    """Of the manifest or index that the reference names."""
    config: bytes = b""


@dataclass(frozen=True, slots=True)
class GitMeta:
    """`checksum` is what the ref names: a commit, or the object of an annotated tag, whose commit is then
    `commit_checksum`."""

    checksum: str
    ref: str
    commit_checksum: str = ""
    commit_object: bytes = b""
    tag_object: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpMeta:
    """`last_modified` in seconds since the epoch. `asked` is the checksum that was asked for."""

    checksum: Digest
    filename: str
    last_modified: int | None = None
    asked: str = ""
    suffix: bytes = b""


@dataclass(frozen=True, slots=True)
class SourceMeta:
    """`source` is the one that policies have put in the place of what was asked for."""

    source: SourceOp
    image: ImageMeta | None = None
    git: GitMeta | None = None
    http: HttpMeta | None = None


@runtime_checkable
class Described(Protocol):
    """A source's op that can tell; after its `cache_map`."""

    async def describe(self, question: MetaQuestion) -> SourceMeta: ...
