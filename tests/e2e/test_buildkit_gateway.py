"""Builds whose frontend is the client: it solves graphs, looks into results, runs containers, and returns a result."""

from __future__ import annotations

import io
import json
import queue
import stat
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from boatyard._pb import control_pb2 as control
from boatyard._pb import gateway_pb2 as pb
from boatyard._pb import ops_pb2
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, ExecOp, FileAction, FileOp, Graph, Meta, MkDir, MkFile, Mount, SourceOp
from e2e.buildkit import BRIDGE, PATIENCE, BuildKit, FailedError, Gateway, Session, connected, logs, vertices
from e2e.served import Served
from e2e.yard import Yard

BUSYBOX = codec.vertex(SourceOp("docker-image://docker.io/library/busybox:latest"))
PATH = ("PATH=/bin",)


@pytest.fixture
def client(yard: Yard) -> Iterator[BuildKit]:
    with connected(yard) as client:
        yield client


def definition(edge: Edge) -> Any:
    return codec.to_message(Graph(edge))


def run(*args: str) -> Edge:
    mounts = (Mount(dest="/", input=0, output=0),)
    return Edge(codec.vertex(ExecOp(Meta(args, env=PATH), mounts), [Edge(BUSYBOX)]))


def files(*actions: MkFile | MkDir) -> Edge:
    made = [
        FileAction(-1 if index == 0 else index - 1, action, output=0 if index == len(actions) - 1 else -1)
        for index, action in enumerate(actions)
    ]
    return Edge(codec.vertex(FileOp(tuple(made))))


class Exec:
    """One ExecProcess stream."""

    def __init__(self, build: Gateway) -> None:
        self._out: queue.Queue[Any] = queue.Queue()
        self._call = build.client._channel.stream_stream(
            f"{BRIDGE}ExecProcess", pb.ExecMessage.SerializeToString, pb.ExecMessage.FromString
        )(iter(self._out.get, None), metadata=build.metadata, timeout=PATIENCE)

    def begin(self, container: str, *args: str, id: str = "p", fds: tuple[int, ...] = (0, 1, 2), **more: Any) -> None:
        meta = ops_pb2.Meta(args=args, env=PATH, cwd="/")
        self._out.put(
            pb.ExecMessage(ProcessID=id, Init=pb.InitMessage(ContainerID=container, Meta=meta, Fds=fds, **more))
        )

    def send(self, id: str = "p", **input: Any) -> None:
        self._out.put(pb.ExecMessage(ProcessID=id, **input))

    def next(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise FailedError(error) from None

    def until(self, text: bytes) -> bytes:
        """Output, until it has this."""
        data = b""
        while text not in data:
            data += self.next().File.Data
        return data

    def ended(self) -> tuple[int, bytes, bytes]:
        """Exit code, standard output and error of the one process."""
        output = {1: b"", 2: b""}
        code = -1
        while True:
            message = self.next()
            match message.WhichOneof("Input"):
                case "File":
                    output[message.File.Fd] += message.File.Data
                case "Exit":
                    code = message.Exit.Code
                case "Done":
                    return code, output[1], output[2]

    def close(self) -> None:
        self._out.put(None)


@contextmanager
def executing(build: Gateway) -> Iterator[Exec]:
    stream = Exec(build)
    try:
        yield stream
    finally:
        stream.close()


def contain(build: Gateway, ref: str, *mounts: Any, **fields: Any) -> str:
    id = uuid.uuid4().hex
    root = ops_pb2.Mount(dest="/", resultID=ref)
    build.call("NewContainer", pb.NewContainerRequest(ContainerID=id, Mounts=[root, *mounts], **fields))
    return id


def busybox(build: Gateway) -> str:
    """A container; its first process is its life."""
    return contain(build, build.solve(Definition=definition(Edge(BUSYBOX))).ref.id)


def test_the_daemon_says_what_it_can_do(client: BuildKit) -> None:
    with client.gateway() as build:
        answer = build.call("Ping", pb.PingRequest())
    names = {cap.ID for cap in answer.LLBCaps if cap.Enabled}
    assert {"source.image", "exec.mount.cache", "mergeop", "file.base"} <= names
    assert {"solve.base", "gateway.exec", "frontend.inputs"} <= {cap.ID for cap in answer.FrontendAPICaps}
    assert len(answer.Workers) == 1


def test_a_call_of_no_build_is_refused(client: BuildKit) -> None:
    with pytest.raises(FailedError) as failure:
        client.call(f"{BRIDGE}Ping", pb.PingRequest(), pb.PongResponse)
    assert failure.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_graph_is_solved_and_its_files_are_looked_at(client: BuildKit) -> None:
    root = files(MkDir("/d"), MkFile("/d/a.txt", b"0123456789", mode=0o640), MkFile("/d/b.md", b""))
    with client.gateway() as build:
        ref = build.solve(Definition=definition(root)).ref.id
        whole = build.call("ReadFile", pb.ReadFileRequest(Ref=ref, FilePath="/d/a.txt")).Data
        part = build.call(
            "ReadFile", pb.ReadFileRequest(Ref=ref, FilePath="d/a.txt", Range=pb.FileRange(Offset=3, Length=4))
        ).Data
        assert (whole, part) == (b"0123456789", b"3456")
        entries = build.call("ReadDir", pb.ReadDirRequest(Ref=ref, DirPath="/d")).entries
        assert [(entry.path, entry.mode, entry.size) for entry in entries] == [("a.txt", 0o640, 10), ("b.md", 0o644, 0)]
        some = build.call("ReadDir", pb.ReadDirRequest(Ref=ref, DirPath="/d", IncludePattern="*.md")).entries
        assert [entry.path for entry in some] == ["b.md"]
        directory = build.call("StatFile", pb.StatFileRequest(Ref=ref, Path="/d")).stat
        assert directory.mode == 1 << 31 | 0o755
        with pytest.raises(FailedError) as failure:
            build.call("ReadFile", pb.ReadFileRequest(Ref=ref, FilePath="/nothing"))
        assert failure.value.code is grpc.StatusCode.NOT_FOUND
        with pytest.raises(FailedError) as failure:
            build.call("ReadFile", pb.ReadFileRequest(Ref="unknown", FilePath="/d"))
        assert failure.value.code is grpc.StatusCode.NOT_FOUND


def test_what_is_returned_is_exported(client: BuildKit, yard: Yard) -> None:
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}, "rootfs": {"type": "layers"}}
    image = control.Exporter(Type="image", Attrs={"name": "gateway-image"})
    with client.gateway(Exporters=[image]) as build:
        result = build.solve(Definition=definition(files(MkFile("/f", b"text"))))
        result.metadata["containerimage.config"] = json.dumps(config).encode()
        answer = build.give(result)
    assert answer.ExporterResponse["containerimage.digest"].startswith("sha256:")
    found = json.loads(yard.run("image", "inspect", "gateway-image").stdout)
    assert "A=b" in json.dumps(found)


def test_what_the_frontend_gives_up_with_is_the_builds_error(client: BuildKit) -> None:
    with client.gateway() as build:
        build.fail("I don't know how")
        with pytest.raises(FailedError, match="I don't know how"):
            build.solving.result(PATIENCE)
        with pytest.raises(FailedError) as failure:
            build.call("Ping", pb.PingRequest())
    assert failure.value.code is grpc.StatusCode.NOT_FOUND


def two(ref: Any) -> Any:
    return pb.Result(refs=pb.RefMap(refs={"a": ref, "b": ref}))


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (lambda ref: pb.Result(ref=pb.Ref(id="unknown")), grpc.StatusCode.NOT_FOUND),
        (two, grpc.StatusCode.INVALID_ARGUMENT),
        (lambda ref: pb.Result(ref=ref, metadata={"containerimage.config": b"{"}), grpc.StatusCode.INVALID_ARGUMENT),
        (lambda ref: pb.Result(ref=ref, metadata={"refs.platforms": b"[]"}), grpc.StatusCode.INVALID_ARGUMENT),
        (lambda ref: pb.Result(ref=ref, metadata={"source.date.epoch": b"x"}), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_results_that_make_no_sense_are_refused(client: BuildKit, result: Any, code: grpc.StatusCode) -> None:
    with client.gateway() as build:
        ref = build.solve(Definition=definition(files(MkFile("/f")))).ref
        with pytest.raises(FailedError) as failure:
            build.give(result(ref))
        assert failure.value.code is code
        build.give(pb.Result(ref=ref))  # there is still time
        with pytest.raises(FailedError):
            build.give(pb.Result(ref=ref))


@pytest.mark.parametrize("data", [b"", b"nonsense", bytes(100)])
def test_graphs_that_make_no_sense_are_refused(client: BuildKit, data: bytes) -> None:
    with client.gateway() as build, pytest.raises(FailedError) as failure:
        build.solve(Definition=ops_pb2.Definition(**{"def": [data]}))
    assert failure.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_another_frontend_makes_a_part(client: BuildKit) -> None:
    session = Session({"context": {"a": "one"}, "dockerfile": {"Dockerfile": "FROM busybox\nCOPY a /a\nENV A=1\n"}})
    with client.gateway(session) as build:
        result = build.solve(Frontend="dockerfile.v0", FrontendOpt={"build-arg:X": "y"})
        assert b"A=1" in result.metadata["containerimage.config"]
        read = build.call("ReadFile", pb.ReadFileRequest(Ref=result.ref.id, FilePath="/a"))
        assert read.Data == b"one"
        build.give(result)


def test_platforms_are_results_of_their_own(client: BuildKit) -> None:
    session = Session({"context": {}, "dockerfile": {"Dockerfile": "FROM scratch\nLABEL a=b\n"}})
    with client.gateway(session) as build:
        options = {"platform": "linux/amd64,linux/arm64"}
        result = build.solve(Frontend="dockerfile.v0", FrontendOpt=options)
        assert sorted(result.refs.refs) == ["linux/amd64", "linux/arm64"]
        build.give(result)


def test_graphs_are_inputs_of_frontends(client: BuildKit) -> None:
    text = definition(files(MkFile("/Dockerfile", b"FROM scratch\nCOPY x /x\n")))
    context = definition(files(MkFile("/x", b"from a graph")))
    with client.gateway() as build:
        result = build.solve(Frontend="dockerfile.v0", FrontendInputs={"dockerfile": text, "context": context})
        assert build.call("ReadFile", pb.ReadFileRequest(Ref=result.ref.id, FilePath="/x")).Data == b"from a graph"
        build.give(result)


def test_named_contexts_are_graphs_where_buildx_builds_one_target_on_another(client: BuildKit) -> None:
    session = Session()
    client.dockerfile(
        "FROM base\nCOPY --from=base /x /y\n",
        session,
        FrontendAttrs={"context:base": "input:0-base"},
        FrontendInputs={"0-base": definition(files(MkFile("/x", b"from a graph")))},
        Exporters=[control.Exporter(Type="tar")],
    )
    with tarfile.open(fileobj=io.BytesIO(session.outputs["0"])) as tar:
        assert sorted(tar.getnames()) == ["x", "y"]


def test_graphs_that_a_clients_own_frontend_brings_are_no_inputs_of_its_request(client: BuildKit) -> None:
    text = definition(files(MkFile("/Dockerfile", b"FROM base\nCOPY --from=base /x /y\n")))
    base = definition(files(MkFile("/x", b"from a graph")))
    options = {"context:base": "input:0-base"}
    with client.gateway(FrontendAttrs=options) as build:
        inputs = {"dockerfile": text, "context": text, "0-base": base}
        result = build.solve(Frontend="dockerfile.v0", FrontendOpt=options, FrontendInputs=inputs)
        assert build.call("ReadFile", pb.ReadFileRequest(Ref=result.ref.id, FilePath="/y")).Data == b"from a graph"
        build.give(result)


def test_a_build_has_inputs(client: BuildKit) -> None:
    given = definition(files(MkFile("/f", b"")))
    with client.gateway(FrontendInputs={"one": given}) as build:
        answer = build.call("Inputs", pb.InputsRequest())
        assert list(answer.Definitions) == ["one"]
        assert getattr(answer.Definitions["one"], "def") == getattr(given, "def")


def test_a_failed_step_can_be_looked_into(client: BuildKit) -> None:
    with client.gateway() as build:
        with pytest.raises(FailedError) as failure:
            build.solve(Definition=definition(run("sh", "-c", "echo half > /half; exit 7")), Evaluate=True)
        solve = json.loads(failure.value.detail("errdefs.Solve"))
        assert solve["op"]["exec"]["meta"]["args"] == ["sh", "-c", "echo half > /half; exit 7"]
        left, given = solve["mountIDs"][0], solve["inputIDs"][0]
        assert build.call("ReadFile", pb.ReadFileRequest(Ref=left, FilePath="/half")).Data == b"half\n"
        with pytest.raises(FailedError):
            build.call("ReadFile", pb.ReadFileRequest(Ref=given, FilePath="/half"))
        with executing(build) as process:
            process.begin(contain(build, left), "cat", "/half")
            assert process.ended() == (0, b"half\n", b"")


def test_warnings_of_the_frontend_are_told(client: BuildKit) -> None:
    with client.gateway() as build:
        following = client.submit(lambda: list(client.status(build.ref)))
        info = ops_pb2.SourceInfo(filename="Buildfile", data=b"one\ntwo\n")
        line = ops_pb2.Range(start=ops_pb2.Position(line=2), end=ops_pb2.Position(line=2))
        build.call("Warn", pb.WarnRequest(level=1, short=b"careful", detail=[b"why"], info=info, ranges=[line]))
        build.give(pb.Result())
        warning = next(each for message in following.result(30) for each in message.warnings)
    assert (warning.short, list(warning.detail)) == (b"careful", [b"why"])
    assert (warning.info.filename, warning.info.data, warning.ranges[0].start.line) == ("Buildfile", b"one\ntwo\n", 2)


def test_sources_are_resolved(client: BuildKit, served: Served) -> None:
    with client.gateway() as build:
        request = pb.ResolveImageConfigRequest(Ref="docker.io/library/busybox:latest", ResolveMode="local")
        answer = build.call("ResolveImageConfig", request)
        assert json.loads(answer.Config)["os"] == "linux"
        assert answer.Digest.startswith("sha256:")
        image = ops_pb2.SourceOp(identifier="docker-image://docker.io/library/busybox:latest")
        meta = build.call("ResolveSourceMeta", pb.ResolveSourceMetaRequest(Source=image, ResolveMode="local"))
        assert meta.Image.Digest == answer.Digest
        (served.directory / "data.bin").write_bytes(b"data")
        http = ops_pb2.SourceOp(identifier=f"{served.url}/data.bin")
        meta = build.call("ResolveSourceMeta", pb.ResolveSourceMetaRequest(Source=http))
        assert meta.HTTP.Checksum == "sha256:3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
        assert meta.HTTP.Filename == "data.bin"


# -- containers -------------------------------------------------------------------------------------------------------


def test_a_process_gets_input_and_gives_output(client: BuildKit) -> None:
    with client.gateway() as build:
        id = busybox(build)
        with executing(build) as process:
            process.begin(id, "sh", "-c", "cat; echo error >&2; exit 5")
            assert process.next().WhichOneof("Input") == "Started"
            process.send(File=pb.FdMessage(Fd=0, Data=b"to and fro\n"))
            process.send(File=pb.FdMessage(Fd=0, EOF=True))
            assert process.ended() == (5, b"to and fro\n", b"error\n")
        build.call("ReleaseContainer", pb.ReleaseContainerRequest(ContainerID=id))
        with pytest.raises(FailedError) as failure, executing(build) as process:
            process.begin(id, "true")
            process.next()
        assert failure.value.code is grpc.StatusCode.NOT_FOUND


def test_a_program_that_is_not_there(client: BuildKit) -> None:
    with client.gateway() as build, executing(build) as process:
        process.begin(busybox(build), "no-such-program")
        assert process.ended()[0] == 127


def test_processes_share_a_container_and_a_stream(client: BuildKit) -> None:
    with client.gateway() as build:
        id = busybox(build)
        with executing(build) as stream:
            stream.begin(id, "sh", "-c", "echo up; read line; cat /shared", id="first")
            stream.until(b"up\n")
            stream.begin(id, "sh", "-c", "echo shared > /shared", id="second")
            while (message := stream.next()).ProcessID != "second" or message.WhichOneof("Input") != "Done":
                pass
            stream.send(id="first", File=pb.FdMessage(Fd=0, Data=b"go\n"))
            assert stream.ended() == (0, b"shared\n", b"")
        told = build.call("ReadFileContainer", pb.ReadFileRequest(Ref=id, FilePath="/shared", MountIndex=0))
        assert told.Data == b"shared\n"
        entry = build.call("StatFileContainer", pb.StatFileRequest(Ref=id, Path="/shared")).stat
        assert (entry.path, entry.size) == ("shared", 7)
        entries = build.call("ReadDirContainer", pb.ReadDirRequest(Ref=id, DirPath="/", IncludePattern="shar*")).entries
        assert [each.path for each in entries] == ["shared"]


def test_a_terminal_has_a_size_and_takes_signals(client: BuildKit) -> None:
    with client.gateway() as build:
        id = busybox(build)
        with executing(build) as process:
            process.begin(id, "sh", Tty=True)
            process.send(Resize=pb.ResizeMessage(Rows=33, Cols=77))
            process.send(File=pb.FdMessage(Fd=0, Data=b"stty size; tty -s && echo ter''minal\n"))
            told = process.until(b"terminal")
            assert b"33 77" in told
            process.send(File=pb.FdMessage(Fd=0, Data=b"exit 4\n"))
            assert process.ended()[0] == 4
        with executing(build) as process:
            process.begin(
                busybox(build), "sh", "-c", "trap 'echo caught; exit 9' USR1; echo up; while :; do sleep 0.02; done"
            )
            process.until(b"up\n")
            process.send(Signal=pb.SignalMessage(Name="USR1"))
            assert process.ended()[:2] == (9, b"caught\n")
        with executing(build) as process:
            process.begin(busybox(build), "sh", "-c", "echo up; exec sleep 1000")
            process.until(b"up\n")
            process.send(Signal=pb.SignalMessage(Name="SIGKILL"))
            assert process.ended()[0] == 137


def test_mounts_of_other_results_are_there(client: BuildKit) -> None:
    session = Session(secrets={"key": b"hidden"})
    with client.gateway(session) as build:
        root = build.solve(Definition=definition(Edge(BUSYBOX))).ref.id
        data = build.solve(Definition=definition(files(MkFile("/f", b"mounted")))).ref.id
        id = contain(
            build,
            root,
            ops_pb2.Mount(dest="/data", resultID=data, readonly=True),
            ops_pb2.Mount(dest="/tmp/t", mountType=ops_pb2.MountType.TMPFS),
            hostname="box",
            extraHosts=[ops_pb2.HostIP(Host="other", IP="10.1.2.3")],
        )
        with executing(build) as process:
            secret = ops_pb2.SecretEnv(ID="key", name="KEY")
            text = 'cat /data/f; echo; hostname; grep -c "10.1.2.3.other" /etc/hosts; echo $KEY; touch /data/x'
            process.begin(id, "sh", "-c", text, secretenv=[secret])
            code, output, error = process.ended()
        assert (code, output) == (1, b"mounted\nbox\n1\nhidden\n")
        assert b"Read-only" in error
        secret = build.call("ReadFileContainer", pb.ReadFileRequest(Ref=id, FilePath="/f", MountIndex=1))
        assert secret.Data == b"mounted"


def test_what_a_process_does_not_do_is_told(client: BuildKit) -> None:
    with client.gateway() as build:
        id = busybox(build)
        with pytest.raises(FailedError) as failure, executing(build) as process:
            process.begin(id, "sleep", "1000")
            process.next()
            process.send(Signal=pb.SignalMessage(Name="NONSENSE"))
            process.ended()
        assert failure.value.code is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(FailedError) as failure, executing(build) as process:
            process.send(id="stranger", File=pb.FdMessage(Fd=0, Data=b"x"))
            process.next()
        assert failure.value.code is grpc.StatusCode.NOT_FOUND


def test_a_client_that_goes_takes_its_containers_along(own_yard: Yard) -> None:
    own_yard.run("bootstrap", "busybox")
    with connected(own_yard) as client, client.gateway() as build:
        id = busybox(build)
        process = Exec(build)
        process.begin(id, "sh", "-c", "echo up; sleep 1000")
        process.until(b"up\n")
        following = client.status(build.ref)
        next(following, None)
        client._channel.close()
        process.close()
    with connected(own_yard) as client:
        list(client.status(build.ref))  # to its end
        [record] = client.history(Ref=build.ref)
        assert record.record.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert own_yard.stop() == 0
    assert "sleep" not in own_yard.log


def test_directories_are_told_as_such(client: BuildKit) -> None:
    with client.gateway() as build:
        ref = build.solve(Definition=definition(Edge(BUSYBOX))).ref.id
        entries = build.call("ReadDir", pb.ReadDirRequest(Ref=ref, DirPath="/")).entries
        modes = {entry.path: entry.mode for entry in entries}
    assert modes["bin"] & 1 << 31
    assert stat.S_IMODE(modes["bin"] & 0o777) == 0o755


def test_progress_of_unnamed_steps_says_what_they_do(client: BuildKit) -> None:
    with client.gateway() as build:
        following = client.submit(lambda: list(client.status(build.ref)))
        tag = uuid.uuid4().hex
        build.solve(Definition=definition(run("echo", "hello", tag)), Evaluate=True)
        build.give(pb.Result())
        told = following.result(30)
    assert {f"echo hello {tag}", "docker-image://docker.io/library/busybox:latest"} <= set(vertices(told))
    assert logs(told) == f"hello {tag}\n"
