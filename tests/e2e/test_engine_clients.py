"""The clients people have: the docker command, old and new, docker-py, python-on-whales."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, BuildError, ImageNotFound
from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException

from e2e.engine import ROOT, Docker, buildx_plugin, docker_programs, tar_of, with_buildx
from e2e.page import script_of
from e2e.yard import BIN, Yard, write_files

PROGRAMS = docker_programs()
DOCKERFILE = """FROM busybox
ARG WHO=nobody
COPY data /data
RUN echo hello $WHO
CMD ["cat", "/data"]
"""
MISSING = "this machine has no docker {} command"


@pytest.fixture(params=["20", "28"])
def command(request: pytest.FixtureRequest, yard: Yard, tmp_path: Path) -> Docker:
    version = request.param
    program = next((path for major, path in PROGRAMS.items() if (int(major) >= 28) == (version == "28")), None)
    if program is None:
        pytest.skip(MISSING.format(version))
    config = tmp_path / "docker-config"
    config.mkdir()
    return Docker(program, version, yard, config)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_files(
        tmp_path / "project",
        {
            "Dockerfile": 'FROM busybox\nARG WHO=nobody\nCOPY data /data\nRUN echo hello $WHO\nCMD ["cat", "/data"]\n',
            "data": "d",
            "left-out": "x",
            ".dockerignore": "left-out\n",
        },
    )


def test_docker_version_and_info(command: Docker) -> None:
    version = json.loads(command.run("version", "--format", "{{json .Server}}").stdout)
    assert version["ApiVersion"] == "1.50"
    assert json.loads(command.run("info", "--format", "{{json .}}").stdout)["ServerVersion"] == version["Version"]
    assert "Server: Boatyard" in command.run("version").stdout
    assert "Storage Driver" in command.run("info").stdout


def test_docker_build_and_what_follows(command: Docker, project: Path) -> None:
    tag = f"clients-{command.version}:build"
    built = command.run("build", "-t", tag, "--build-arg", "WHO=you", "--label", "a=b", "--no-cache", project)
    assert "hello you" in built.stdout
    assert "Step 5/5 : CMD" in built.stdout
    assert f"Successfully tagged {tag}" in built.stdout
    again = command.run("build", "-q", "-t", tag, "--build-arg", "WHO=you", "--label", "a=b", project)
    id = again.stdout.strip()
    assert command.run("images", "-q", "--no-trunc", tag).stdout.strip() == id
    inspected = json.loads(command.run("inspect", tag).stdout)[0]
    assert (inspected["Id"], inspected["Config"]["Labels"]) == (id, {"a": "b"})
    assert 'CMD ["cat" "/data"]' in command.run("history", "--no-trunc", tag).stdout
    assert tag.partition(":")[0] in command.run("images").stdout


def test_docker_build_takes_its_dockerfile_from_anywhere(command: Docker, project: Path, tmp_path: Path) -> None:
    text = b"FROM scratch\nCOPY . /all\nENV from=stdin\n"
    piped = command.run("build", "-f", "-", project, input=text)
    assert "Successfully built" in piped.stdout
    (tmp_path / "Elsewhere").write_bytes(text)
    outside = command.run("build", "-q", "-f", tmp_path / "Elsewhere", project)
    # Its random name in the context makes no difference.
    assert outside.stdout.strip()[7:19] in piped.stdout
    assert "Successfully built" in command.run("build", "-", input=b"FROM scratch\nENV alone=1\n").stdout
    context = tar_of({"sub/Dockerfile": "FROM scratch\nCOPY sub /\n"})
    assert "Successfully built" in command.run("build", "-f", "sub/Dockerfile", "-", input=context).stdout


def test_docker_build_fails_with_the_commands_exit_code(command: Docker, project: Path) -> None:
    failed = command.run("build", "-f", "-", project, input=b"FROM busybox\nRUN exit 7\n", check=False)
    assert failed.returncode == 7
    assert "returned a non-zero code: 7" in failed.stderr
    wrong = command.run("build", "-f", "-", project, input=b"FROM busybox\nNONSENSE\n", check=False)
    assert wrong.returncode == 1
    assert "Dockerfile:2: unknown instruction: NONSENSE" in wrong.stderr


def test_docker_save_load_tag_rmi(command: Docker, tmp_path: Path) -> None:
    tag = f"clients-{command.version}:save"
    command.run("build", "-t", tag, "-", input=f"FROM busybox\nENV v={command.version}\n".encode())
    command.run("save", "-o", tmp_path / "image.tar", tag)
    with tarfile.open(tmp_path / "image.tar") as archive:
        assert archive.getmember("manifest.json")
    assert f"Untagged: {tag}" in command.run("rmi", tag).stdout
    missing = command.run("inspect", "--type", "image", tag, check=False)
    assert missing.returncode == 1
    assert f"No such image: {tag}" in missing.stderr or "No such image" in missing.stderr
    assert command.run("load", "-i", tmp_path / "image.tar").stdout == f"Loaded image: {tag}\n"
    other = f"localhost:5000/deep/er/{command.version}:x"
    command.run("tag", tag, other)
    assert other.rpartition(":")[0] in command.run("images").stdout
    removed = command.run("rmi", tag, other).stdout
    assert f"Untagged: {other}" in removed and "Deleted: sha256:" in removed


def test_docker_import(command: Docker) -> None:
    tag = f"clients-{command.version}:import"
    archive = tar_of({"hello": "hello"})
    id = command.run("import", "-c", 'CMD ["/hello"]', "-m", "by hand", "-", tag, input=archive).stdout.strip()
    found = json.loads(command.run("inspect", tag).stdout)[0]
    assert (found["Id"], found["Config"]["Cmd"], found["Comment"]) == (id, ["/hello"], "by hand")


def test_docker_system_and_builder(command: Docker) -> None:
    assert "Build Cache" in command.run("system", "df").stdout
    assert "Images space usage" in command.run("system", "df", "-v").stdout
    pruned = command.run("builder", "prune", "-f", "--filter", "until=1000h").stdout
    assert pruned.rstrip().endswith("0B")
    command.run("tag", "busybox", f"clients-{command.version}:events")
    events = command.run("events", "--since", "1h", "--until", "0s", "--format", "{{.Type}} {{.Action}}").stdout
    assert "image tag" in events


def test_docker_lists_of_nothing(command: Docker) -> None:
    for arguments in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
        assert command.run(*arguments).stdout == ""
    for kind in ("container", "network", "volume"):
        assert command.run(kind, "prune", "-f").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "busybox"], "creating containers: not supported yet"),
        (["pull", "localhost:1/alpine"], "can't reach localhost:1"),
        (["push", "nosuch"], "nosuch"),
        (["search", "x"], "searching for images is not supported yet"),
        (["network", "create", "n"], "creating networks: not supported yet"),
        (["volume", "create", "v"], "creating volumes: not supported yet"),
        (["service", "ls"], "This node is not a swarm manager"),
        (["inspect", "nosuch"], "No such object: nosuch"),
        (["rmi", "nosuch"], "No such image: nosuch"),
        (["logs", "nosuch"], "No such container: nosuch"),
    ],
)
def test_docker_tells_what_is_not_there(command: Docker, arguments: list[str], message: str) -> None:
    refused = command.run(*arguments, check=False)
    assert refused.returncode != 0
    assert message.lower() in refused.stderr.lower()


def test_the_commands_of_the_how_to_page_work(command: Docker, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").symlink_to(command.program)
    environment = {
        **command.yard.variables(),
        "PATH": f"{programs}:{BIN}:{os.environ['PATH']}",
        "DOCKER_CONFIG": str(command.config),
    }
    plugin = buildx_plugin()
    if command.version != "20" and plugin:
        with_buildx(command.config, plugin)
    has = ["buildkit"] if command.version == "20" or plugin else []
    script = script_of(ROOT / "docs/how-to/use-with-docker-clients.md", sys.executable, has=has)
    done = subprocess.run(
        ["bash"], input=script, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("\n+ ") > 25
    assert "Hello, you" in done.stdout and "Hello, Python" in done.stdout


@pytest.fixture
def client(yard: Yard) -> docker.DockerClient:
    return docker.DockerClient(base_url=f"unix://{yard.socket}", timeout=60)


def test_docker_py_builds_and_finds_images(client: docker.DockerClient, project: Path) -> None:
    image, log = client.images.build(path=str(project), tag="py:build", buildargs={"WHO": "py"}, labels={"l": "v"})
    assert image.tags == ["py:build"]
    assert image.labels == {"l": "v"}
    assert any("hello py" in line.get("stream", "") for line in log)
    assert client.images.get("py:build").id == image.id
    assert image in client.images.list(name="py")
    assert image in client.images.list(filters={"label": ["l=v"]})
    assert image.history()[0]["Id"] == image.id
    assert image.attrs["Config"]["Cmd"] == ["cat", "/data"]


def test_docker_py_is_told_what_failed(client: docker.DockerClient) -> None:
    with pytest.raises(BuildError, match="non-zero code: 7") as failed:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo why; exit 7\n"))
    assert any("why" in line.get("stream", "") for line in failed.value.build_log)
    with pytest.raises(APIError, match="unknown instruction"):
        client.images.build(fileobj=io.BytesIO(b"NONSENSE\n"))
    with pytest.raises(ImageNotFound):
        client.images.get("nosuch")
    with pytest.raises(APIError, match="can't reach localhost:1"):
        client.images.pull("localhost:1/alpine", tag="latest")


def test_docker_py_moves_images(client: docker.DockerClient) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nENV py=1\n"), tag="py:move")
    archive = b"".join(image.save(named=True))
    assert image.tag("localhost:5000/py/move", tag="x")
    client.images.remove("localhost:5000/py/move:x")
    client.images.remove("py:move")
    (loaded,) = client.images.load(archive)
    assert (loaded.id, loaded.tags) == (image.id, ["py:move"])
    client.images.remove(image.id, force=True)
    imported = json.loads(client.api.import_image(tar_of({"a": "x"}), repository="py", tag="import", changes=["CMD a"]))
    assert client.images.get("py:import").id == imported["status"]


def test_docker_py_asks_for_the_rest(client: docker.DockerClient) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.50"
    assert client.api.api_version == "1.50"
    assert client.containers.list(all=True) == client.networks.list() == client.volumes.list() == []
    assert client.df()["BuildCache"] is not None
    assert client.api.prune_builds(filters={"until": "1000h"})["SpaceReclaimed"] == 0
    assert client.images.prune(filters={"dangling": True, "label": ["nosuch"]})["ImagesDeleted"] is None
    events = client.events(since=0, until=1, decode=True)
    assert list(events) == []


def test_an_old_docker_py_is_answered_in_its_version(yard: Yard) -> None:
    client = docker.DockerClient(base_url=f"unix://{yard.socket}", version="1.24")
    assert client.images.get("busybox").attrs["VirtualSize"] > 0
    image, _ = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nENV old=1\n"))
    assert image.id.startswith("sha256:")


def test_python_on_whales(yard: Yard, project: Path, tmp_path: Path) -> None:
    if "28" not in PROGRAMS:
        pytest.skip(MISSING.format(28))
    whales = DockerClient(host=f"unix://{yard.socket}", client_call=[PROGRAMS["28"]])
    image = whales.legacy_build(project, tags="whales:1", build_args={"WHO": "whales"})
    assert image.repo_tags == ["whales:1"]
    assert image.config.cmd == ["cat", "/data"]
    assert whales.image.exists("whales:1") and not whales.image.exists("nosuch")
    whales.image.save("whales:1", output=tmp_path / "w.tar")
    whales.image.remove("whales:1")
    assert whales.image.load(tmp_path / "w.tar") == ["whales:1"]
    whales.tag("whales:1", "whales:2")
    assert {tag for image in whales.image.list() for tag in image.repo_tags} >= {"whales:1", "whales:2"}
    assert whales.system.info().server_version
    assert whales.system.disk_free().images.total_count
    with pytest.raises(DockerException, match="image pull alpine"):
        whales.image.pull("alpine")
