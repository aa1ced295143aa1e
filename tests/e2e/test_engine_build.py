"""`POST /build`: contexts of every kind, the stream that clients parse, and what comes of wrong requests."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from e2e.engine import Answer, Connection, ask, build, tar_of
from e2e.project import Tree
from e2e.served import Served, commit_all
from e2e.yard import Yard, write_files


def id_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    assert "errorDetail" not in answer.lines[-1], answer.lines[-1]
    return str(next(line["aux"]["ID"] for line in answer.lines if "aux" in line))


def files_of(yard: Yard, answer: Answer) -> Tree:
    """Of the image, by exporting one that copies it."""
    id = id_of(answer)
    out = yard.root / f"{id[7:19]}.tar"
    name = f"engine-files:{id[7:19]}"
    ask(yard, "POST", f"/images/{id}/tag", repo=name)
    yard.run("build", "-o", f"type=tar,dest={out}", "-", input=f"FROM scratch\nCOPY --from={name} / /\n".encode())
    return Tree(out.read_bytes())


def test_progress_is_in_the_form_that_clients_parse(yard: Yard) -> None:
    answer = build(
        yard, {"Dockerfile": "FROM busybox\nRUN echo said-$((40 + 2))\nENV a=b\n"}, t=["form:one", "form:two"]
    )
    assert answer.headers["content-type"] == "application/json"
    id = id_of(answer)
    lines = answer.text.splitlines()
    assert lines[0] == "Step 1/3 : FROM busybox"
    assert re.fullmatch(r" ---> [0-9a-f]{12}", lines[1])
    assert lines[2:4] == ["Step 2/3 : RUN echo said-$((40 + 2))", "said-42"]
    assert lines[-3:] == [
        f"Successfully built {id[7:19]}",
        "Successfully tagged form:one",
        "Successfully tagged form:two",
    ]
    assert lines[-4] == f" ---> {id[7:19]}"
    # The very pattern of docker-py.
    found = [re.search(r"(^Successfully built |sha256:)([0-9a-f]+)$", line.get("stream", "")) for line in answer.lines]
    assert [match[2] for match in found if match] == [id[7:19]]
    assert ask(yard, "GET", "/images/form:one/json").json["Id"] == id


def test_a_second_build_says_what_came_from_the_cache(yard: Yard) -> None:
    """An unchanged context is unpacked anew, and nothing of it is new."""
    files = {"Dockerfile": "FROM busybox\nCOPY data /data\nRUN wc -c /data\n", "data": "d" * 1000}
    first, second = build(yard, files), build(yard, files)
    assert id_of(first) == id_of(second)
    assert second.text.count(" ---> Using cache") == 2
    changed = build(yard, {**files, "data": "changed"})
    assert "Using cache" not in changed.text


def test_a_quiet_build_says_nothing_but_the_id(yard: Yard) -> None:
    answer = build(yard, {"Dockerfile": "FROM busybox\nENV quiet=1\n"}, q="1")
    (line,) = answer.lines
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", line["stream"])


def test_a_quiet_build_that_fails_says_what_led_to_it(yard: Yard) -> None:
    answer = build(yard, {"Dockerfile": "FROM busybox\nRUN echo reason; exit 3\n"}, q="1")
    assert "reason" in answer.text
    assert answer.lines[-1]["errorDetail"]["code"] == 3


def test_a_failing_command_ends_the_stream_with_its_exit_code(yard: Yard) -> None:
    answer = build(yard, {"Dockerfile": "FROM busybox\nRUN echo before; exit 42\n"})
    assert answer.status == 200
    message = "The command '/bin/sh -c echo before; exit 42' returned a non-zero code: 42"
    assert answer.lines[-1] == {"errorDetail": {"code": 42, "message": message}, "error": message}
    assert "before\n" in answer.text


def test_a_dockerfile_that_is_wrong_is_refused_before_anything_is_said(yard: Yard) -> None:
    for text, message in (
        ("FROM busybox\nFOO bar\n", "Dockerfile:2: unknown instruction: FOO"),
        ("RUN x\n", "Dockerfile:1: RUN stands before the first FROM"),
        ("FROM nosuch:1\n", "Dockerfile:1: image nosuch:1 is not in the local store"),
        ("", "Dockerfile"),
    ):
        answer = build(yard, {"Dockerfile": text})
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
        assert answer.message.startswith(message)
    missing = build(yard, {"Containerfile": "FROM busybox\n"})
    assert missing.status == 404 and "Dockerfile" in missing.message
    assert build(yard, {"x": "FROM busybox\n"}, dockerfile="../x").status == 400
    assert build(yard, {"Dockerfile": "FROM busybox\n"}, target="nosuch").status in (400, 404)


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, lzma.compress, zstandard.compress],
    ids=["identity", "gzip", "xz", "zstd"],
)
def test_contexts_come_compressed_in_every_way(yard: Yard, compress: type) -> None:
    archive = tar_of({"Dockerfile": "FROM scratch\nCOPY data /\n", "data": "content"})
    assert files_of(yard, build(yard, compress(archive))).text("data") == "content"


def test_contexts_come_in_chunks(yard: Yard) -> None:
    archive = tar_of({"Dockerfile": "FROM scratch\nCOPY data /\n", "data": "x" * 100_000})

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(archive), 777):
            yield archive[start : start + 777]

    answer = ask(yard, "POST", "/v1.41/build", pieces(), headers={"Content-Type": "application/x-tar"}, version="1")
    assert len(files_of(yard, answer).text("data")) == 100_000


def test_the_whole_language_is_understood(yard: Yard) -> None:
    dockerfile = """FROM busybox AS base
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t <<EOT
echo one > /out
echo two >> /out
EOT
FROM scratch
COPY --from=base --chmod=600 --chown=1:2 /out /out
COPY --link <<NOTE /note
inline
NOTE
"""
    tree = files_of(yard, build(yard, {"Dockerfile": dockerfile}))
    assert tree.text("out") == "one\ntwo\n"
    assert (tree.mode("out"), tree.owner("out")) == ("600", (1, 2))
    assert tree.text("note") == "inline\n"


def test_build_arguments_labels_target_and_dockerfile_are_honoured(yard: Yard) -> None:
    files = {
        "docker/prod": "FROM busybox AS one\nARG A\nENV B=$A\nFROM busybox AS two\nENV B=no\n",
        "Dockerfile": "FROM nosuch\n",
    }
    answer = build(
        yard,
        files,
        dockerfile="docker/prod",
        target="one",
        buildargs=json.dumps({"A": "given"}),
        labels=json.dumps({"made.by": "test, a"}),
        t="engine-options",
        rm="1",
        forcerm="1",
    )
    id_of(answer)
    config = ask(yard, "GET", "/images/engine-options/json").json["Config"]
    assert "B=given" in config["Env"]
    assert config["Labels"] == {"made.by": "test, a"}


def test_hosts_limits_and_networks_reach_the_steps(yard: Yard) -> None:
    command = "grep myhost /etc/hosts; df -k /dev/shm | tail -1; ulimit -n; ip -o link | wc -l"
    answer = build(
        yard,
        {"Dockerfile": f"FROM busybox\nRUN {command}\n"},
        extrahosts=["myhost:10.9.8.7"],
        shmsize="10485760",
        ulimits=json.dumps([{"Name": "nofile", "Soft": 100, "Hard": 200}]),
        networkmode="none",
        nocache="1",
    )
    said = answer.text.split("Step 2/2")[1].splitlines()
    assert said[1].split() == ["10.9.8.7", "myhost"]
    assert "10240" in said[2]
    assert said[3:5] == ["100", "1"]


def test_steps_can_reach_their_host_by_name(yard: Yard) -> None:
    dockerfile = "FROM busybox\nRUN grep host.docker.internal /etc/hosts; ip route | grep default\n"
    answer = build(yard, {"Dockerfile": dockerfile}, extrahosts=["host.docker.internal:host-gateway"], nocache="1")
    said = answer.text.split("Step 2/2")[1].splitlines()
    address, name = said[1].split()
    assert name == "host.docker.internal"
    assert address == "127.0.0.1" or f"via {address} " in said[2]


def test_the_ignore_file_of_the_context_applies(yard: Yard) -> None:
    """Clients that leave the Dockerfile out of the context send it all the same, and say so in that file."""
    files = {
        ".dockerfile.abc": "FROM scratch\nCOPY . /\n",
        ".dockerignore": ".dockerfile.abc\n.dockerignore\n",
        "data": "d",
    }
    tree = files_of(yard, build(yard, files, dockerfile=".dockerfile.abc"))
    assert tree.below("") == [] and set(tree.entries) == {"data"}


def test_registry_credentials_are_accepted(yard: Yard) -> None:
    config = base64.urlsafe_b64encode(b'{"https://index.docker.io/v1/":{"username":"u","password":"p"}}').decode()
    archive = tar_of({"Dockerfile": "FROM scratch\nENV registry=1\n"})
    for value in (config, "nonsense"):
        assert id_of(ask(yard, "POST", "/build", archive, headers={"X-Registry-Config": value}))


def test_a_context_may_be_a_git_repository(yard: Yard, served: Served) -> None:
    write_files(served.directory / "repo", {"Dockerfile": "FROM scratch\nCOPY data /\n", "data": "from git"})
    commit_all(served.directory / "repo")
    answer = ask(yard, "POST", "/build", remote=f"{served.url}/repo/.git", t="engine-git")
    assert files_of(yard, answer).text("data") == "from git"


def test_a_context_may_be_an_archive_or_a_dockerfile_at_a_url(yard: Yard, served: Served) -> None:
    archive = tar_of({"sub/Dockerfile": "FROM scratch\nCOPY data /\n", "data": "from a url"})
    write_files(served.directory, {"c.tar.gz": gzip.compress(archive), "Dockerfile": "FROM scratch\nENV url=1\n"})
    unpacked = ask(yard, "POST", "/build", remote=f"{served.url}/c.tar.gz", dockerfile="sub/Dockerfile")
    assert files_of(yard, unpacked).text("data") == "from a url"
    assert id_of(ask(yard, "POST", "/build", remote=f"{served.url}/Dockerfile"))
    gone = ask(yard, "POST", "/build", remote=f"{served.url}/nosuch")
    assert gone.status >= 400 or "errorDetail" in gone.lines[-1]


def test_a_build_can_be_cancelled_by_its_id(yard: Yard) -> None:
    archive = tar_of({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 600\n"})
    connection = Connection(yard.socket)
    connection.request("POST", "/build?buildid=engine-cancel&nocache=1", archive)
    response = connection.getresponse()
    while b"begun\\n" not in response.readline():
        pass
    assert ask(yard, "POST", "/build/cancel", id="engine-cancel").status == 200
    rest = [json.loads(line) for line in response.read().splitlines()]
    connection.close()
    assert "errorDetail" in rest[-1]


@pytest.mark.parametrize(
    "query",
    [
        {"version": "3"},
        {"squash": "1"},
        {"isolation": "hyperv"},
        {"buildargs": "{"},
        {"t": "UPPER"},
        {"platform": "nonsense/a/b/c/d"},
        {"networkmode": "container:x"},
        {"memory": "-5"},
        {"ulimits": '[{"Name":"nosuch","Soft":1,"Hard":1}]'},
    ],
)
def test_requests_that_make_no_sense_are_refused(yard: Yard, query: dict[str, str]) -> None:
    answer = build(yard, {"Dockerfile": "FROM scratch\nENV a=b\n"}, **query)
    assert answer.status in (400, 501)
    assert answer.message


def test_remarks_tell_what_had_no_effect(yard: Yard) -> None:
    answer = build(
        yard, {"Dockerfile": "FROM busybox\nENV remarks=1\n"}, cachefrom='["x"]', buildargs='{"N":null,"UNUSED":"1"}'
    )
    remarks = [line for line in answer.text.splitlines() if line.startswith("[Warning]")]
    assert any("cache" in remark for remark in remarks)
    assert any(" N " in remark for remark in remarks)
    assert any("UNUSED" in remark for remark in remarks)


def left_overs(yard: Yard) -> list[Path]:
    return list((yard.data / "sources/uploads").iterdir())


def test_nothing_of_a_context_stays(yard: Yard) -> None:
    build(yard, {"Dockerfile": "FROM busybox\nCOPY . /x\n", "a/b/c": "x"})
    build(yard, {"Dockerfile": "FROM busybox\nRUN false\n", "a/b/c": "x"})
    build(yard, b"nonsense" * 1000)
    assert left_overs(yard) == []
