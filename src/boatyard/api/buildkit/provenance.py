"""What is known of how a build of the past came about, as a SLSA provenance predicate: what was asked, by which
frontend, from which sources.

Made of the build's record and its graphs. A source counts as known where the graph pins it; where one isn't (a client's
directory never is), the predicate says that its list is not complete.

Specification: SLSA provenance v1; moby/buildkit `docs/attestations/slsa-definitions.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from boatyard.build.llb import codec
from boatyard.build.llb.graph import ExecOp, Graph, SourceOp
from boatyard.build.recording import BuildRecord, FrontendCall
from boatyard.errors import InvalidError
from boatyard.image import digest as digests
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.image.platform import Platform

TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
ANNOTATIONS = {"in-toto.io/predicate-type": PREDICATE}
_BUILD_TYPE = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VCS = "vcs:"
_FILES = ("context", "contextkey", "filename")


@dataclass(slots=True)
class _Gathered:
    """From one graph. `complete`: every source is among the dependencies."""

    dependencies: dict[str, dict[str, str]] = field(default_factory=dict)
    locals: list[str] = field(default_factory=list)
    secrets: dict[str, bool] = field(default_factory=dict)
    agents: dict[str, bool] = field(default_factory=dict)
    complete: bool = True


def of_build(record: BuildRecord, encoded: Sequence[bytes], builder: Platform) -> Iterator[tuple[str, bytes]]:
    """For each graph of a build, the platform ("" when there is but one) and the document."""
    named = record.platforms or [""] * len(encoded)
    for name, data in zip(named, encoded, strict=True):
        platform = platforms.parse(name) if name else builder
        yield name if len(encoded) > 1 else "", _document(record, codec.decode(data), platform, builder)


def _document(record: BuildRecord, graph: Graph, platform: Platform, builder: Platform) -> bytes:
    gathered = _gathered(graph, platform)
    # A client that is the frontend asks one of the builder's in its turn.
    asked = record.requests[-1] if record.requests else FrontendCall(frontend=record.frontend, options=record.options)
    options = {name: value for name, value in asked.options.items() if name != "frontend"}
    vcs = {name.removeprefix(_VCS): _redacted(value) for name, value in options.items() if name.startswith(_VCS)}
    request = {
        "frontend": asked.frontend,
        "args": {name: value for name, value in options.items() if name not in _FILES and not name.startswith(_VCS)},
        "locals": [{"name": name} for name in gathered.locals],
        "secrets": _named(gathered.secrets),
        "ssh": _named(gathered.agents),
    }
    source = {"uri": _redacted(options.get("context", "")), "path": options.get("filename", "")}
    if asked.frontend == "dockerfile.v0" and not source["path"]:
        source["path"] = "Dockerfile"
    document = {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": {"configSource": _present(source), "request": _present(request)},
            "internalParameters": {"builderPlatform": str(builder)},
            "resolvedDependencies": [
                {"uri": uri, "digest": digest} for uri, digest in sorted(gathered.dependencies.items())
            ],
        },
        "runDetails": {
            "builder": {"id": ""},
            "metadata": {
                "invocationID": record.ref,
                "startedOn": _time(record.created),
                **({"finishedOn": _time(record.completed)} if record.completed is not None else {}),
                "buildkit_metadata": {"vcs": vcs} if vcs else {},
                "buildkit_completeness": {
                    "request": bool(asked.frontend),
                    "resolvedDependencies": gathered.complete,
                },
            },
        },
    }
    return msgspec.json.encode(document)


def _gathered(graph: Graph, platform: Platform) -> _Gathered:
    found = _Gathered()
    seen = set()
    for vertex in codec.in_order(graph.root.vertex) if graph.root else ():
        if vertex.digest not in seen:
            seen.add(vertex.digest)
            if isinstance(vertex.op, SourceOp):
                _add_source(found, vertex.op, vertex.platform or platform)
            elif isinstance(vertex.op, ExecOp):
                _add_secrets(found, vertex.op)
    return found


def _add_source(found: _Gathered, op: SourceOp, platform: Platform) -> None:
    scheme, _, rest = op.identifier.partition("://")
    if scheme == "local":
        found.locals.append(rest)
        found.complete = False
        return
    known = None
    if scheme in ("docker-image", "oci-layout"):
        known = _image(rest, platform, "docker" if scheme == "docker-image" else "oci")
    elif scheme == "git":
        known = _commit(op, rest)
    elif checksum := op.attrs.get("http.checksum"):
        known = _redacted(op.identifier), _set(checksum)
    if known is None:
        found.complete = False
    else:
        found.dependencies[known[0]] = known[1]


def _image(name: str, platform: Platform, kind: str) -> tuple[str, dict[str, str]] | None:
    """As a package URL."""
    try:
        reference = references.parse(name)
    except InvalidError:
        return None
    if reference.digest is None:
        return None
    version = f"@{reference.tag}" if reference.tag else f"@{quote(reference.digest, safe='')}"
    path = quote(reference.familiar_name(), safe="/")
    return f"pkg:{kind}/{path}{version}?platform={quote(str(platform), safe='')}", _set(reference.digest)


def _commit(op: SourceOp, rest: str) -> tuple[str, dict[str, str]] | None:
    commit = op.attrs.get("git.checksum") or rest.partition("#")[2].partition(":")[0]
    if not _COMMIT.fullmatch(commit):
        return None
    url = op.attrs.get("git.fullurl") or f"https://{rest.partition('#')[0]}"
    return _redacted(url), {"sha1" if len(commit) == 40 else "sha256": commit}


def _add_secrets(found: _Gathered, op: ExecOp) -> None:
    for mount in op.mounts:
        if mount.secret is not None:
            found.secrets[mount.secret.id] = mount.secret.optional
        if mount.ssh is not None:
            found.agents[mount.ssh.id] = mount.ssh.optional
    for variable in op.secret_env:
        found.secrets[variable.id] = variable.optional


def _named(ids: Mapping[str, bool]) -> list[dict[str, Any]]:
    return [{"id": id, **({"optional": True} if optional else {})} for id, optional in sorted(ids.items())]


def _present(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value}


def _set(digest: str) -> dict[str, str]:
    """In-toto's form of a digest."""
    parsed = digests.parse(digest)
    return {digests.algorithm(parsed): digests.encoded(parsed)}


def _redacted(url: str) -> str:
    """Without a password."""
    try:
        parts = urlsplit(url)
        if parts.password is None:
            return url
        return urlunsplit(parts._replace(netloc=f"{parts.username}:xxxxx@{parts.netloc.rpartition('@')[2]}"))
    except ValueError:
        return url


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
