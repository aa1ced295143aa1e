"""Build graphs as bytes: the digests of BuildKit's own encoder, and the way there and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.llb import codec
from boatyard.build.llb import graph as llb
from boatyard.build.llb.graph import Edge, Graph, Vertex
from boatyard.errors import InvalidError
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform

AMD64 = Platform(os="linux", architecture="amd64")
PYTHON = "docker-image://docker.io/library/python:alpine3.14@sha256:fb93ca595ad82020cc52ff60604cddc1a6d393229ef5ecc8f6ac7c7fb52bacda"


def image(name: str = "docker-image://docker.io/library/busybox:latest") -> Vertex:
    return codec.vertex(llb.SourceOp(name), platform=AMD64)


def run(base: Edge, command: str, **known: object) -> Vertex:
    op = llb.ExecOp(llb.Meta(("/bin/sh", "-c", command), ("PATH=/bin",)), (llb.Mount("/", 0, output=0),))
    return codec.vertex(op, [base], AMD64, **known)  # type: ignore[arg-type]


# -- bytes -----------------------------------------------------------------------------------------------------------


def test_the_digest_of_an_image_source_is_the_one_buildkit_recorded() -> None:
    # from the provenance of a public image that BuildKit 0.20 built
    assert image(PYTHON).digest == "sha256:de26ac856cfa3a78d41f9afc56cbf99148b029f067c24adfc65a4635fc06f5fa"


def test_the_digest_of_a_copy_is_the_one_buildkit_recorded() -> None:
    context = Vertex(
        Digest("sha256:89e2f16e1b3612bab3c8c7f6a58b6e59b72b4453381874fed3c7827ef1b95894"),
        llb.SourceOp("local://context"),
    )
    copy = llb.Copy(
        "/README.md",
        "/README.md",
        mode=-1,
        follow_symlink=True,
        dir_copy_contents=True,
        create_dest_path=True,
        allow_wildcard=True,
        allow_empty_wildcard=True,
        timestamp=-1,
    )
    op = llb.FileOp((llb.FileAction(0, copy, 1, 0),))
    vertex = codec.vertex(op, [Edge(image(PYTHON)), Edge(context)])
    assert vertex.digest == "sha256:0dc4de8261b5f57fb8841320b739fcfab7aa37bad994059fa7e656b1a8613b25"


def test_maps_are_written_in_the_order_of_their_keys() -> None:
    one = codec.vertex(llb.SourceOp("local://context", {"b": "1", "a": "2"}))
    other = codec.vertex(llb.SourceOp("local://context", {"a": "2", "b": "1"}))
    assert one.encoding == other.encoding


def test_metadata_and_locations_do_not_change_the_digest() -> None:
    plain = run(Edge(image()), "true")
    named = run(
        Edge(image()),
        "true",
        metadata=llb.OpMetadata(ignore_cache=True, description={"llb.customname": "RUN true"}),
        locations=[llb.SourceLocation("Dockerfile", 2, 2)],
    )
    assert plain.digest == named.digest


@pytest.mark.parametrize(
    "op",
    [
        llb.SourceOp("local://\udcff"),
        llb.FileOp((llb.FileAction(-1, llb.MkFile("/f", mode=1 << 40), output=0),)),
        llb.ExecOp(llb.Meta(("true",)), (llb.Mount("/", input=1 << 70),)),
    ],
)
def test_values_that_do_not_fit_the_wire_are_invalid(op: llb.Op) -> None:
    with pytest.raises(InvalidError):
        codec.vertex(op)


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_scratch_is_an_empty_definition() -> None:
    assert codec.encode(Graph(None)) == b""
    assert codec.decode(b"") == Graph(None)


def test_a_graph_comes_back_with_names_places_and_files() -> None:
    base = image()
    step = run(
        Edge(base),
        "true",
        metadata=llb.OpMetadata(
            description={"llb.customname": "[2/2] RUN true"},
            export_cache=False,
            caps={"exec.meta.base": True},
            progress_group=llb.ProgressGroup("id", "group", True),
            linux_resources=llb.LinuxResources(memory=1 << 30, cpuset_cpus="0-1"),
        ),
        locations=[llb.SourceLocation("Dockerfile", 2, 3)],
    )
    graph = Graph(Edge(step), {"Dockerfile": "FROM busybox\nRUN \\\n true\n"})
    back = codec.decode(codec.encode(graph))
    assert back.files == graph.files
    assert back.root is not None
    assert back.root.vertex.metadata == step.metadata
    assert back.root.vertex.locations == step.locations
    assert back.root.vertex.inputs[0].vertex.platform == AMD64
    assert codec.encode(back) == codec.encode(graph)


def test_a_step_used_twice_is_written_once_with_the_places_of_both() -> None:
    base = Edge(image())
    one = run(base, "true", locations=[llb.SourceLocation("Dockerfile", 2, 2)])
    other = run(base, "true", locations=[llb.SourceLocation("Dockerfile", 5, 5)])
    merged = codec.vertex(llb.MergeOp((0, 1)), [Edge(one), Edge(other)])
    back = codec.decode(codec.encode(Graph(Edge(merged), {"Dockerfile": "\n" * 6})))
    assert back.root is not None
    first, second = (edge.vertex for edge in back.root.vertex.inputs)
    assert first is second
    assert [place.start for place in first.locations] == [2, 5]


def test_a_chain_of_ten_thousand_steps_needs_no_recursion() -> None:
    edge = Edge(image())
    for number in range(10_000):
        edge = Edge(run(edge, f"echo {number}"))
    back = codec.decode(codec.encode(Graph(edge)))
    assert back.root == edge


def test_two_source_files_of_one_name_are_told_apart() -> None:
    base = Edge(image())
    one = codec.encode(Graph(Edge(run(base, "a", locations=[llb.SourceLocation("f", 1, 1)])), {"f": "first"}))
    message = codec.definition.pb.Definition.FromString(one)  # type: ignore[attr-defined]
    message.Source.infos.add(filename="f", data=b"second")
    message.Source.locations[image().digest].locations.add(sourceIndex=1).ranges.add().start.line = 1
    back = codec.decode(message.SerializeToString())
    assert sorted(back.files.values()) == ["first", "second"]


def test_a_graph_prints_in_the_shape_of_convertllb() -> None:
    metadata = llb.OpMetadata(
        ignore_cache=True,
        description={"llb.customname": "RUN true"},
        linux_resources=llb.LinuxResources(memory=5),
    )
    step = run(Edge(image()), "true", metadata=metadata)
    printed = json.loads(json.dumps(codec.as_json(Graph(Edge(step)))))
    assert printed["def"][step.digest]["exec"]["meta"]["args"] == ["/bin/sh", "-c", "true"]
    assert printed["def"][step.digest]["inputs"] == [{"digest": image().digest}]
    assert printed["metadata"][step.digest] == {
        "ignore_cache": True,
        "description": {"llb.customname": "RUN true"},
        "linux_resources": {"memory": 5},
    }


# -- there and back, at random ---------------------------------------------------------------------------------------

words = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
tuples = st.lists(words, max_size=3).map(tuple)
small = st.integers(0, 2**31 - 1)
maps = st.dictionaries(words, words, max_size=3)
indexes = st.integers(-1, 1)
users = st.one_of(
    st.none(),
    st.builds(llb.User, st.just(""), small, st.just(-1)),
    st.builds(llb.User, words, st.none(), indexes),
)
owners = st.one_of(st.none(), st.builds(llb.Chown, users, users))
times = st.one_of(st.just(-1), st.integers(0, 2**62))
modes = st.one_of(st.just(-1), st.integers(0, 0o7777))
actions = st.one_of(
    st.builds(
        llb.Copy,
        words,
        words,
        owners,
        modes,
        words,
        *[st.booleans()] * 6,
        times,
        tuples,
        tuples,
        st.booleans(),
        tuples,
    ),
    st.builds(llb.MkFile, words, st.binary(max_size=20), modes, owners, times),
    st.builds(llb.MkDir, words, modes, st.booleans(), owners, times),
    st.builds(llb.Rm, words, st.booleans(), st.booleans()),
    st.builds(llb.Symlink, words, words, owners, times),
)


@st.composite
def file_ops(draw: st.DrawFn) -> llb.FileOp:
    chosen = draw(st.lists(actions, min_size=1, max_size=3))
    return llb.FileOp(
        tuple(
            llb.FileAction(
                draw(indexes),
                action,
                draw(indexes) if isinstance(action, llb.Copy) else -1,
                0 if number == len(chosen) - 1 else -1,
            )
            for number, action in enumerate(chosen)
        )
    )


@st.composite
def exec_ops(draw: st.DrawFn) -> llb.ExecOp:
    extra = st.one_of(
        st.builds(llb.Mount, st.just("/a"), indexes, words, st.just(-1), st.booleans()),
        st.builds(llb.Mount, st.just("/t"), type=st.just(llb.MountType.TMPFS), tmpfs_size=small),
        st.builds(
            llb.Mount,
            st.just("/c"),
            type=st.just(llb.MountType.CACHE),
            cache=st.builds(llb.CacheOpt, words, st.sampled_from(llb.CacheSharing)),
        ),
        st.builds(
            llb.Mount,
            st.just("/s"),
            output=st.just(0),
            type=st.just(llb.MountType.SECRET),
            secret=st.builds(llb.SecretOpt, words, small, small, small, st.booleans()),
        ),
        st.builds(
            llb.Mount,
            st.just("/h"),
            output=st.just(0),
            type=st.just(llb.MountType.SSH),
            ssh=st.builds(llb.SSHOpt, words, small, small, small, st.booleans()),
        ),
    )
    meta = st.builds(
        llb.Meta,
        st.lists(words, min_size=1, max_size=3).map(tuple),
        tuples,
        words.filter(bool),
        words,
        st.one_of(st.none(), st.builds(llb.ProxyEnv, words, words, words, words, words)),
        st.lists(st.builds(llb.HostIP, words, words), max_size=2).map(tuple),
        words,
        st.lists(st.builds(llb.Ulimit, words, st.integers(-1, 2**40), small), max_size=2).map(tuple),
        words,
        st.booleans(),
        st.lists(st.integers(0, 255), max_size=2).map(tuple),
    )
    return llb.ExecOp(
        draw(meta),
        (llb.Mount("/", draw(indexes), output=0), *draw(st.lists(extra, max_size=3))),
        draw(st.sampled_from(llb.NetMode)),
        draw(st.sampled_from(llb.SecurityMode)),
        tuple(draw(st.lists(st.builds(llb.SecretEnv, words, words, st.booleans()), max_size=2))),
        tuple(draw(st.lists(st.builds(llb.CDIDevice, words, st.booleans()), max_size=2))),
    )


ops = st.one_of(
    exec_ops(),
    file_ops(),
    st.builds(llb.SourceOp, words.map("http://{}".format), maps),
    st.builds(llb.MergeOp, st.lists(indexes, min_size=1, max_size=3).map(tuple)),
    st.builds(llb.DiffOp, indexes, indexes),
    st.builds(llb.BuildOp, indexes, st.dictionaries(words, indexes, max_size=2), st.just(b""), maps),
    st.builds(llb.PassthroughOp, words.filter(bool), st.lists(st.integers(0, 1), min_size=1, max_size=3).map(tuple)),
)


@settings(max_examples=200, deadline=None)
@given(ops, st.one_of(st.none(), st.just(AMD64)))
def test_every_op_comes_back_as_it_was(op: llb.Op, platform: Platform | None) -> None:
    inputs = [Edge(image()), Edge(image(PYTHON))]
    vertex = codec.vertex(op, inputs, platform)
    back = codec.decode(codec.encode(Graph(Edge(vertex))))
    assert back.root is not None
    assert back.root.vertex.op == op
    assert back.root.vertex.platform == platform
    assert back.root.vertex.encoding == vertex.encoding
    assert codec.vertex(back.root.vertex.op, back.root.vertex.inputs, platform).digest == vertex.digest
