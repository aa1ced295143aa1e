"""What a definition needs to be allowed: host networking, privileged steps, files outside of the working directory, the
SSH agent. A definition may be somebody else's: the one who runs it says what it may have.

Specification: docker/buildx, bake/entitlements.go; docs/reference/buildx_bake.md ("--allow").
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from boatyard.bake import location, places
from boatyard.bake.definition import LINK, Target
from boatyard.bake.entries import TRUTHS
from boatyard.bake.source import did_you_mean
from boatyard.cli.console import Console
from boatyard.errors import DeniedError, InvalidError

GRANTS = ("network.host", "security.insecure", "device", "ssh", "fs", "fs.read", "fs.write")
_IGNORED = ("image", "image.push", "image.load", "buildx.local.delete")
_WORDS = {
    "network.host": "Running build containers that can access host network",
    "security.insecure": "Running privileged containers that can make system changes",
    "device": "Access to devices",
    "ssh": "Forwarding the SSH agent",
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """`read` and `write`: directories, real paths; "*" is all of them."""

    grants: frozenset[str]
    read: tuple[str, ...]
    write: tuple[str, ...]


def parse(given: Sequence[str], directory: str) -> Allowed:
    """The working directory is always allowed."""
    grants: set[str] = set()
    read, write = [os.path.realpath(directory)], [os.path.realpath(directory)]
    for text in given:
        for each in text.split(",") if not text.startswith("fs") else [text]:
            key, _, value = each.partition("=")
            if key not in (*GRANTS, *_IGNORED):
                hint = did_you_mean(key, GRANTS, otherwise=f"there are: {', '.join(GRANTS)}")
                raise InvalidError(f"--allow: there is no entitlement {each!r}", hint=hint)
            if key.startswith("fs"):
                path = value if value == "*" else os.path.realpath(os.path.join(directory, os.path.expanduser(value)))
                read += [path] if key in ("fs", "fs.read") else []
                write += [path] if key in ("fs", "fs.write") else []
            else:
                grants.add(key)
    return Allowed(frozenset(grants), tuple(read), tuple(write))


def require(console: Console, targets: Iterable[Target], allowed: Allowed, directory: str) -> None:
    """Ask on a terminal for what isn't allowed; elsewhere a DeniedError names the flags that allow it."""
    missing = _widest(dict.fromkeys(_missing(targets, allowed, directory, _files_matter(console.environment))))
    if not missing:
        return
    flags = " ".join(f"--allow={each}" for each in missing)
    if not console.in_terminal:
        raise DeniedError(f"the definition needs what isn't allowed: {', '.join(missing)}", hint=f"allow it: {flags}")
    console.err("The build needs:\n" + "".join(f"  - {_described(each)}\n" for each in missing))
    console.err(f"({flags} allows it without this question.)\nAllow it? [y/N] ")
    try:
        answer = input()
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise DeniedError("not allowed", hint=f"allow it: {flags}")


def _widest(grants: Iterable[str]) -> list[str]:
    """Without those that are below others of them."""
    given = tuple(grants)
    return [each for each in given if not any(each != other and _within(each, other) for other in given)]


def _files_matter(environment: Mapping[str, str]) -> bool:
    return TRUTHS.get(environment.get("BUILDX_BAKE_ENTITLEMENTS_FS", ""), True)


def _described(grant: str) -> str:
    key, _, path = grant.partition("=")
    words = {"fs.read": f"Read access to {path}", "fs.write": f"Write access to {path}"}
    return words.get(key) or _WORDS.get(key, grant)


def _missing(targets: Iterable[Target], allowed: Allowed, directory: str, files: bool) -> Iterator[str]:
    for target in targets:
        for needed in target.entitlements or ():
            if needed.partition("=")[0] not in allowed.grants:
                yield needed.partition("=")[0]
        if not files:
            continue
        if any(not agent.paths for agent in target.ssh or ()) and "ssh" not in allowed.grants:
            yield "ssh"
        for path in _read(target):
            if outside := _outside(path, allowed.read, directory):
                yield f"fs.read={outside}"
        for path in _written(target):
            if outside := _outside(path, allowed.write, directory):
                yield f"fs.write={outside}"


def _read(target: Target) -> Iterator[str]:
    context = target.context or "."
    if not location.is_remote(context):
        yield context
        if target.dockerfile_inline is None:
            yield places.dockerfile(target)
    for value in (target.contexts or {}).values():
        if value.startswith("oci-layout://"):
            yield value.removeprefix("oci-layout://").partition("@")[0]
        elif not location.is_remote(value) and not value.startswith((LINK, "docker-image:")):
            yield value
    yield from (secret.src for secret in target.secret or () if secret.src)
    yield from (path for agent in target.ssh or () for path in agent.paths)
    yield from (cache.attrs["src"] for cache in target.cache_from or () if cache.attrs.get("src"))


def _written(target: Target) -> Iterator[str]:
    yield from (output.dest for output in target.output or () if output.dest not in ("", "-"))
    yield from (cache.attrs["dest"] for cache in target.cache_to or () if cache.attrs.get("dest"))


def _outside(path: str, allowed: Sequence[str], directory: str) -> str:
    """Where a path really is, when that is in none of the allowed directories; links are followed."""
    real = os.path.realpath(os.path.join(directory, os.path.expanduser(path)))
    return "" if any(each == "*" or _within(real, each) for each in allowed) else real


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
