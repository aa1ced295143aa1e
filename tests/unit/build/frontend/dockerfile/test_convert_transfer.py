"""COPY and ADD: sources, destinations, flags."""

from __future__ import annotations

import pytest

from boatyard.build.llb import graph as llb
from boatyard.errors import DockerfileError
from unit.build.frontend.dockerfile.converting import converted

BASE = {
    "follow_symlink": True,
    "dir_copy_contents": True,
    "create_dest_path": True,
    "allow_wildcard": True,
    "allow_empty_wildcard": True,
}


def copy_of(line: str, before: str = "", base: str = "busybox") -> llb.Copy:
    (action,) = actions_of(line, before, base)
    assert isinstance(action.action, llb.Copy)
    return action.action


def actions_of(line: str, before: str = "", base: str = "busybox") -> tuple[llb.FileAction, ...]:
    op = converted(f"FROM {base}\n{before}\n{line}\n").last.op
    assert isinstance(op, llb.FileOp)
    return op.actions


def test_a_copy_of_one_file() -> None:
    (action,) = actions_of("COPY a /b")
    assert action == llb.FileAction(0, llb.Copy("/a", "/b", **BASE), 1, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "expected"),
    [("a/", "/a"), ("./a/../b", "/b"), (".", "/"), ("/", "/"), ("../a", "/a"), ("*.txt", "/*.txt"), ("a b", None)],
)
def test_sources_are_cleaned_and_below_the_context(source: str, expected: str | None) -> None:
    if expected is None:
        assert [action.action.src for action in actions_of(f"COPY {source} /d/")] == ["/a", "/b"]  # type: ignore[union-attr]
    else:
        assert copy_of(f"COPY {source} /d/").src == expected


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("/d", "/d"),
        ("/d/", "/d/"),
        ("/d/../e", "/e"),
        ("/d/.", "/d/."),
        ("d", "/app/d"),
        ("d/", "/app/d/"),
        (".", "/app/"),
        ("./", "/app/"),
        ("..", "/"),
        ("/", "/"),
    ],
)
def test_destinations_keep_their_slash_and_start_from_the_working_directory(destination: str, expected: str) -> None:
    assert copy_of(f"COPY a {destination}", "WORKDIR /app").dest == expected


def test_several_sources_are_copied_one_onto_the_other() -> None:
    first, second, third = actions_of("COPY a b c /d/")
    assert [(item.input, item.secondary_input, item.output) for item in (first, second, third)] == [
        (0, 1, -1),
        (2, 1, -1),
        (3, 1, 0),
    ]


def test_on_scratch_there_is_no_base_to_copy_onto() -> None:
    (action,) = actions_of("COPY a /b", base="scratch")
    assert (action.input, action.secondary_input) == (-1, 0)


def test_add_unpacks_local_archives() -> None:
    assert copy_of("ADD a.tar /").attempt_unpack
    assert not copy_of("ADD --unpack=false a.tar /").attempt_unpack
    assert not copy_of("COPY a.tar /").attempt_unpack


@pytest.mark.parametrize(
    ("chown", "owner"),
    [
        ("5", llb.Chown(llb.User(id=5))),
        ("5:6", llb.Chown(llb.User(id=5), llb.User(id=6))),
        ("app:web", llb.Chown(llb.User("app", None, 0), llb.User("web", None, 0))),
        ("root:web", llb.Chown(llb.User(id=0), llb.User("web", None, 0))),
        ("$U", llb.Chown(llb.User("app", None, 0))),
    ],
)
def test_owners(chown: str, owner: llb.Chown) -> None:
    assert copy_of(f"COPY --chown={chown} a /b", "ARG U=app").owner == owner


def test_an_owner_by_name_needs_a_tree_to_look_into() -> None:
    with pytest.raises(DockerfileError, match="can't be looked up") as raised:
        copy_of("COPY --link --chown=app a /b")
    assert raised.value.hint is not None
    assert "numbers" in raised.value.hint


@pytest.mark.parametrize(
    ("chmod", "mode", "mode_str"),
    [
        ("755", 0o755, ""),
        ("0644", 0o644, ""),
        ("4755", 0o4755, ""),
        ("u=rwX,go=rX", 0, "u=rwX,go=rX"),
        ("$M", 0o600, ""),
    ],
)
def test_modes(chmod: str, mode: int, mode_str: str) -> None:
    copy = copy_of(f"COPY --chmod={chmod} a /b", "ARG M=600")
    assert (copy.mode, copy.mode_str) == (mode, mode_str)


@pytest.mark.parametrize("chmod", ["17777", "99", "u=q", "rwx", "u+x,,g+x"])
def test_modes_that_are_none(chmod: str) -> None:
    with pytest.raises(DockerfileError, match="invalid mode"):
        copy_of(f"COPY --chmod={chmod} a /b")


def test_exclude_patterns() -> None:
    assert copy_of("COPY --exclude=*.md --exclude=!README.md . /d/").exclude_patterns == ("*.md", "!README.md")


@pytest.mark.parametrize(
    ("source", "src", "include", "required"),
    [
        ("a/b/c", "/", ("a/b/c",), ("/a/b/c",)),
        ("./x/./a/*.txt", "/x", ("a/*.txt",), ()),
        ("x/./a/b", "/x", ("a/b",), ("/x/a/b",)),
        ("/./a", "/", ("a",), ("/a",)),
        ("x*/./a", "/x*", ("a",), ()),
    ],
)
def test_parents(source: str, src: str, include: tuple[str, ...], required: tuple[str, ...]) -> None:
    copy = copy_of(f"COPY --parents {source} /d/")
    assert (copy.src, copy.include_patterns, copy.required_paths) == (src, include, required)


# -- link ------------------------------------------------------------------------------------------------------------


def test_a_linked_copy_stands_on_nothing_and_is_merged_onto_the_stage() -> None:
    result = converted("FROM busybox\nCOPY --link a /b\n")
    merge = result.last
    assert merge.op == llb.MergeOp((0, 1))
    base, copied = (edge.vertex for edge in merge.inputs)
    assert base.name.startswith("[1/2] FROM")
    assert copied.name == "[2/2] COPY --link a /b"
    assert merge.name == "[2/2] LINK COPY --link a /b"
    assert isinstance(copied.op, llb.FileOp)
    assert copied.op.actions[0].input == -1


def test_the_two_steps_of_a_linked_copy_are_shown_as_one() -> None:
    merge = converted("FROM busybox\nCOPY --link a /b\n").last
    copied = merge.inputs[1].vertex
    groups = merge.metadata.progress_group, copied.metadata.progress_group
    assert groups[0] is not None and groups[1] is not None
    assert groups[0].id == groups[1].id
    assert (groups[0].weak, groups[1].weak) == (False, True)


def test_a_linked_copy_onto_scratch_needs_no_merge() -> None:
    assert isinstance(converted("FROM scratch\nCOPY --link a /b\n").last.op, llb.FileOp)


def test_a_mode_undoes_the_link() -> None:
    assert isinstance(converted("FROM busybox\nCOPY --link --chmod=755 a /b\n").last.op, llb.FileOp)


# -- from elsewhere --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["build", "BUILD", "0"])
def test_a_copy_from_a_stage(name: str) -> None:
    result = converted(f"FROM busybox AS build\nRUN make\nFROM scratch\nCOPY --from={name} /a /b\n")
    assert result.last.inputs[0].vertex.name == "[build 2/2] RUN make"
    assert result.last.name == f"[stage-1 1/1] COPY --from={name} /a /b"


def test_a_copy_from_an_image() -> None:
    result = converted("FROM busybox\nCOPY --from=golang:1.22 /usr/local/go /go\n")
    assert result.last.inputs[1].vertex.name.startswith("FROM docker.io/library/golang:1.22@sha256:")


def test_heredocs_become_files() -> None:
    result = converted('FROM busybox\nENV A=1\nCOPY <<one <<"two" /d/\n$A "$B"\none\n$A\ntwo\n')
    made = [
        vertex.op.actions[0].action
        for vertex in result.vertices
        if isinstance(vertex.op, llb.FileOp) and vertex.name == "[internal] preparing inline document"
    ]
    assert made == [llb.MkFile("/one", b'1 ""\n'), llb.MkFile("/two", b"$A\n")]
    assert result.history[-1] == "COPY <<one <<two /d/ # buildkit"
    op = result.last.op
    assert isinstance(op, llb.FileOp)
    assert [action.action.src for action in op.actions] == ["/one", "/two"]  # type: ignore[union-attr]


def test_a_url_is_downloaded_and_not_unpacked() -> None:
    result = converted("FROM busybox\nADD https://example.org/a/b.tar.gz?x=1 /d/\n")
    assert result.sources()["https://example.org/a/b.tar.gz?x=1"].attrs == {"http.filename": "b.tar.gz"}
    op = result.last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].action == llb.Copy("/b.tar.gz", "/d/", create_dest_path=True)


def test_a_url_is_unpacked_when_asked_for() -> None:
    op = converted("FROM busybox\nADD --unpack https://example.org/b.tar.gz /d/\n").last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].action.attempt_unpack  # type: ignore[union-attr]


def test_a_url_without_a_name_gets_one() -> None:
    assert converted("FROM busybox\nADD https://example.org /d/\n").sources()["https://example.org"].attrs == {
        "http.filename": "__unnamed__"
    }


def test_the_checksum_of_a_url() -> None:
    digest = "sha256:" + "a" * 64
    source = converted(f"FROM busybox\nADD --checksum={digest} https://example.org/b /d/\n").sources()
    assert source["https://example.org/b"].attrs["http.checksum"] == digest


def test_a_repository_is_checked_out() -> None:
    result = converted("FROM busybox\nADD https://example.org/team/project.git#v1:docs /d/\n")
    assert result.sources()["git://example.org/team/project.git#v1:docs"].attrs == {
        "git.fullurl": "https://example.org/team/project.git",
        "git.authheadersecret": "GIT_AUTH_HEADER",
        "git.authtokensecret": "GIT_AUTH_TOKEN",
    }
    op = result.last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].action == llb.Copy("/", "/d/", create_dest_path=True)


def test_a_repository_with_flags() -> None:
    commit = "a" * 40
    result = converted(f"FROM busybox\nADD --keep-git-dir --checksum={commit} git@example.org:team/project /d/\n")
    attrs = result.sources()["git://example.org/team/project"].attrs
    assert (attrs["git.keepgitdir"], attrs["git.checksum"], attrs["git.mountsshsock"]) == ("true", commit, "default")


def test_remote_sources_leave_the_context_alone() -> None:
    result = converted("FROM busybox\nADD https://example.org/a git@example.org:team/project /d/\n")
    assert not any(name.startswith("local://") for name in result.sources())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("COPY https://example.org/a /b", "can't fetch"),
        ("COPY git@example.org:team/project /b", "can't fetch"),
        (f"ADD --checksum=sha256:{'a' * 64} a /b", "needs a URL"),
        (f"ADD --checksum=sha256:{'a' * 64} https://a/1 https://a/2 /b/", "one source"),
        ("ADD --checksum=sha256:abc https://a/1 /b", "invalid digest"),
        ("ADD --keep-git-dir=false https://a/b.git?keep-git-dir=1 /b", "keep-git-dir"),
        (f"ADD --checksum={'a' * 40} https://a/b.git?checksum={'b' * 40} /b", "two checksums"),
        ("COPY --from=$X a /b", "not expanded"),
        ("COPY --from=7 a /b", "no stage number 7"),
        ("COPY ${X:?needed} /b", "X: needed"),
    ],
)
def test_errors_have_their_place(line: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as raised:
        converted(f"FROM busybox\n\n{line}\n")
    assert raised.value.source is not None
    assert raised.value.source.start == 3


def test_a_copy_from_a_stage_below_is_refused() -> None:
    with pytest.raises(DockerfileError, match="not built yet"):
        converted("FROM busybox AS a\nCOPY --from=b /x /x\nFROM busybox AS b\nFROM a\n")


# -- the context is narrowed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "follow"),
    [
        ("COPY a b/c /d/", '["a","b/c"]'),
        ("COPY a /a\nADD ./z /z\nRUN --mount=target=/m,source=m true", '["a","m","z"]'),
        ("COPY src/*.py /d/", '["src/*.py"]'),
        ("COPY --parents x/./a/b /d/", '["x/a/b"]'),
        ("COPY a /a\nCOPY . /all", None),
        ("RUN --mount=target=/m true", None),
    ],
)
def test_only_what_is_used_of_the_context_is_asked_for(lines: str, follow: str | None) -> None:
    source = converted(f"FROM busybox\n{lines}\n").sources()["local://context"]
    assert source.attrs.get("local.followpaths") == follow


def test_stages_that_are_not_built_use_nothing_of_the_context() -> None:
    result = converted("FROM busybox AS other\nCOPY . /\nFROM busybox\nCOPY a /a\n")
    assert result.sources()["local://context"].attrs["local.followpaths"] == '["a"]'


def test_every_step_of_a_copy_has_its_lines() -> None:
    result = converted("FROM busybox\nCOPY --link <<A \\\n  /b/\ntext\nA\n")
    for vertex in result.vertices[1:]:
        assert [(place.filename, place.start, place.end) for place in vertex.locations] == [("Dockerfile", 2, 5)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("COPY --from=base --link a b /d/", "COPY a b /d/ # buildkit"),
        ("COPY --parents --chown=1:2 --chmod=755 a /d/", "COPY --parents --chown=1:2 --chmod=755 a /d/ # buildkit"),
        ("ADD $A /d/", "ADD value /d/ # buildkit"),
    ],
)
def test_the_history_tells_values_and_few_flags(line: str, told: str) -> None:
    result = converted(f"FROM busybox AS base\nFROM busybox\nARG A=value\n{line}\n")
    assert result.history[-1] == told
    assert not result.config.history[-1].empty_layer
