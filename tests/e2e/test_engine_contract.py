"""Docker's API to the letter: headers, versions, texts and forms that clients rely on."""

from __future__ import annotations

import json
import os

import pytest

from e2e.engine import Answer, Connection, ask, build, tar_of
from e2e.yard import Yard


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/_ping", "/v1.24/_ping", "/v1.50/_ping"])
def test_ping_tells_versions_in_headers(yard: Yard, method: str, path: str) -> None:
    answer = ask(yard, method, path)
    assert answer.status == 200
    assert answer.body == (b"OK" if method == "GET" else b"")
    assert answer.headers["api-version"] == "1.50"
    assert answer.headers["builder-version"] in ("1", "2")
    assert answer.headers["docker-experimental"] == "false"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["swarm"] == "inactive"
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/plain")
    if method == "HEAD":
        assert answer.headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/version", 200),
        ("GET", "/images/nosuch/json", 404),
        ("GET", "/nothing/here", 404),
        ("GET", "/v1.99/info", 400),
        ("POST", "/containers/create", 501),
        ("OPTIONS", "/anything", 200),
    ],
)
def test_every_answer_says_which_api_it_is_of(yard: Yard, method: str, path: str, status: int) -> None:
    answer = ask(yard, method, path)
    assert answer.status == status
    assert answer.headers["api-version"] == "1.50"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["server"].startswith("Boatyard/")
    assert answer.headers["docker-experimental"] == "false"


def test_a_version_that_is_too_new_is_refused(yard: Yard) -> None:
    answer = ask(yard, "GET", "/v1.99/version")
    assert answer.status == 400
    assert answer.message == "client version 1.99 is too new. Maximum supported API version is 1.50"


def test_a_version_that_is_too_old_is_refused_in_plain_text(yard: Yard) -> None:
    answer = ask(yard, "GET", "/v1.12/version")
    assert answer.status == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body == (
        b"client version 1.12 is too old. Minimum supported API version is 1.24, "
        b"please upgrade your client to a newer version\n"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1.41/nothing/here"),
        ("POST", "/version"),
        ("PUT", "/images/json"),
        ("GET", "/v1.41"),
    ],
)
def test_what_is_not_there_is_a_page_not_found(yard: Yard, method: str, path: str) -> None:
    answer = ask(yard, method, path)
    assert (answer.status, answer.json) == (404, {"message": "page not found"})


def test_the_native_api_is_served_beside(yard: Yard) -> None:
    assert ask(yard, "GET", "/boat/v1/ping").status == 200
    assert "error" in ask(yard, "GET", "/boat/v1/nothing").json


def test_version_and_info_are_true(yard: Yard) -> None:
    version, info = ask(yard, "GET", "/version").json, ask(yard, "GET", "/v1.41/info").json
    assert version["ApiVersion"] == "1.50"
    assert version["MinAPIVersion"] == "1.24"
    assert version["Os"] == "linux"
    assert version["KernelVersion"] == os.uname().release
    assert version["Platform"] == {"Name": "Boatyard"}
    engine = version["Components"][0]
    assert engine["Name"] == "Engine" and engine["Details"]["ApiVersion"] == "1.50"
    assert info["ServerVersion"] == version["Version"]
    assert info["DockerRootDir"] == str(yard.data)
    assert info["NCPU"] == len(os.sched_getaffinity(0))
    assert info["Images"] == len(ask(yard, "GET", "/images/json").json)
    assert info["Containers"] == 0
    assert info["Name"] == os.uname().nodename
    assert info["Driver"]
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert info["ID"] == ask(yard, "GET", "/info").json["ID"]


def test_a_missing_image_is_told_in_the_words_that_clients_look_for(yard: Yard) -> None:
    for path, shown in (
        ("/images/nosuch/json", "nosuch:latest"),
        ("/images/nosuch:1/json", "nosuch:1"),
        ("/images/localhost:5000/a/b/json", "localhost:5000/a/b:latest"),
        ("/images/docker.io/library/nosuch/json", "nosuch:latest"),
        ("/images/sha256:" + "0" * 64 + "/json", "sha256:" + "0" * 64),
        ("/images/nosuch/history", "nosuch:latest"),
        ("/images/nosuch/get", "nosuch:latest"),
    ):
        answer = ask(yard, "GET", path)
        assert (answer.status, answer.message) == (404, f"No such image: {shown}")
    assert ask(yard, "DELETE", "/images/nosuch").message == "No such image: nosuch:latest"
    assert ask(yard, "POST", "/images/nosuch/tag", repo="x").message == "No such image: nosuch:latest"
    assert ask(yard, "POST", "/images/nosuch/push").message == "No such image: nosuch:latest"


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        ("/containers/json", []),
        ("/networks", []),
        ("/volumes", {"Volumes": [], "Warnings": None}),
        ("/plugins", []),
    ],
)
def test_lists_of_what_there_is_none_of_are_empty(yard: Yard, path: str, empty: object) -> None:
    answer = ask(yard, "GET", path)
    assert (answer.status, answer.json) == (200, empty)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/containers/x/json", "No such container: x"),
        ("DELETE", "/containers/x", "No such container: x"),
        ("POST", "/containers/x/start", "No such container: x"),
        ("GET", "/networks/x", "network x not found"),
        ("GET", "/volumes/x", "get x: no such volume"),
        ("GET", "/exec/x/json", "No such exec instance: x"),
        ("GET", "/plugins/a/b/json", 'plugin "a/b" not found'),
    ],
)
def test_one_of_what_there_is_none_of_is_not_found(yard: Yard, method: str, path: str, message: str) -> None:
    answer = ask(yard, method, path)
    assert (answer.status, answer.message) == (404, message)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/create"),
        ("POST", "/networks/create"),
        ("POST", "/volumes/create"),
        ("POST", "/plugins/pull"),
        ("POST", "/commit"),
        ("GET", "/images/search?term=x"),
    ],
)
def test_what_is_not_supported_yet_says_so(yard: Yard, method: str, path: str) -> None:
    answer = ask(yard, method, path, b"{}", headers={"Content-Type": "application/json"})
    assert answer.status == 501
    assert "not supported yet" in answer.message


@pytest.mark.parametrize("path", ["/swarm", "/services", "/nodes", "/tasks", "/secrets", "/configs", "/services/x"])
def test_a_swarm_is_unavailable(yard: Yard, path: str) -> None:
    answer = ask(yard, "GET", path)
    assert answer.status == 503
    assert answer.message.startswith("This node is not a swarm manager.")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/containers/prune", {"ContainersDeleted": None, "SpaceReclaimed": 0}),
        ("/networks/prune", {"NetworksDeleted": None}),
        ("/volumes/prune", {"VolumesDeleted": [], "SpaceReclaimed": 0}),
    ],
)
def test_pruning_what_there_is_none_of_prunes_nothing(yard: Yard, path: str, answer: object) -> None:
    assert ask(yard, "POST", path).json == answer


def image(yard: Yard, name: str, *, version: str = "1.50") -> dict[str, object]:
    found = ask(yard, "GET", f"/v{version}/images/{name}/json").json
    assert isinstance(found, dict)
    return found


def test_an_image_is_described_in_the_form_of_the_version_asked_for(yard: Yard) -> None:
    new, old = image(yard, "busybox"), image(yard, "busybox", version="1.41")
    assert set(new) >= {"Id", "RepoTags", "RepoDigests", "Config", "RootFS", "Size", "Descriptor", "Architecture", "Os"}
    assert "VirtualSize" not in new and "ContainerConfig" not in new and "AttachStdin" not in new["Config"]  # type: ignore[operator]
    assert old["VirtualSize"] == new["Size"]
    assert old["Config"]["AttachStdin"] is False  # type: ignore[index]
    assert "ContainerConfig" in old and "Descriptor" not in old
    assert old["Id"] == new["Id"]


@pytest.mark.parametrize(
    "spelling",
    ["busybox", "busybox:latest", "docker.io/library/busybox", "library%2Fbusybox:latest", "{id}", "{short}"],
)
def test_an_image_is_found_by_every_spelling(yard: Yard, spelling: str) -> None:
    id = str(image(yard, "busybox")["Id"])
    assert image(yard, spelling.format(id=id, short=id[7:19]))["Id"] == id


def test_manifests_are_listed_when_asked_for(yard: Yard) -> None:
    found = ask(yard, "GET", "/images/busybox/json", manifests="1").json
    (manifest,) = found["Manifests"]
    assert manifest["Kind"] == "image" and manifest["Available"] is True
    assert manifest["ID"] == manifest["Descriptor"]["digest"] == found["Descriptor"]["digest"]
    assert manifest["ImageData"]["Size"]["Unpacked"] > 0
    listed = ask(yard, "GET", "/images/json", manifests="1", filters='{"reference":["busybox"]}').json
    assert [entry["Manifests"] for entry in listed] == [[manifest]]
    assert "Manifests" not in ask(yard, "GET", "/v1.46/images/json", manifests="1").json[0]
    both = ask(yard, "GET", "/images/busybox/json", manifests="1", platform='{"os":"linux","architecture":"amd64"}')
    assert both.status == 400


def test_lists_of_images_take_filters_in_both_forms(yard: Yard) -> None:
    tags = ["engine-filters:one", "engine-filters:two"]
    build(yard, {"Dockerfile": "FROM busybox\nLABEL engine.filters=yes\n"}, t=tags)
    for value in ({"engine.filters=yes": True}, ["engine.filters"], ["engine.filters=yes", "engine.filters"]):
        found = ask(yard, "GET", "/images/json", filters=json.dumps({"label": value})).json
        assert [entry["RepoTags"] for entry in found] == [tags]
    narrowed = ask(yard, "GET", "/images/json", filters='{"reference":["engine-filters:t*"]}').json
    assert [entry["RepoTags"] for entry in narrowed] == [["engine-filters:two"]]
    since = ask(yard, "GET", "/images/json", filters='{"since":["busybox"],"label":["engine.filters"]}').json
    assert len(since) <= 1
    assert ask(yard, "GET", "/images/json", filters='{"before":["nosuch"]}').message == "No such image: nosuch:latest"
    assert ask(yard, "GET", "/images/json", filters='{"nosuch":["x"]}').status == 400
    assert ask(yard, "GET", "/images/json", filters='{"dangling":["maybe"]}').status == 400
    assert ask(yard, "GET", "/v1.40/images/json", filter="engine-filters").json[0]["RepoTags"]


def test_shared_sizes_are_counted_when_asked_for(yard: Yard) -> None:
    build(yard, {"Dockerfile": "FROM busybox\nCOPY x /\n", "x": "x" * 5000}, t="engine-shared")
    listed = {
        entry["RepoTags"][0]: entry
        for entry in ask(yard, "GET", "/images/json", **{"shared-size": "1"}).json
        if entry["RepoTags"]
    }
    base = listed["busybox:latest"]["Size"]
    assert listed["engine-shared:latest"]["SharedSize"] == base
    assert listed["engine-shared:latest"]["Size"] > base
    assert ask(yard, "GET", "/images/json").json[0]["SharedSize"] == -1


def test_tagging_and_deleting_tell_what_they_did(yard: Yard) -> None:
    built = build(yard, {"Dockerfile": "FROM busybox\nENV tagging=1\n"}, t="engine-tag:one")
    id = next(line["aux"]["ID"] for line in built.lines if "aux" in line)
    assert ask(yard, "POST", "/images/engine-tag:one/tag", repo="localhost:5000/x/engine-tag", tag="two").status == 201
    assert ask(yard, "POST", "/images/engine-tag:one/tag", repo="UPPER").status == 400
    assert ask(yard, "POST", "/images/engine-tag:one/tag", repo="sha256").status == 400
    conflict = ask(yard, "DELETE", f"/images/{id}")
    assert conflict.status == 409
    assert conflict.message == (
        f"conflict: unable to delete {id[7:19]} (must be forced) - image is referenced in multiple repositories"
    )
    assert ask(yard, "DELETE", "/images/engine-tag:one").json == [{"Untagged": "engine-tag:one"}]
    assert ask(yard, "DELETE", "/images/localhost:5000/x/engine-tag:two", noprune="1").json == [
        {"Untagged": "localhost:5000/x/engine-tag:two"},
        {"Deleted": id},
    ]


def test_history_names_the_image_and_not_its_steps(yard: Yard) -> None:
    build(yard, {"Dockerfile": 'FROM busybox\nENV a=b\nCMD ["x"]\n'}, t="engine-history")
    history = ask(yard, "GET", "/images/engine-history/history").json
    assert history[0]["Id"] == image(yard, "engine-history")["Id"]
    assert history[0]["Tags"] == ["engine-history:latest"]
    assert [entry["Id"] for entry in history[1:]] == ["<missing>"] * (len(history) - 1)
    assert history[0]["CreatedBy"] == 'CMD ["x"]'


def test_saved_images_can_be_loaded_again(yard: Yard) -> None:
    build(yard, {"Dockerfile": "FROM busybox\nENV save=1\n"}, t="engine-save")
    one = ask(yard, "GET", "/images/engine-save/get")
    several = ask(yard, "GET", "/images/get", names=["engine-save", "busybox"])
    assert one.headers["content-type"] == several.headers["content-type"] == "application/x-tar"
    assert ask(yard, "GET", "/images/get").status == 400
    ask(yard, "DELETE", "/images/engine-save")
    quiet = ask(yard, "POST", "/images/load", one.body, headers={"Content-Type": "application/x-tar"})
    assert quiet.lines == [{"stream": "Loaded image: engine-save:latest\n"}]
    loud = ask(yard, "POST", "/images/load", several.body, quiet="0")
    assert any("progressDetail" in line for line in loud.lines)
    assert loud.text == "Loaded image: engine-save:latest\nLoaded image: busybox:latest\n"
    assert ask(yard, "POST", "/images/load", b"nonsense").status == 400


def test_a_root_file_system_is_imported_with_changes(yard: Yard) -> None:
    archive = tar_of({"hello": "hello"})
    answer = ask(
        yard, "POST", "/images/create", archive, fromSrc="-", repo="engine-import", tag="x",
        changes=['CMD ["/hello"]', "ENV a=b"], message="imported",
    )  # fmt: skip
    assert answer.status == 200
    (line,) = answer.lines
    found = image(yard, "engine-import:x")
    assert line["status"] == found["Id"]
    assert found["Config"]["Cmd"] == ["/hello"]  # type: ignore[index]
    assert found["Comment"] == "imported"
    assert ask(yard, "POST", "/images/create", archive, fromSrc="-", changes="RUN x").status == 400
    assert ask(yard, "POST", "/images/create", archive, fromSrc="-", repo="UPPER").status == 400
    assert ask(yard, "POST", "/images/create", fromSrc="http://localhost/x.tar").status == 501


def test_disk_usage_counts_images_and_the_build_cache(yard: Yard) -> None:
    build(yard, {"Dockerfile": "FROM busybox\nRUN echo usage > /x\n"}, t="engine-usage")
    usage = ask(yard, "GET", "/system/df").json
    names = {name for entry in usage["Images"] for name in entry["RepoTags"]}
    assert {"busybox:latest", "engine-usage:latest"} <= names
    assert usage["LayersSize"] >= max(entry["Size"] for entry in usage["Images"])
    assert usage["Containers"] == usage["Volumes"] == []
    assert usage["BuildCache"] and {"ID", "Type", "Size", "InUse", "Shared"} <= set(usage["BuildCache"][0])
    only = ask(yard, "GET", "/system/df", type=["build-cache"]).json
    assert only["Images"] is None and only["BuildCache"]
    assert ask(yard, "GET", "/system/df", type="nosuch").status == 400
    assert "BuilderSize" in ask(yard, "GET", "/v1.41/system/df").json


@pytest.mark.parametrize(
    "query",
    [
        {"filters": '{"until":["100h"]}'},
        {"all": "1", "keep-storage": "10000000000"},
        {"filters": '{"type":{"regular":true},"inuse":["true"]}'},
    ],
)  # fmt: skip
def test_pruning_the_build_cache_takes_filters_and_bounds(yard: Yard, query: dict[str, str]) -> None:
    answer = ask(yard, "POST", "/build/prune", **query)
    assert (answer.status, answer.json) == (200, {"CachesDeleted": None, "SpaceReclaimed": 0})


def test_pruning_with_what_makes_no_sense_is_refused(yard: Yard) -> None:
    assert ask(yard, "POST", "/build/prune", **{"keep-storage": "x"}).status == 400
    assert ask(yard, "POST", "/build/prune", filters='{"nosuch":["x"]}').status == 400
    assert ask(yard, "POST", "/build/prune", filters='{"until":["tomorrow"]}').status == 400
    assert ask(yard, "POST", "/build/cancel").message == "build ID not provided"
    assert ask(yard, "POST", "/build/cancel", id="nosuch").status == 409


def test_pruning_images_takes_those_without_a_name(yard: Yard) -> None:
    build(yard, {"Dockerfile": "FROM busybox\nLABEL engine.prune=1\n"})
    kept = ask(yard, "POST", "/images/prune", filters='{"label":["engine.prune"],"until":["24h"]}').json
    assert kept == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    pruned = ask(yard, "POST", "/images/prune", filters='{"label":["engine.prune"]}').json
    assert [list(entry) for entry in pruned["ImagesDeleted"]] == [["Deleted"]]


def test_events_of_the_past_are_told_and_filtered(yard: Yard) -> None:
    build(yard, {"Dockerfile": "FROM busybox\nLABEL engine.events=1\n"}, t="engine-events:one")
    ask(yard, "POST", "/images/engine-events:one/tag", repo="engine-events", tag="two")
    ask(yard, "DELETE", "/images/engine-events:two")

    def actions(version: str = "1.50", **filters: list[str]) -> list[str]:
        answer = ask(
            yard,
            "GET",
            f"/v{version}/events",
            since="10m",
            until="0s",
            filters=json.dumps({"label": ["engine.events"], **filters}),
        )
        assert answer.headers["content-type"] == "application/json"
        return [line["Action"] for line in answer.lines]

    assert actions() == ["create", "tag", "tag", "untag"]
    assert actions("1.45") == ["tag", "tag", "untag"]
    assert actions(image=["engine-events:two"]) == ["tag", "untag"]
    assert actions(image=["engine-events"]) == ["tag", "tag", "untag"]
    assert actions(event=["untag"], type=["image"]) == ["untag"]
    assert actions(type=["container"]) == actions(container=["x"]) == actions(scope=["swarm"]) == []
    assert ask(yard, "GET", "/events", since="20", until="10").status == 400
    assert ask(yard, "GET", "/events", since="nonsense").status == 400


def test_events_are_told_while_they_happen(yard: Yard) -> None:
    connection = Connection(yard.socket)
    connection.request("GET", "/events?filters=" + '{"event":["tag"],"image":["engine-follow:x"]}')
    response = connection.getresponse()
    ask(yard, "POST", "/images/busybox/tag", repo="engine-follow", tag="x")
    event = json.loads(response.readline())
    connection.close()
    assert (event["Type"], event["Action"], event["status"]) == ("image", "tag", "tag")
    assert event["Actor"] == {"ID": event["id"], "Attributes": {"name": "engine-follow:x"}}
    assert event["timeNano"] // 10**9 == event["time"]


def test_a_stopping_daemon_ends_the_streams_of_events(own_yard: Yard) -> None:
    connection = Connection(own_yard.socket)
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert own_yard.stop() == 0
    assert response.read() == b""


def test_a_request_may_name_its_target_in_full(yard: Yard) -> None:
    connection = Connection(yard.socket)
    connection.request("GET", "http://docker/v1.41/_ping")
    response = connection.getresponse()
    answer = Answer(response.status, dict(response.getheaders()), response.read())
    connection.close()
    assert (answer.status, answer.body) == (200, b"OK")
