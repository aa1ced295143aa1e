"""The one spelling of a source that policies see, so that no other spelling gets around them.

    docker-image://docker.io/library/debian:bookworm    with domain and tag, whatever was left out
    git://HOST/PATH#REF:SUBDIR                          of the remote that is really asked (`git.fullurl`)

Others are spelled in one way only. What is malformed stays as it is: the source itself refuses it.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from urllib.parse import urlsplit

from boatyard.build.llb.graph import SourceOp
from boatyard.build.source import git
from boatyard.errors import InvalidError
from boatyard.image import reference as references
from boatyard.image.reference import Reference

IMAGE = "docker-image://"
_GIT = "git://"


def normalised(source: SourceOp) -> SourceOp:
    try:
        if source.identifier.startswith(IMAGE):
            return replace(source, identifier=f"{IMAGE}{_reference(source)}")
        if source.identifier.startswith(_GIT):
            return replace(source, identifier=_git(source))
    except (InvalidError, ValueError):
        pass
    return source


def keeping_tag(source: SourceOp, before: SourceOp) -> SourceOp:
    """An image pinned to a digest keeps the tag it was asked for by, which is what people know it as."""
    try:
        if not (source.identifier.startswith(IMAGE) and before.identifier.startswith(IMAGE)):
            return source
        now, then = _reference(source), _reference(before)
    except InvalidError:
        return source
    if now.digest is None or now.tag or not then.tag or now.name != then.name:
        return source
    return replace(source, identifier=f"{IMAGE}{replace(now, tag=then.tag)}")


def _reference(source: SourceOp) -> Reference:
    return references.parse(source.identifier.removeprefix(IMAGE)).with_default_tag()


def _git(source: SourceOp) -> str:
    url = git.url_of(source.identifier, source.attrs)
    if scp := git.scp(url.remote):
        host, path = scp
    else:
        parts = urlsplit(url.remote)
        host, path = parts.netloc.rpartition("@")[2], parts.path
    text = _GIT + host + posixpath.normpath("/" + path.lstrip("/"))
    if url.ref or url.subdir:
        text += f"#{url.ref}"
    return f"{text}:{url.subdir}" if url.subdir else text
