"""Drafts of source vertices: images, git repositories, URLs, the client's directories.

Identifiers and attributes are BuildKit's (`solver/pb/attr.go`, reference/builder.md 4.2): clients and policies know
them by name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

import msgspec

from boatyard.build.frontend.dockerfile.draft import NO_METADATA, Draft
from boatyard.build.frontend.dockerfile.gitref import GitReference
from boatyard.build.llb.graph import OpMetadata, SourceLocation, SourceOp
from boatyard.image.platform import Platform

DESCRIPTION = "llb.customname"
COMMAND = "com.docker.dockerfile.v1.command"


def named(name: str, command: str | None = None, **known: object) -> OpMetadata:
    """Metadata with the name that progress shows, and the instruction that the step comes from."""
    description = {DESCRIPTION: name} if command is None else {DESCRIPTION: name, COMMAND: command}
    return OpMetadata(description=description, **known)  # type: ignore[arg-type]


def internal(name: str) -> OpMetadata:
    return named("[internal] " + name)


def image(
    reference: str,
    platform: Platform,
    *,
    mode: str = "default",
    metadata: OpMetadata = NO_METADATA,
    locations: tuple[SourceLocation, ...] = (),
) -> Draft:
    attrs = {} if mode == "default" else {"image.resolvemode": mode}
    return Draft(SourceOp(f"docker-image://{reference}", attrs), (), platform, metadata, locations)


def oci_layout(reference: str, store: str, session: str, platform: Platform | None, metadata: OpMetadata) -> Draft:
    attrs = {"oci.store": store}
    if session:
        attrs["oci.session"] = session
    return Draft(SourceOp(f"oci-layout://{reference}", attrs), (), platform, metadata)


def git(
    address: GitReference,
    *,
    keep_git_dir: bool = False,
    checksum: str = "",
    mtime: str = "",
    metadata: OpMetadata = NO_METADATA,
    locations: tuple[SourceLocation, ...] = (),
) -> Draft:
    """The arguments stand beside what the address itself asks for."""
    identifier = "git://" + address.host + posixpath.normpath("/" + address.path.lstrip("/"))
    if address.ref or address.subdirectory:
        identifier += "#" + address.ref
    if address.subdirectory:
        identifier += ":" + address.subdirectory
    attrs = {
        "git.fullurl": address.remote,
        "git.authheadersecret": "GIT_AUTH_HEADER",
        "git.authtokensecret": "GIT_AUTH_TOKEN",
    }
    if keep_git_dir or address.keep_git_dir:
        attrs["git.keepgitdir"] = "true"
    if address.protocol == "ssh":
        attrs["git.mountsshsock"] = "default"
    if checksum := checksum or address.checksum:
        attrs["git.checksum"] = checksum
    if address.submodules is False:
        attrs["git.skipsubmodules"] = "true"
    if mtime := address.mtime or mtime:
        attrs["git.mtime"] = mtime
    if address.fetch_by_commit:
        attrs["git.fetchbycommit"] = "true"
    return Draft(SourceOp(identifier, attrs), (), None, metadata, locations)


def http(
    url: str,
    filename: str,
    *,
    checksum: str = "",
    metadata: OpMetadata = NO_METADATA,
    locations: tuple[SourceLocation, ...] = (),
) -> Draft:
    attrs = {"http.filename": filename}
    if checksum:
        attrs["http.checksum"] = checksum
    return Draft(SourceOp(url, attrs), (), None, metadata, locations)


def http_filename(url: str) -> str:
    """What a download is called: the last element of the URL's path."""
    return posixpath.basename(posixpath.normpath("/" + urlsplit(url).path)) or "__unnamed__"


def local(
    name: str,
    metadata: OpMetadata,
    *,
    follow: Sequence[str] | Callable[[], Sequence[str]] = (),
    exclude: Sequence[str] = (),
    shared_key: str = "",
    session: str = "",
    differ: str = "",
) -> Draft:
    """A directory of the client's. `follow` narrows it to these paths and what their symlinks lead to; all of it when
    empty. A callable is asked when the vertex is made."""

    def op() -> SourceOp:
        attrs: dict[str, str] = {}
        if session:
            attrs["local.session"] = session
        if paths := follow() if callable(follow) else follow:
            attrs["local.followpaths"] = _json(paths)
        if exclude:
            attrs["local.excludepatterns"] = _json(exclude)
        if shared_key:
            attrs["local.sharedkeyhint"] = shared_key
        if differ:
            attrs["local.differ"] = differ
        return SourceOp(f"local://{name}", attrs)

    return Draft(op if callable(follow) else op(), (), None, metadata)


def _json(patterns: Sequence[str]) -> str:
    return msgspec.json.encode(list(patterns)).decode()


def narrowed(paths: Iterable[str]) -> list[str]:
    """Used paths (absolute in the context) as `follow` wants them. Nothing, which means all, when the root is among
    them."""
    chosen = set(paths)
    if "/" in chosen:
        return []
    return sorted(path.lstrip("/") for path in chosen)
