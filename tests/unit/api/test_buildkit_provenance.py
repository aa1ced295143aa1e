from __future__ import annotations

import json
from typing import Any

import pytest

from boatyard.api.buildkit import provenance
from boatyard.build.llb import codec
from boatyard.build.llb.graph import (
    Edge,
    ExecOp,
    FileAction,
    FileOp,
    Graph,
    Meta,
    MkFile,
    Mount,
    MountType,
    SecretEnv,
    SecretOpt,
    SourceOp,
    SSHOpt,
)
from boatyard.build.recording import BuildRecord, FrontendCall
from boatyard.image.platform import Platform

HERE = Platform(os="linux", architecture="amd64")
DIGEST = "sha256:" + "ab" * 32
COMMIT = "cd" * 20


def record(**fields: Any) -> BuildRecord:
    values: dict[str, Any] = {"ref": "r", "name": "", "created": 1.5, "completed": 2.0, "frontend": "dockerfile.v0"}
    return BuildRecord(**{**values, **fields})


def documents(found: BuildRecord, *graphs: Graph) -> dict[str, Any]:
    made = provenance.of_build(found, [codec.encode(graph) for graph in graphs], HERE)
    return {platform: json.loads(data) for platform, data in made}


def of_source(identifier: str, **attrs: str) -> Any:
    source = SourceOp(identifier, {name.replace("_", "."): value for name, value in attrs.items()})
    return documents(record(), Graph(Edge(codec.vertex(source))))[""]


@pytest.mark.parametrize(
    ("identifier", "attrs", "uri", "digest"),
    [
        (
            f"docker-image://docker.io/library/busybox:1@{DIGEST}",
            {},
            "pkg:docker/busybox@1?platform=linux%2Famd64",
            {"sha256": "ab" * 32},
        ),
        (
            f"docker-image://host:5000/a/b@{DIGEST}",
            {},
            "pkg:docker/host%3A5000/a/b@sha256%3A" + "ab" * 32 + "?platform=linux%2Famd64",
            {"sha256": "ab" * 32},
        ),
        (f"oci-layout://store/x@{DIGEST}", {}, None, {"sha256": "ab" * 32}),
        (f"git://host/x.git#{COMMIT}:sub", {}, "https://host/x.git", {"sha1": COMMIT}),
        (
            "git://host/x.git#main",
            {"git_checksum": COMMIT, "git_fullurl": "https://u:secret@host/x.git"},
            "https://u:xxxxx@host/x.git",
            {"sha1": COMMIT},
        ),
        ("https://host/f", {"http_checksum": DIGEST}, "https://host/f", {"sha256": "ab" * 32}),
    ],
)
def test_pinned_sources_are_dependencies(
    identifier: str, attrs: dict[str, str], uri: str | None, digest: dict[str, str]
) -> None:
    document = of_source(identifier, **attrs)
    [found] = document["buildDefinition"]["resolvedDependencies"]
    assert found["digest"] == digest
    assert uri in (None, found["uri"])
    assert document["runDetails"]["metadata"]["buildkit_completeness"]["resolvedDependencies"]


@pytest.mark.parametrize(
    "identifier", ["docker-image://docker.io/library/busybox:1", "git://host/x.git#main", "https://host/f"]
)
def test_what_is_not_pinned_makes_the_list_incomplete(identifier: str) -> None:
    document = of_source(identifier)
    assert document["buildDefinition"]["resolvedDependencies"] == []
    assert not document["runDetails"]["metadata"]["buildkit_completeness"]["resolvedDependencies"]


def test_what_was_asked_is_told() -> None:
    mounts = (
        Mount("/", 0, output=0),
        Mount("/s", type=MountType.SECRET, secret=SecretOpt("key", optional=True)),
        Mount("/a", type=MountType.SSH, ssh=SSHOpt("default")),
    )
    step = ExecOp(Meta(("true",)), mounts, secret_env=(SecretEnv("token", "TOKEN"),))
    graph = Graph(Edge(codec.vertex(step, [Edge(codec.vertex(SourceOp("local://context")))])))
    options = {
        "frontend": "dockerfile.v0",
        "context": "https://u:secret@host/x.git",
        "filename": "F",
        "build-arg:A": "b",
        "vcs:revision": COMMIT,
    }
    definition = documents(record(options=options), graph)[""]
    asked = definition["buildDefinition"]["externalParameters"]
    assert asked["configSource"] == {"uri": "https://u:xxxxx@host/x.git", "path": "F"}
    assert asked["request"] == {
        "frontend": "dockerfile.v0",
        "args": {"build-arg:A": "b"},
        "locals": [{"name": "context"}],
        "secrets": [{"id": "key", "optional": True}, {"id": "token"}],
        "ssh": [{"id": "default"}],
    }
    metadata = definition["runDetails"]["metadata"]
    assert (metadata["startedOn"], metadata["finishedOn"]) == (
        "1970-01-01T00:00:01.500000Z",
        "1970-01-01T00:00:02.000000Z",
    )
    assert metadata["buildkit_metadata"] == {"vcs": {"revision": COMMIT}}


def test_a_frontend_of_the_clients_own_asked_another_one() -> None:
    found = record(frontend="", requests=[FrontendCall(frontend="dockerfile.v0", options={"target": "x"})])
    graph = Graph(Edge(codec.vertex(SourceOp("local://context"))))
    request = documents(found, graph)[""]["buildDefinition"]["externalParameters"]["request"]
    assert (request["frontend"], request["args"]) == ("dockerfile.v0", {"target": "x"})


def test_each_platform_has_a_document() -> None:
    made = FileOp((FileAction(-1, MkFile("/f"), output=0),))
    arm = Platform(os="linux", architecture="arm64")
    graph = Graph(Edge(codec.vertex(made)))
    found = record(platforms=[str(HERE), str(arm)])
    assert set(documents(found, graph, graph)) == {"linux/amd64", "linux/arm64"}
