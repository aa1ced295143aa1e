"""Graphs that frontends make: what each step becomes, and that it is what a Dockerfile makes of the same."""

from __future__ import annotations

import pytest

from boatyard.build.llb import codec
from boatyard.build.llb.graph import Copy, DiffOp, Edge, ExecOp, FileOp, MergeOp, MkDir, MountType, NetMode, SourceOp
from boatyard.errors import FrontendError, InvalidError
from boatyard.frontend import (
    SourceFile,
    State,
    bind,
    cache,
    copy,
    difference,
    git,
    http,
    image,
    local,
    make_directory,
    make_file,
    merge,
    remove,
    scratch,
    secret,
    ssh,
    symlink,
    tmpfs,
)
from unit.build.frontend.dockerfile.converting import AMD64, converted


def vertex(state: State) -> codec.Vertex:  # type: ignore[name-defined]
    assert state.edge is not None
    return state.edge.vertex


def base() -> State:
    return image("busybox", AMD64)


def test_a_command_runs_in_the_surroundings_of_its_state() -> None:
    state = base().with_environment({"A": "1"}).in_directory("/srv").in_directory("app").as_user("ann")
    op = vertex(state.run("make", environment={"B": "2"})).op
    assert isinstance(op, ExecOp)
    assert op.meta.args == ("/bin/sh", "-c", "make")
    assert op.meta.env == ("A=1", "B=2")
    assert (op.meta.cwd, op.meta.user) == ("/srv/app", "ann")
    later = vertex(state.run("make", environment={"B": "2"}).run(["true"])).op
    assert isinstance(later, ExecOp)
    assert later.meta.env == ("A=1",)
    assert later.meta.args == ("true",)


def test_mounts_become_mounts_and_inputs() -> None:
    source, other = local(), scratch().file(make_file("/f"))
    op, found = executed(
        base(),
        bind(source, "/src", path="/app"),
        bind(other, "/out", writable=True),
        cache("/c", sharing="locked"),
        tmpfs("/t", size=1 << 20),
        secret("token"),
        ssh(),
    )
    by_target = {mount.dest: mount for mount in op.mounts}
    assert [mount.dest for mount in op.mounts[:5]] == ["/", "/c", "/out", "/src", "/t"]
    assert by_target["/src"].selector == "/app" and by_target["/src"].readonly and by_target["/src"].output == -1
    assert found.inputs[by_target["/src"].input].vertex == vertex(source)
    assert by_target["/out"].output == 1
    assert found.inputs[by_target["/out"].input].vertex == vertex(other)
    assert by_target["/c"].type is MountType.CACHE and by_target["/c"].cache.id == "/c"
    assert by_target["/t"].tmpfs_size == 1 << 20
    assert by_target["/run/secrets/token"].secret.optional is False
    assert "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.default" in op.meta.env


def executed(state: State, *mounts: object, **options: object) -> tuple[ExecOp, codec.Vertex]:  # type: ignore[name-defined]
    found = vertex(state.run("true", mounts=list(mounts), **options))  # type: ignore[arg-type]
    assert isinstance(found.op, ExecOp)
    return found.op, found


def test_what_a_step_writes_to_a_mount_is_a_state_of_its_own() -> None:
    done = base().execute(
        "make", mounts=[bind(scratch(), "/out", writable=True), bind(scratch(), "/two", writable=True)]
    )
    assert done.root.edge == Edge(vertex(done.root), 0)
    assert [done.outputs[target].edge for target in ("/out", "/two")] == [
        Edge(vertex(done.root), 1),
        Edge(vertex(done.root), 2),
    ]


def test_networks_secrets_and_exit_codes() -> None:
    op, _ = executed(base(), network="none", secrets={"TOKEN": "token"})
    assert op.network is NetMode.NONE
    assert [(item.id, item.name) for item in op.secret_env] == [("token", "TOKEN")]
    done = base().execute("test", valid_exit_codes=[0, 1])
    assert vertex(done.root).op.meta.valid_exit_codes == (0, 1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: base().run(""), "no command"),
        (lambda: base().run("true", network="moon"), "unknown network"),
        (lambda: base().run("true", mounts=[tmpfs("/")]), "root directory"),
        (lambda: base().run("true", environment={"A=B": "1"}), "name of an environment variable"),
        (lambda: cache("/c", sharing="some"), "unknown sharing"),
        (lambda: base().file(), "at least one action"),
        (lambda: scratch().file(make_file("/f", owner="ann:ann")), "can't be looked up"),
        (lambda: base().file(copy(local(), "a", "/b", mode="rwx")), "invalid mode"),
        (lambda: git("no address"), "no address of a git repository"),
        (lambda: http("ftp://x/y"), "no http address"),
        (lambda: image("UPPER CASE"), "UPPER CASE"),
    ],
)
def test_what_can_not_be_is_refused_at_once(make: object, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        make()  # type: ignore[operator]


def test_actions_of_one_step_work_on_what_the_one_before_made() -> None:
    context = local(paths=["a"])
    state = (
        scratch()
        .in_directory("/srv")
        .file(
            make_directory("data", mode=0o700, owner="1:2"),
            make_file("data/f", "text"),
            copy(context, "a", "."),
            copy(context, "*.txt", "/texts/", missing_ok=True),
            symlink("/link", "data"),
            remove("/srv/a", missing_ok=True),
        )
    )
    op = vertex(state).op
    assert isinstance(op, FileOp)
    assert [action.input for action in op.actions] == [-1, 1, 2, 3, 4, 5]
    assert [action.secondary_input for action in op.actions] == [-1, -1, 0, 0, -1, -1]
    assert [action.output for action in op.actions] == [-1] * 5 + [0]
    directory = op.actions[0].action
    assert isinstance(directory, MkDir) and directory.path == "/srv/data" and directory.owner is not None
    copied = op.actions[2].action
    assert isinstance(copied, Copy) and (copied.src, copied.dest) == ("/a", "/srv/")
    assert vertex(state).inputs == (context.edge,)


def test_merging_and_difference() -> None:
    one, two = scratch().file(make_file("/1")), scratch().file(make_file("/2"))
    merged = vertex(merge(one, scratch(), two))
    assert isinstance(merged.op, MergeOp) and len(merged.inputs) == 2
    assert merge(scratch(), two).edge == two.edge
    assert merge().edge is None
    assert isinstance(vertex(difference(one, two)).op, DiffOp)
    assert vertex(difference(scratch(), two)).op == DiffOp(-1, 0)
    assert vertex(difference(one, scratch())).op == DiffOp(0, -1)
    assert difference(scratch(), scratch()).edge is None


def test_sources() -> None:
    assert vertex(image("busybox", mode="local")).op == SourceOp(
        "docker-image://docker.io/library/busybox:latest", {"image.resolvemode": "local"}
    )
    narrowed = vertex(local(paths=["b", "/a/"], exclude=["x"])).op
    assert isinstance(narrowed, SourceOp)
    assert narrowed.identifier == "local://context"
    assert narrowed.attrs["local.followpaths"] == '["a/","b"]'
    assert narrowed.attrs["local.excludepatterns"] == '["x"]'
    assert vertex(http("https://host/dir/file.tar?x=1")).op == SourceOp(
        "https://host/dir/file.tar?x=1", {"http.filename": "file.tar"}
    )
    assert vertex(git("https://host/path.git#main:sub")).op.attrs["git.fullurl"] == "https://host/path.git"


def test_a_step_is_the_one_that_a_dockerfile_makes_and_so_shares_its_cache() -> None:
    told = converted("FROM scratch\nCOPY --link a b /dir/\n", {"a": b"", "b": b""})
    theirs = next(each for each in told.vertices if isinstance(each.op, FileOp))
    files = State(theirs.inputs[0])
    ours = scratch().file(copy(files, "a", "/dir/"), copy(files, "b", "/dir/"))
    assert [action.action.src for action in vertex(ours).op.actions] == ["/a", "/b"]
    assert vertex(ours).op.actions[0].action.dest == theirs.op.actions[0].action.dest


def test_a_run_has_the_digest_that_a_dockerfiles_has() -> None:
    told = converted("FROM busybox\nRUN --mount=type=tmpfs,target=/t make\n")
    theirs = told.last
    assert isinstance(theirs.op, ExecOp)
    state = State(theirs.inputs[0], environment=dict(each.split("=", 1) for each in theirs.op.meta.env), platform=AMD64)
    assert vertex(state.run("make", mounts=[tmpfs("/t")])).digest == theirs.digest


def test_steps_point_into_the_file_they_come_from() -> None:
    file = SourceFile("image.yaml", "one\ntwo\nthree\n")
    state = base().run("make", at=file.place(2, 3))
    assert [(each.filename, each.start, each.end) for each in vertex(state).locations] == [("image.yaml", 2, 3)]
    assert state.graph.files == {"image.yaml": file.text}
    copied = scratch().file(copy(state, "/a", "/a"))
    assert copied.graph.files == {"image.yaml": file.text}
    assert codec.decode(codec.encode(copied.graph)).files == {"image.yaml": file.text}
    error = file.place(2).error("two is wrong", hint="say one")
    assert isinstance(error, FrontendError)
    assert error.source is not None and (error.source.start, error.source.end) == (2, 2)
    assert file.whole.end == 3
    assert SourceFile("empty", "").whole.end == 1


def test_the_history_tells_the_steps_on_a_known_base() -> None:
    state = scratch().run("one").file(make_file("/two"), name="two")
    assert state.steps == ("one", "two")
    assert merge(state, scratch().run("three")).steps == ("one", "two", "three")
    assert base().run("one").steps is None
    assert merge(state, base()).steps is None
    assert difference(scratch(), state).steps is None
