"""Where the files of targets are: contexts and Dockerfiles, of a definition that is here, or of a remote one.

In a definition that was read from a repository, relative paths are in that repository; `cwd://` is the working
directory, whatever the definition.

Specification: docker/buildx, bake/bake.go (toBuildOpt, updateContext).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from boatyard.bake.definition import Target
from boatyard.bake.location import ELSEWHERE, WORKING, is_remote
from boatyard.bake.resolution import Resolved
from boatyard.errors import InvalidError, UnsupportedError

_GIT = re.compile(r"(?:git|ssh)://|git@|github\.com/|https?://[^#?]*\.git(?:[#?]|$)")


def placed(resolved: Resolved, url: str = "") -> Resolved:
    """Contexts made plain; with `url`, the relative ones are in what that names."""
    return replace(resolved, targets={name: _placed(target, url) for name, target in resolved.targets.items()})


def reached(resolved: Resolved, url: str = "") -> Resolved:
    """The same for named contexts. What is printed has those as they were written."""
    return replace(resolved, targets={name: _reached(target, url) for name, target in resolved.targets.items()})


def _placed(target: Target, url: str) -> Target:
    context, dockerfile = target.context or ".", target.dockerfile or "Dockerfile"
    for what, value in (("context", context), ("Dockerfile", dockerfile)):
        if value == "-":
            raise InvalidError(f"target {target.name}: the {what} can't come from standard input")
    local = context.startswith(WORKING) and not dockerfile.startswith(WORKING)
    if url and local and target.dockerfile_inline is None:
        raise UnsupportedError(
            f"target {target.name}: the Dockerfile of a remote definition can't be used with a context that is here",
            hint="name one that is here (cwd://Dockerfile), or write dockerfile-inline",
        )
    return replace(target, context=_context(context, url))


def _reached(target: Target, url: str) -> Target:
    contexts = {name: _context(value, url) for name, value in (target.contexts or {}).items()}
    return replace(target, contexts=contexts or None)


def _context(path: str, url: str) -> str:
    if path.startswith(WORKING):
        return posixpath.normpath(path.removeprefix(WORKING) or ".")
    if is_remote(path) or path.startswith(ELSEWHERE):
        return path
    cleaned = posixpath.normpath(path)
    return within(url, cleaned) if url else path if cleaned == path else cleaned


def within(url: str, path: str) -> str:
    """A directory of a repository, as a URL. UnsupportedError for what can't be said that way."""
    if path == ".":
        return url
    if not _GIT.match(url):
        raise UnsupportedError(
            f"the context {path!r} is in an archive at {url}, and only a whole archive can be a context",
            hint="keep the definition in a git repository",
        )
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "#" not in url and "subdir" in query:
        query["subdir"] = [posixpath.normpath(posixpath.join(query["subdir"][0], path))]
        return urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
    base, _, fragment = url.partition("#")
    ref, _, directory = fragment.partition(":")
    return f"{base}#{ref}:{posixpath.normpath(posixpath.join(directory, path))}"


def dockerfile(target: Target) -> str:
    """The path of a target's Dockerfile: in its context, unless that is remote; `cwd://` is the working directory."""
    name, context = target.dockerfile or "Dockerfile", target.context or "."
    if name.startswith(WORKING):
        return posixpath.abspath(name.removeprefix(WORKING))
    if is_remote(context) or posixpath.isabs(name):
        return posixpath.normpath(name)
    return posixpath.normpath(posixpath.join(context, name))
