"""Where the files come from: directories, ignore files, repositories, downloads, named contexts, inputs."""

from __future__ import annotations

import io
import json
import tarfile
from base64 import b64encode

import pytest

from boatyard.build.llb import codec
from boatyard.build.llb import graph as llb
from boatyard.build.llb.graph import Edge
from boatyard.errors import DockerfileError, InvalidError, NotFoundError, UnsupportedError
from unit.build.frontend.dockerfile.converting import (
    ARM64,
    Converted,
    Yard,
    converted,
    digest_of,
    run_build,
    yard,
)

COPY = b"FROM scratch\nCOPY a /a\n"


def attrs_of(vertex: llb.Vertex) -> dict[str, str]:
    assert isinstance(vertex.op, llb.SourceOp)
    return dict(vertex.op.attrs)


# -- the client's directories ----------------------------------------------------------------------------------------


def test_the_dockerfile_and_its_ignore_file_are_asked_for_by_name() -> None:
    bridge = yard(COPY)
    run_build(bridge)
    dockerfile, ignore = bridge.solved
    assert dockerfile.name == "[internal] load build definition from Dockerfile"
    assert attrs_of(dockerfile) == {
        "local.followpaths": '["Dockerfile","Dockerfile.dockerignore","dockerfile"]',
        "local.sharedkeyhint": "dockerfile",
        "local.differ": "none",
    }
    assert ignore.name == "[internal] load .dockerignore"
    assert attrs_of(ignore)["local.followpaths"] == '[".dockerignore"]'


def test_a_dockerfile_of_another_name() -> None:
    bridge = Yard({"local://dockerfile": {"docker/prod": COPY}, "local://context": {}})
    result = Converted(bridge, run_build(bridge, filename="docker/prod"))
    assert result.last.locations[0].filename == "docker/prod"
    assert result.result.files == {"docker/prod": COPY.decode()}


def test_a_dockerfile_in_lower_case_will_do() -> None:
    bridge = Yard({"local://dockerfile": {"dockerfile": COPY}, "local://context": {}})
    assert run_build(bridge).images


def test_a_dockerfile_from_another_local_source() -> None:
    bridge = Yard({"local://stdin": {"Dockerfile": COPY}, "local://context": {}})
    assert run_build(bridge, dockerfilekey="stdin").images


def test_a_missing_dockerfile_is_named_and_guessed() -> None:
    bridge = Yard({"local://dockerfile": {"Dockerfil": COPY}, "local://context": {}})
    with pytest.raises(NotFoundError, match=r"no file 'Dockerfile' to build from \(did you mean Dockerfil\?\)"):
        run_build(bridge)


def test_the_ignore_file_excludes() -> None:
    result = converted(COPY.decode(), {".dockerignore": b"# comment\n/tmp/\n!tmp/keep\n\n*.log\n"})
    assert attrs_of(result.named("load build context"))["local.excludepatterns"] == '["tmp","!tmp/keep","*.log"]'


@pytest.mark.parametrize("specific", [b"specific\n", b""])
def test_an_ignore_file_of_the_dockerfile_is_preferred(specific: bytes) -> None:
    files = {"Dockerfile": COPY, "Dockerfile.dockerignore": specific}
    bridge = Yard({"local://dockerfile": files, "local://context": {".dockerignore": b"general\n"}})
    result = Converted(bridge, run_build(bridge))
    expected = json.dumps([specific.decode().strip()]) if specific else None
    assert attrs_of(result.named("load build context")).get("local.excludepatterns") == expected
    assert len(bridge.solved) == 1


def test_session_ids_of_local_sources() -> None:
    bridge = yard(COPY)
    options = {"local-sessionid:context": "c", "local-sessionid:dockerfile": "d"}
    result = Converted(bridge, run_build(bridge, **options))
    assert [attrs_of(vertex)["local.session"] for vertex in bridge.solved] == ["d", "c"]
    assert attrs_of(result.named("load build context"))["local.session"] == "c"


# -- git and http ----------------------------------------------------------------------------------------------------


def test_a_repository_as_context() -> None:
    address = "https://example.org/team/project.git#main:docker"
    bridge = Yard({"git://example.org/team/project.git#main:docker": {"Dockerfile": COPY, ".dockerignore": b"a\n"}})
    result = Converted(bridge, run_build(bridge, context=address))
    source = result.last.inputs[0].vertex
    assert source.name == f"[internal] load git source {address}"
    assert attrs_of(source)["git.fullurl"] == "https://example.org/team/project.git"
    assert bridge.solved == [source]


def test_the_old_form_of_a_repository_is_a_context() -> None:
    bridge = Yard({"git://github.com/team/project": {"Dockerfile": COPY}})
    result = Converted(bridge, run_build(bridge, context="github.com/team/project"))
    assert attrs_of(result.last.inputs[0].vertex)["git.fullurl"] == "https://github.com/team/project"


def test_options_of_a_repository_context() -> None:
    bridge = Yard({"git://example.org/a.git": {"Dockerfile": COPY}})
    options = {"build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1", "build-arg:SOURCE_DATE_EPOCH": "5"}
    result = Converted(bridge, run_build(bridge, context="https://example.org/a.git", **options))
    attrs = attrs_of(result.last.inputs[0].vertex)
    assert (attrs["git.keepgitdir"], attrs["git.mtime"]) == ("true", "commit")


def test_a_local_dockerfile_for_a_repository() -> None:
    bridge = Yard({"git://example.org/a.git": {}, "local://dockerfile": {"Dockerfile": COPY}})
    options = {"context": "https://example.org/a.git", "dockerfilekey": "dockerfile"}
    result = Converted(bridge, run_build(bridge, **options))
    assert list(result.sources()) == ["git://example.org/a.git"]


def test_a_sub_directory_of_a_remote_context() -> None:
    bridge = Yard({"git://example.org/a.git": {"Dockerfile": COPY}})
    result = Converted(bridge, run_build(bridge, context="https://example.org/a.git", contextsubdir="x"))
    scoped = result.last.inputs[0].vertex.op
    assert isinstance(scoped, llb.FileOp)
    assert scoped.actions[0].action == llb.Copy("/x", "/", dir_copy_contents=True)


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1_000 + len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("head", [tar(Dockerfile=COPY), b"\x1f\x8b\x08 and so on", b"\x28\xb5\x2f\xfd"])
def test_an_archive_as_context_is_unpacked(head: bytes) -> None:
    url = "http://buildkit-session/abc"
    bridge = Yard({url: {"context": head, "Dockerfile": COPY}})
    result = Converted(bridge, run_build(bridge, context=url))
    unpacked = result.last.inputs[0].vertex
    assert isinstance(unpacked.op, llb.FileOp)
    assert unpacked.op.actions == (llb.FileAction(-1, llb.Copy("/context", "/", attempt_unpack=True), 0, 0),)
    assert attrs_of(unpacked.inputs[0].vertex) == {"http.filename": "context"}


def test_a_dockerfile_by_url() -> None:
    url = "https://example.org/Dockerfile"
    bridge = Yard({url: {"context": b"FROM scratch\nCOPY context /x\n"}})
    result = Converted(bridge, run_build(bridge, context=url))
    assert result.last.inputs[0].vertex.op == llb.SourceOp(url, {"http.filename": "context"})


# -- named contexts --------------------------------------------------------------------------------------------------


def test_an_image_in_the_place_of_a_base() -> None:
    result = converted("FROM alpine:3.20\nRUN x\n", **{"context:alpine:3.20": "docker-image://other:1"})
    digest = digest_of("docker.io/library/other:1")
    assert result.vertices[0].name == f"[context alpine:3.20] docker.io/library/other:1@{digest}"
    assert result.result.images[0].base == digest


def test_latest_is_left_off_the_name() -> None:
    result = converted("FROM docker.io/library/alpine:latest\n", **{"context:alpine": "docker-image://other"})
    assert result.bridge.asked[0][0] == "docker.io/library/other:latest"


def test_a_context_for_one_platform_is_preferred() -> None:
    options = {
        "context:alpine": "docker-image://any",
        "context:alpine::linux/arm64": "docker-image://arm",
        "platform": "linux/arm64",
    }
    bridge = converted("FROM alpine\n", **options).bridge
    assert bridge.asked[0][:2] == ("docker.io/library/arm:latest", ARM64)


def test_scratch_in_the_place_of_a_base() -> None:
    result = converted("FROM alpine\nCOPY a /a\n", **{"context:alpine": "docker-image://scratch"})
    op = result.last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].input == -1


def test_a_stage_is_replaced_with_all_its_steps() -> None:
    dockerfile = "FROM busybox AS tools\nRUN make\nFROM scratch\nCOPY --from=tools /a /a\n"
    result = converted(dockerfile, **{"context:tools": "docker-image://prebuilt"})
    assert not result.execs()
    assert [reference for reference, _, _ in result.bridge.asked] == ["docker.io/library/prebuilt:latest"]


def with_directory(dockerfile: str, **files: bytes) -> Converted:
    bridge = yard(dockerfile, files={"local://dir": files})
    return Converted(bridge, run_build(bridge, **{"context:src": "local:dir"}))


def test_a_directory_to_copy_from_is_narrowed_to_what_is_used() -> None:
    result = with_directory(
        "FROM busybox\nCOPY --from=src a/b /b\nRUN --mount=from=src,source=c,target=/c x\n",
        **{".dockerignore": b"*.o\n"},
    )
    loaded = result.named("[context src] load from client")
    assert attrs_of(loaded) == {
        "local.followpaths": '["a/b","c"]',
        "local.excludepatterns": '["*.o"]',
        "local.sharedkeyhint": "context:src-",
    }
    assert result.bridge.solved[-1].name == "[context src] load .dockerignore"


def test_a_directory_as_a_base_that_is_run_in_is_needed_whole() -> None:
    result = with_directory('FROM src\nRUN ["/x"]\n')
    assert "local.followpaths" not in attrs_of(result.named("load from client"))


def test_owners_are_looked_up_in_a_directory_that_is_a_base() -> None:
    result = with_directory("FROM src AS a\nCOPY --chown=app x /y\nFROM scratch\nCOPY --from=a /y /y\n")
    follow = attrs_of(result.named("load from client"))["local.followpaths"]
    assert follow == '["etc/group","etc/passwd","y"]'


def test_a_directory_that_is_the_result_is_needed_whole() -> None:
    result = with_directory("FROM src\n")
    assert "local.followpaths" not in attrs_of(result.last)
    assert result.run_config.env


def test_the_name_context_can_not_be_taken() -> None:
    result = converted("FROM busybox\nCOPY --from=context /a /a\n", **{"context:context": "docker-image://x"})
    assert "docker.io/library/context:latest" in [reference for reference, _, _ in result.bridge.asked]


@pytest.mark.parametrize(
    ("value", "identifier"),
    [
        ("https://example.org/a.git#main", "git://example.org/a.git#main"),
        ("git@example.org:a/b", "git://example.org/a/b"),
        ("https://example.org/file", "https://example.org/file"),
    ],
)
def test_remote_named_contexts(value: str, identifier: str) -> None:
    result = converted("FROM scratch\nCOPY --from=src / /\n", **{"context:src": value})
    assert identifier in result.sources()


def test_an_oci_layout() -> None:
    digest = "sha256:" + "3" * 64
    result = converted("FROM base\nRUN x\n", **{"context:base": f"oci-layout://store@{digest}"})
    assert result.bridge.asked[0][0] == f"oci-layout://store@{digest}"
    (name, *_) = result.sources()
    assert name.startswith("oci-layout://docker.io/library/base@sha256:")
    assert result.sources()[name].attrs == {"oci.store": "store"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nonsense", "invalid build context src=nonsense"),
        ("ftp://example.org/x", "unsupported kind of build context 'ftp'"),
        ("oci-layout://store", "no digest"),
        ("docker-image://UPPER", "lowercase"),
        ("input:nothing", "no input 'nothing'"),
        ("https://example.org/a.git?what=1", "unknown parameter"),
    ],
)
def test_named_contexts_that_make_no_sense(value: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as raised:
        converted("FROM scratch\n\nCOPY --from=src / /\n", **{"context:src": value})
    assert raised.value.source is not None
    assert raised.value.source.start == 3


# -- inputs ----------------------------------------------------------------------------------------------------------


def an_input() -> Edge:
    return Edge(codec.vertex(llb.SourceOp("docker-image://docker.io/library/made:elsewhere")))


def test_inputs_in_the_place_of_context_and_dockerfile() -> None:
    bridge = Yard({"docker-image://docker.io/library/made:elsewhere": {"Dockerfile": COPY}})
    edge = an_input()
    result = Converted(bridge, run_build(bridge, {"context": edge, "dockerfile": edge}))
    assert result.last.inputs == (edge,)


def test_an_empty_input_as_context() -> None:
    bridge = Yard({"local://dockerfile": {"Dockerfile": COPY}})
    op = Converted(bridge, run_build(bridge, {"context": None})).last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].secondary_input == -1


def test_an_input_with_a_config_as_base() -> None:
    bridge = yard("FROM base\nRUN x\n")
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"], "User": "app"}}
    metadata = {"containerimage.config": b64encode(json.dumps(config).encode()).decode()}
    options = {"context:base": "input:made", "input-metadata:made": json.dumps(metadata)}
    result = Converted(bridge, run_build(bridge, {"made": an_input()}, **options))
    assert result.execs()[0].meta.user == "app"
    assert "A=1" in result.execs()[0].meta.env


def test_metadata_of_an_input_that_is_damaged() -> None:
    bridge = yard("FROM base\nRUN x\n")
    options = {"context:base": "input:made", "input-metadata:made": '{"containerimage.config": "%%%"}'}
    with pytest.raises(DockerfileError, match="metadata of input"):
        run_build(bridge, {"made": an_input()}, **options)


def test_a_capability_that_is_missing_is_named() -> None:
    with pytest.raises(UnsupportedError, match="teleport"):
        converted("FROM busybox\n", **{"frontend.caps": "moby.buildkit.frontend.teleport"})
    assert converted("FROM busybox\n", **{"frontend.caps": "moby.buildkit.frontend.inputs+forward"}).edge


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only a comment\n", b"\x00\x01\x02", b"\xff\xfe", b"FROM\n"])
def test_a_file_that_is_no_dockerfile(data: bytes) -> None:
    with pytest.raises((DockerfileError, InvalidError)):
        run_build(yard(data))
