"""What the path of a request names. Pure.

Names are checked against the grammar, so that nothing of a path that a client makes up gets any further. A repository
may be called like a part of the API (`a/blobs/b`): paths are read from their end.

Specification: OCI distribution-spec 1.1, "Endpoints".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from boatyard.registry.server.refusal import RefusedError, name_invalid

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
LONGEST_NAME = 255

Kind = Literal[
    "root",
    "catalog",
    "blob",
    "uploads",
    "upload",
    "manifest",
    "tags",
    "referrers",
    "token",
    "metrics",
    "repositories",
    "repository",
    "image",
    "session",
    "own tokens",
    "own token",
]

_OWN = "/boat/registry/v1/"


@dataclass(frozen=True, slots=True)
class Route:
    """`rest` is a digest, a reference or an upload's id, not checked yet."""

    kind: Kind
    name: str = ""
    rest: str = ""


def parse(path: str) -> Route:
    """RefusedError (404) when there is nothing like this, (400) when the repository's name is malformed."""
    if path in ("/v2", "/v2/"):
        return Route("root")
    if path == "/v2/_catalog":
        return Route("catalog")
    if not path.startswith("/v2/"):
        return _own(path)
    parts = path[4:].split("/")
    if parts[-2:] == ["tags", "list"]:
        return Route("tags", _name(parts[:-2]))
    if parts[-2:] == ["blobs", "uploads"]:
        return Route("uploads", _name(parts[:-2]))
    if parts[-3:-1] == ["blobs", "uploads"] and len(parts) > 3:
        return Route("upload" if parts[-1] else "uploads", _name(parts[:-3]), parts[-1])
    kind = {"blobs": "blob", "manifests": "manifest", "referrers": "referrers"}.get(parts[-2] if parts[1:] else "")
    if kind is None:
        raise _nothing(path)
    return Route(kind, _name(parts[:-2]), parts[-1])  # type: ignore[arg-type]


def _own(path: str) -> Route:
    """What other registries don't have."""
    if path in ("/token", "/metrics"):
        return Route("token" if path == "/token" else "metrics")
    first, _, rest = path.removeprefix(_OWN).partition("/") if path.startswith(_OWN) else ("", "", "")
    if first == "repositories":
        return Route("repository", _name([rest])) if rest else Route("repositories")
    if first == "images" and "/" in rest:
        name, _, reference = rest.rpartition("/")
        return Route("image", _name([name]), reference)
    if first == "session" and not rest:
        return Route("session")
    if first == "tokens":
        return Route("own token", rest=rest) if rest else Route("own tokens")
    raise _nothing(path)


def is_name(text: str) -> bool:
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def _name(parts: list[str]) -> str:
    name = "/".join(parts)
    if not is_name(name):
        raise name_invalid(name)
    return name


def _nothing(path: str) -> RefusedError:
    return RefusedError(404, "UNSUPPORTED", "there is no such endpoint", detail={"path": path[:300]})
