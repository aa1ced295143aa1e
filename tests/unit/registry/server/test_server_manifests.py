"""The registry server: manifests, tags, referrers, lists (distribution-spec 1.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boatyard.image import spec
from fixtures.registryserver import Served, serving

NOTHING = "sha256:" + "0" * 64
EMPTY = {"mediaType": spec.OCI_EMPTY, "digest": f"sha256:{hashlib.sha256(b'{}').hexdigest()}", "size": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("registry") / "root") as served:
        yield served


def artifact(**more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": spec.OCI_MANIFEST, "config": EMPTY, "layers": [EMPTY], **more}


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest(server: Served) -> None:
    server.push_blob("bytes", b"{}")
    data = json.dumps(artifact(), indent=7).encode() + b"\n\n"
    digest = server.push_manifest("bytes", "v1", data)
    assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    for reference in ("v1", digest):
        for _ in range(2):  # the second time out of memory
            answer = server.call("GET", f"/v2/bytes/manifests/{reference}")
            assert (answer.status, answer.body) == (200, data)
            assert answer.headers["content-type"] == spec.OCI_MANIFEST
            assert answer.headers["docker-content-digest"] == digest
        answer = server.call("HEAD", f"/v2/bytes/manifests/{reference}")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(len(data)), b"")
    assert server.call("GET", "/v2/bytes/manifests/v1", If_None_Match=f'"{digest}"').status == 304


def test_a_manifest_is_pushed_by_a_digest_of_either_kind(server: Served) -> None:
    server.push_blob("digests", b"{}")
    data = json.dumps(artifact()).encode()
    for algorithm in ("sha256", "sha512"):
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        assert server.push_manifest("digests", digest, data) == digest
        assert server.call("GET", f"/v2/digests/manifests/{digest}").body == data
    answer = server.call("PUT", f"/v2/digests/manifests/{NOTHING}", data, Content_Type=spec.OCI_MANIFEST)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_a_manifest_gets_several_tags_at_once(server: Served) -> None:
    server.push_blob("several", b"{}")
    data = json.dumps(artifact()).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    tags = [f"t{number}" for number in range(12)]
    query = "&".join(f"tag={tag}" for tag in tags)
    answer = server.call("PUT", f"/v2/several/manifests/{digest}?{query}", data, Content_Type=spec.OCI_MANIFEST)
    assert (answer.status, answer.headers["oci-tag"]) == (201, ", ".join(tags))
    assert server.call("GET", "/v2/several/tags/list").json()["tags"] == sorted(tags)
    answer = server.call("PUT", f"/v2/several/manifests/{digest}?tag=.x", data, Content_Type=spec.OCI_MANIFEST)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])
    query = "&".join(f"tag=t{number}" for number in range(60))
    assert server.call("PUT", f"/v2/several/manifests/{digest}?{query}", data).status == 414


def test_a_tag_moves_to_the_manifest_that_was_pushed_last(server: Served) -> None:
    first = server.push_image("moves", "latest", [b"one"])
    assert server.call("HEAD", "/v2/moves/manifests/latest").headers["docker-content-digest"] == first
    second = server.push_image("moves", "latest", [b"two"])
    assert server.call("HEAD", "/v2/moves/manifests/latest").headers["docker-content-digest"] == second
    assert server.call("GET", f"/v2/moves/manifests/{first}").status == 200


@pytest.mark.parametrize("missing", ["config", "layer", "child"])
def test_a_manifest_of_what_is_not_there_is_refused(server: Served, missing: str) -> None:
    name = f"missing/{missing}"
    server.push_blob(name, b"{}")
    absent = {"mediaType": spec.OCI_LAYER, "digest": NOTHING, "size": 3}
    document: dict[str, Any] = artifact()
    if missing == "child":
        document = {"schemaVersion": 2, "mediaType": spec.OCI_INDEX, "manifests": [absent]}
    elif missing == "config":
        document["config"] = absent
    else:
        document["layers"].append(absent)
    body = json.dumps(document)
    answer = server.call("PUT", f"/v2/{name}/manifests/v1", body, Content_Type=document["mediaType"])
    assert (answer.status, answer.codes) == (404, ["MANIFEST_BLOB_UNKNOWN"])
    assert answer.json()["errors"][0]["detail"] == [{"digest": NOTHING}]
    assert server.call("GET", f"/v2/{name}/manifests/v1").status == 404


def test_layers_that_may_not_be_distributed_need_not_be_there(server: Served) -> None:
    server.push_blob("foreign", b"{}")
    foreign = {"mediaType": spec.DOCKER_LAYER_FOREIGN, "digest": NOTHING, "size": 3, "urls": ["https://example.org/x"]}
    document = artifact(mediaType=spec.DOCKER_MANIFEST)
    document["layers"] = [foreign]
    server.push_manifest("foreign", "v1", document, spec.DOCKER_MANIFEST)


def test_dockers_schema_2_is_taken(server: Served) -> None:
    server.push_blob("docker", b"{}")
    child = artifact(mediaType=spec.DOCKER_MANIFEST)
    digest = server.push_manifest("docker", "amd64", child, spec.DOCKER_MANIFEST)
    entry = {"mediaType": spec.DOCKER_MANIFEST, "digest": digest, "size": len(json.dumps(child))}
    document = {"schemaVersion": 2, "mediaType": spec.DOCKER_INDEX, "manifests": [entry]}
    server.push_manifest("docker", "all", document, spec.DOCKER_INDEX)
    assert server.call("GET", "/v2/docker/manifests/all").headers["content-type"] == spec.DOCKER_INDEX


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", spec.OCI_MANIFEST),
        (b"{", spec.OCI_MANIFEST),
        (b"[]", spec.OCI_MANIFEST),
        (b"\xff\xfe", spec.OCI_MANIFEST),
        (b"[" * 100_000, spec.OCI_MANIFEST),
        (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json"),
        (b'{"schemaVersion": 2}', spec.OCI_MANIFEST),
        (b'{"schemaVersion": 2}', spec.OCI_INDEX),
        (b'{"schemaVersion": 2, "manifests": []}', "text/plain"),
        (json.dumps(artifact()).encode(), spec.OCI_INDEX),
        (json.dumps(artifact(config={"digest": "../../etc/passwd", "size": 1})).encode(), spec.OCI_MANIFEST),
        (json.dumps(artifact(config={**EMPTY, "size": -1})).encode(), spec.OCI_MANIFEST),
        (json.dumps(artifact(subject={"digest": "x", "size": 1})).encode(), spec.OCI_MANIFEST),
    ],
)
def test_what_is_no_manifest_is_refused(server: Served, data: bytes, media_type: str) -> None:
    server.push_blob("invalid", b"{}")
    answer = server.call("PUT", "/v2/invalid/manifests/v1", data, Content_Type=media_type)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_a_manifest_may_have_4_megabytes_but_not_5(server: Served) -> None:
    server.push_blob("large", b"{}")
    for size, status in ((4_000_000, 201), (5_000_000, 413)):
        data = json.dumps(artifact(annotations={"padding": "x" * size})).encode()
        answer = server.call("PUT", f"/v2/large/manifests/v{size}", data, Content_Type=spec.OCI_MANIFEST)
        assert answer.status == status
        # As a stream, its length shows only on the way.
        answer = server.call("PUT", f"/v2/large/manifests/s{size}", iter([data]), Content_Type=spec.OCI_MANIFEST)
        assert answer.status == status


@pytest.mark.parametrize("tag", [".x", "-x", "a" * 129, "a+b", "%2e%2e"])
def test_what_is_no_tag_is_no_manifest_either(server: Served, tag: str) -> None:
    server.push_blob("tags", b"{}")
    assert server.call("GET", f"/v2/tags/manifests/{tag}").status == 404
    answer = server.call("PUT", f"/v2/tags/manifests/{tag}", json.dumps(artifact()), Content_Type=spec.OCI_MANIFEST)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_what_is_unknown_says_which_thing_is(server: Served) -> None:
    server.push_image("known", "v1")
    assert server.call("GET", "/v2/known/manifests/v2").codes == ["MANIFEST_UNKNOWN"]
    assert server.call("GET", f"/v2/known/manifests/{NOTHING}").codes == ["MANIFEST_UNKNOWN"]
    assert server.call("GET", "/v2/unknown/manifests/v1").codes == ["NAME_UNKNOWN"]
    assert server.call("GET", "/v2/unknown/tags/list").codes == ["NAME_UNKNOWN"]
    assert server.call("GET", "/v2/known/manifests/sha256:x").codes == ["DIGEST_INVALID"]


def test_a_tag_is_deleted_alone_and_a_manifest_with_its_tags(server: Served) -> None:
    digest = server.push_image("deleted", "a")
    data = server.call("GET", "/v2/deleted/manifests/a").body
    server.push_manifest("deleted", "b", data)
    assert server.call("DELETE", "/v2/deleted/manifests/a").status == 202
    assert server.call("GET", "/v2/deleted/manifests/a").status == 404
    assert server.call("GET", "/v2/deleted/manifests/b").status == 200
    assert server.call("DELETE", f"/v2/deleted/manifests/{digest}").status == 202
    for reference in ("b", digest):
        assert server.call("GET", f"/v2/deleted/manifests/{reference}").status == 404
        assert server.call("DELETE", f"/v2/deleted/manifests/{reference}").codes == ["MANIFEST_UNKNOWN"]
    assert server.call("GET", "/v2/deleted/tags/list").json() == {"name": "deleted", "tags": []}


def test_tags_are_listed_page_by_page(server: Served) -> None:
    server.push_image("pages", "b")
    data = server.call("GET", "/v2/pages/manifests/b").body
    for tag in ("B", "a", "c", "1", "_", "b.1"):
        server.push_manifest("pages", tag, data)
    tags = sorted(("B", "a", "b", "c", "1", "_", "b.1"))
    assert server.call("GET", "/v2/pages/tags/list").json() == {"name": "pages", "tags": tags}
    seen, path = [], "/v2/pages/tags/list?n=3"
    while path:
        answer = server.call("GET", path)
        seen.append(answer.json()["tags"])
        link = answer.headers.get("link", "")
        assert not link or link.endswith('; rel="next"')
        path = link.partition("<")[2].partition(">")[0]
    assert seen == [tags[:3], tags[3:6], tags[6:]]
    assert server.call("GET", "/v2/pages/tags/list?last=b").json()["tags"] == ["b.1", "c"]
    answer = server.call("GET", "/v2/pages/tags/list?n=0")
    assert answer.json()["tags"] == [] and "link" not in answer.headers
    for n in ("-1", "x", "1e3", "9" * 30):
        assert server.call("GET", f"/v2/pages/tags/list?n={n}").status == 400


def test_referrers_are_listed_whether_their_subject_came_first_or_not(server: Served) -> None:
    server.push_blob("refers", b"{}")
    data = json.dumps(artifact(annotations={"is": "subject"})).encode()
    subject = {
        "mediaType": spec.OCI_MANIFEST,
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
    }
    sbom = artifact(subject=subject, artifactType="application/sbom", annotations={"made": "today"})
    answer = server.call("PUT", "/v2/refers/manifests/sbom", json.dumps(sbom), Content_Type=spec.OCI_MANIFEST)
    assert (answer.status, answer.headers["oci-subject"]) == (201, subject["digest"])
    server.push_manifest("refers", "subject", data)
    by_config = artifact(subject=subject)
    server.push_manifest("refers", "config", by_config)
    index = {"schemaVersion": 2, "mediaType": spec.OCI_INDEX, "manifests": [], "subject": subject}
    server.push_manifest("refers", "index", index, spec.OCI_INDEX)
    answer = server.call("GET", f"/v2/refers/referrers/{subject['digest']}")
    assert answer.headers["content-type"] == spec.OCI_INDEX
    assert "oci-filters-applied" not in answer.headers
    found = {each["digest"]: each for each in answer.json()["manifests"]}
    assert {each.get("artifactType") for each in found.values()} == {"application/sbom", spec.OCI_EMPTY, None}
    assert {"made": "today"} in [each.get("annotations") for each in found.values()]
    answer = server.call("GET", f"/v2/refers/referrers/{subject['digest']}?artifactType=application/sbom")
    assert answer.headers["oci-filters-applied"] == "artifactType"
    (only,) = answer.json()["manifests"]
    assert only["artifactType"] == "application/sbom"
    assert only["size"] == len(json.dumps(sbom))


def test_referrers_come_page_by_page_and_go_when_they_are_deleted(server: Served) -> None:
    server.push_blob("many", b"{}")
    subject = {"mediaType": spec.OCI_MANIFEST, "digest": NOTHING, "size": 3}
    pushed = [
        server.push_manifest("many", f"t{number}", artifact(subject=subject, annotations={"n": str(number)}))
        for number in range(5)
    ]
    seen, path = [], f"/v2/many/referrers/{NOTHING}?n=2"
    while path:
        answer = server.call("GET", path)
        seen += [each["digest"] for each in answer.json()["manifests"]]
        path = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert seen == sorted(pushed)
    server.call("DELETE", f"/v2/many/manifests/{pushed[0]}")
    assert len(server.call("GET", f"/v2/many/referrers/{NOTHING}").json()["manifests"]) == 4


def test_what_nothing_refers_to_has_an_empty_list_of_referrers(server: Served) -> None:
    for name in ("many", "nosuch/repository"):
        answer = server.call("GET", f"/v2/{name}/referrers/sha256:{'1' * 64}")
        assert (answer.status, answer.json()["manifests"]) == (200, [])
    answer = server.call("GET", "/v2/many/referrers/nonsense")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_repositories_are_listed_page_by_page(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server:
        for name in ("b/c", "a", "d"):
            server.push_image(name, "v1")
        server.push_blob("only/blobs", b"x")
        assert server.call("GET", "/v2/_catalog").json() == {"repositories": ["a", "b/c", "d"]}
        answer = server.call("GET", "/v2/_catalog?n=2")
        assert answer.json() == {"repositories": ["a", "b/c"]}
        rest = answer.headers["link"].partition("<")[2].partition(">")[0]
        assert server.call("GET", rest).json() == {"repositories": ["d"]}


def test_a_registry_that_is_read_only_takes_and_deletes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server:
        digest = server.push_image("kept", "v1")
    with serving(tmp_path / "root", read_only=True) as server:
        assert server.call("GET", "/v2/kept/manifests/v1").headers["docker-content-digest"] == digest
        for method, path in (
            ("POST", "/v2/kept/blobs/uploads/"),
            ("PUT", "/v2/kept/manifests/v1"),
            ("DELETE", "/v2/kept/manifests/v1"),
            ("DELETE", f"/v2/kept/blobs/{digest}"),
        ):
            answer = server.call(method, path, b"{}")
            assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])
        assert server.call("GET", "/v2/kept/tags/list").json()["tags"] == ["v1"]


def test_what_was_pushed_is_there_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server:
        digest = server.push_image("kept", "v1", [b"one", b"two"])
    with serving(tmp_path / "root") as server:
        assert server.call("HEAD", "/v2/kept/manifests/v1").headers["docker-content-digest"] == digest
