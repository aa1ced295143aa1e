from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boatyard.client.documents.disk import Pruned, UsageRecord
from boatyard.client.documents.images import (
    Bootstrapped,
    ImageDetail,
    ImageHistory,
    ImageHistoryEntry,
    ImageLayer,
    ImageList,
    ImagesDeleted,
    ImagesLoaded,
    ImagesSaved,
    ImageSummary,
    ImageTagged,
)
from boatyard.errors import ConflictError
from fixtures.native_daemon import Asked, NativeDaemon

Boat = Callable[..., Any]
ID = "sha256:" + "ab" * 32


@pytest.fixture(autouse=True)
def images(daemon: NativeDaemon) -> None:
    now = time.time()
    summary = {
        "id": ID,
        "digest": "sha256:" + "cd" * 32,
        "names": ("docker.io/library/app:latest", "registry.example/team/app:v1"),
        "platforms": ("linux/amd64",),
        "created": now - 7300,
        "stored": now,
        "size": 77_800_000,
        "labels": {"a": "b"},
    }
    loose = ImageSummary(id="sha256:" + "12" * 32, digest="", created=None, stored=now - 50, size=5)
    daemon.answers["GET", "/images"] = ImageList(images=(loose, ImageSummary(**summary)))
    daemon.answers["GET", "/images/inspect"] = ImageDetail(
        **summary,
        platform="linux/amd64",
        layers=(ImageLayer(diff_id="sha256:l1", size=3),),
        config={"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": {"Env": ["A=1"]}},
    )
    daemon.answers["GET", "/images/history"] = ImageHistory(
        entries=(
            ImageHistoryEntry(created=now - 60, created_by="RUN make\ninstall", size=2_000_000),
            ImageHistoryEntry(created=now - 90000, created_by="x" * 60, comment="base", empty_layer=True),
        )
    )


def test_images_are_listed_as_docker_lists_them(boat: Boat) -> None:
    assert boat("images").out.splitlines() == [
        "REPOSITORY                  TAG      IMAGE ID       CREATED       SIZE",
        "app                         latest   abababababab   2 hours ago   77.8MB",
        "registry.example/team/app   v1       abababababab   2 hours ago   77.8MB",
        "<none>                      <none>   121212121212   N/A           5B",
    ]


def test_an_image_with_two_names_has_one_id(boat: Boat) -> None:
    assert boat("image", "ls", "-q").out.split() == ["abababababab", "121212121212"]
    assert boat("images", "-q", "--no-trunc").out.split()[0] == ID


def test_filters_go_to_the_daemon(boat: Boat, daemon: NativeDaemon) -> None:
    boat("images", "-f", "dangling=true", "--filter", "label=a", "app*")
    assert daemon.asked[-1].query["filter"].split("\n") == ["dangling=true", "label=a", "reference=app*"]


def test_images_have_json_and_templates(boat: Boat) -> None:
    rows = [json.loads(line) for line in boat("images", "--format", "json").out.splitlines()]
    assert (rows[0]["Repository"], rows[0]["Bytes"], rows[0]["Labels"]) == ("app", 77_800_000, {"a": "b"})
    assert boat("images", "--format", "{{.Repository}}:{{.Tag}}").out.splitlines()[0] == "app:latest"
    assert boat("images", "--format", r"table {{.ID}}\t{{.Size}}").out.splitlines()[0] == "IMAGE ID       SIZE"
    told = boat("images", "--format", "{{.Repo}}")
    assert (told.code, told.out) == (2, "")
    assert "there is no field .Repo" in told.err


def test_digests_have_a_column_when_asked_for(boat: Boat) -> None:
    head = boat("images", "--digests").out.splitlines()[0]
    assert head.split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]


def test_inspect_has_dockers_fields(boat: Boat, daemon: NativeDaemon) -> None:
    (document,) = json.loads(boat("image", "inspect", "--platform", "linux/amd64", "app").out)
    assert daemon.asked[-1].query == {"name": "app", "platform": "linux/amd64"}
    assert document["Id"] == ID
    assert document["RepoTags"] == ["app:latest", "registry.example/team/app:v1"]
    assert document["RootFS"] == {"Type": "layers", "Layers": ["sha256:l1"]}
    assert document["Created"] == "2024-01-01T00:00:00Z"
    assert boat("image", "inspect", "-f", "{{.Os}}/{{.Architecture}} {{json .Config.Env}}", "app").out == (
        'linux/amd64 ["A=1"]\n'
    )


def test_history_tells_the_steps(boat: Boat) -> None:
    assert boat("image", "history", "app").out.splitlines() == [
        "IMAGE          CREATED        CREATED BY                                      SIZE   COMMENT",
        "abababababab   1 minute ago   RUN make install                                2MB",
        f"<missing>      1 day ago      {'x' * 44}…   0B     base",
    ]
    assert "x" * 60 in boat("history", "--no-trunc", "app").out


def test_tagging_and_removing_are_asked_for(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/images/tag"] = ImageTagged(name="docker.io/library/b:latest")
    daemon.answers["POST", "/images/delete"] = ImagesDeleted(
        untagged=("docker.io/library/b:latest",), deleted=("sha256:1",)
    )
    assert boat("tag", "a", "b").code == 0
    assert daemon.asks("/images/tag") == {"source": "a", "target": "b"}
    assert boat("rmi", "-f", "b").out == "Untagged: b:latest\nDeleted: sha256:1\n"
    assert daemon.asks("/images/delete") == {"names": ["b"], "force": True}


def test_an_error_of_the_daemon_has_its_exit_code_and_hint(boat: Boat, daemon: NativeDaemon) -> None:
    def refuse(_: Asked) -> object:
        raise ConflictError("app has two names", hint="use --force")

    daemon.answers["POST", "/images/delete"] = refuse
    told = boat("image", "rm", ID)
    assert told.code == 4
    assert told.err == "error: app has two names\n  fix: use --force\n"


def test_pruning_asks_first(boat: Boat, daemon: NativeDaemon) -> None:
    record = UsageRecord(id="sha256:1", type="image", size=5, created=0)
    daemon.answers["POST", "/prune"] = Pruned(records=(record,), bytes=5_000)
    told = boat("image", "prune")
    assert told.code == 2
    assert "--force" in told.err
    assert boat("image", "prune", "-f").out == "Deleted: sha256:1\nTotal reclaimed space: 5kB\n"
    assert daemon.asks("/prune") == {"filters": ["type==image"], "images": True}


def test_saving_writes_a_file_whole(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    def save(asked: Asked) -> Iterator[object]:
        os.write(daemon.taken(asked.body["token"])[0], b"archive")
        yield ImagesSaved(bytes=7)

    daemon.answers["POST", "/images/save"] = save
    assert boat("save", "-o", "app.tar", "--format", "oci", "--compression", "zstd", "app", "b").code == 0
    assert (work / "app.tar").read_bytes() == b"archive"
    request = daemon.asks("/images/save")
    assert (request["names"], request["format"], request["compression"]) == (["app", "b"], "oci", "zstd")
    assert boat("image", "save", "app").out == "archive"


def test_loading_reads_a_file_and_names_what_came(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    def load(asked: Asked) -> Iterator[object]:
        assert daemon.read(asked.body["token"]) == b"archive"
        yield ImagesLoaded(names=("docker.io/library/app:latest",), ids=(ID,))

    daemon.answers["POST", "/images/load"] = load
    (work / "app.tar").write_bytes(b"archive")
    assert boat("load", "-i", "app.tar").out == "Loaded image: app:latest\n"
    told = boat("load", "-i", "missing.tar")
    assert told.code == 3
    daemon.answers["POST", "/images/load"] = [ImagesLoaded(ids=(ID,))]
    assert boat("load", "-i", "app.tar").out == f"Loaded image ID: {ID}\n"


def test_importing_takes_changes(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/images/import"] = [ImagesLoaded(ids=(ID,))]
    (work / "files.tar").touch()
    assert boat("import", "-c", "CMD x", "-m", "mine", "files.tar", "app").out == ID + "\n"
    request = daemon.asks("/images/import")
    assert (request["name"], request["changes"], request["message"]) == ("app", ["CMD x"], "mine")
    told = boat("import", "https://example.com/x.tar")
    assert told.code == 6
    assert "curl -L" in told.err


def test_bootstrap_says_what_it_made(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/bootstrap"] = [
        Bootstrapped(id=ID, digest="", names=("docker.io/library/debian:bookworm-slim",), size=30_000_000)
    ]
    told = boat("bootstrap", "debian:bookworm-slim", "--include", "curl,git", SOURCE_DATE_EPOCH="5")
    assert told.out.startswith("debian:bookworm-slim: 30MB in ")
    assert daemon.asks("/bootstrap") == {
        "image": "debian:bookworm-slim",
        "include": ["curl", "git"],
        "source_date_epoch": 5,
    }
    assert boat("bootstrap", "-q", "busybox").out == ID + "\n"
    assert boat("bootstrap", "busybox", SOURCE_DATE_EPOCH="soon").code == 2
