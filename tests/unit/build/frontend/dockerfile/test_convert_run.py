"""RUN: its forms, mounts, networks, and what the request adds to it."""

from __future__ import annotations

import pytest

from boatyard.build.llb import graph as llb
from boatyard.errors import DockerfileError
from unit.build.frontend.dockerfile.converting import PATH, Yard, converted, env_of, run_build, yard


def the_exec(dockerfile: str, **options: str) -> llb.ExecOp:
    (op,) = converted(dockerfile, **options).execs()
    return op


def mount(op: llb.ExecOp, dest: str) -> llb.Mount:
    return next(item for item in op.mounts if item.dest == dest)


@pytest.mark.parametrize(
    ("line", "args"),
    [
        ("RUN make all", ("/bin/sh", "-c", "make all")),
        ("RUN   make   $X  'a b'", ("/bin/sh", "-c", "make   $X  'a b'")),
        ('RUN ["make", "a b"]', ("make", "a b")),
        ('SHELL ["/bin/bash", "-e", "-c"]\nRUN make', ("/bin/bash", "-e", "-c", "make")),
        ("RUN make \\\n  all", ("/bin/sh", "-c", "make   all")),
        ("RUN <<EOF\necho $A\necho b\nEOF", ("/bin/sh", "-c", "echo $A\necho b\n")),
        ("RUN <<-EOF\n\techo a\n\tEOF", ("/bin/sh", "-c", "echo a\n")),
        ("RUN cat <<A <<B\na\nA\nb\nB", ("/bin/sh", "-c", "cat <<A <<B\na\nA\nb\nB")),
    ],
)
def test_the_command(line: str, args: tuple[str, ...]) -> None:
    assert the_exec(f"FROM busybox\n{line}\n").meta.args == args


def test_a_script_with_a_program_line_is_mounted_and_run() -> None:
    op = the_exec('FROM busybox\nSHELL ["/bin/bash", "-c"]\nRUN <<script\n#!/usr/bin/env python\nprint(1)\nscript\n')
    assert op.meta.args == ("/bin/bash", "-c", "/dev/pipes/script")
    pipes = mount(op, "/dev/pipes/")
    assert (pipes.selector, pipes.readonly, pipes.output) == ("/", True, -1)


def test_the_script_file_is_executable() -> None:
    result = converted("FROM busybox\nRUN <<script\n#!/usr/bin/env python\nprint(1)\nscript\n")
    op = result.named("inline document").op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].action == llb.MkFile("/script", b"#!/usr/bin/env python\nprint(1)\n", mode=0o755)


def test_the_root_is_mounted_from_the_stage_and_kept() -> None:
    op = the_exec("FROM busybox\nRUN true\n")
    assert op.mounts == (llb.Mount("/", input=0, output=0),)
    assert op.meta.env == (PATH,)
    assert op.meta.cwd == "/"
    assert op.meta.remove_mount_stubs_recursive


def test_a_run_on_scratch_has_an_empty_root() -> None:
    op = the_exec('FROM scratch\nRUN ["/init"]\n')
    assert op.mounts[0].input == -1


def test_env_user_and_directory_of_the_stage_hold() -> None:
    op = the_exec("FROM busybox\nENV A=1\nARG B=2\nUSER app\nWORKDIR /srv\nRUN true\n")
    assert op.meta.env == (PATH, "A=1", "B=2")
    assert (op.meta.user, op.meta.cwd) == ("app", "/srv")


def test_variables_stand_in_the_order_in_which_they_were_set_last() -> None:
    op = the_exec("FROM busybox\nENV A=1 B=2\nENV A=3\nRUN true\n")
    assert op.meta.env == (PATH, "B=2", "A=3")


# -- mounts ----------------------------------------------------------------------------------------------------------


def test_a_bind_mount_of_the_context_is_read_only_and_narrows_it() -> None:
    result = converted("FROM busybox\nRUN --mount=target=/src,source=a/b true\n")
    (op,) = result.execs()
    bind = mount(op, "/src")
    assert (bind.selector, bind.readonly, bind.output, bind.type) == ("/a/b", True, -1, llb.MountType.BIND)
    assert result.sources()["local://context"].attrs["local.followpaths"] == '["a/b"]'


def test_a_writable_bind_mount_throws_its_changes_away() -> None:
    bind = mount(the_exec("FROM busybox\nRUN --mount=target=/src,rw true\n"), "/src")
    assert (bind.readonly, bind.output) == (False, -1)


def test_a_bind_mount_from_a_stage() -> None:
    result = converted(
        """
        FROM busybox AS tools
        RUN one
        FROM busybox
        RUN --mount=from=tools,source=/bin,target=/tools two
        """
    )
    vertex = result.last
    assert isinstance(vertex.op, llb.ExecOp)
    bind = mount(vertex.op, "/tools")
    assert vertex.inputs[bind.input].vertex.name == "[tools 2/2] RUN one"
    assert bind.selector == "/bin"


def test_a_bind_mount_from_an_image() -> None:
    result = converted("FROM busybox\nRUN --mount=from=golang:1.22,target=/go true\n")
    assert any("golang:1.22@" in name for name in result.sources())


def test_mounts_are_sorted_by_target_and_inputs_follow() -> None:
    vertex = converted(
        "FROM busybox\nRUN --mount=from=b,target=/b --mount=from=a,target=/a --mount=type=tmpfs,target=/t true\n"
    ).last
    assert isinstance(vertex.op, llb.ExecOp)
    assert [item.dest for item in vertex.op.mounts] == ["/", "/a", "/b", "/t"]
    assert [item.input for item in vertex.op.mounts] == [0, 1, 2, -1]


def test_one_source_mounted_twice_is_one_input() -> None:
    vertex = converted(
        "FROM busybox\nRUN --mount=from=tools,target=/a --mount=from=tools,target=/b,source=/x true\n"
    ).last
    assert len(vertex.inputs) == 2


def test_a_relative_target_is_below_the_working_directory() -> None:
    op = the_exec("FROM busybox\nWORKDIR /app\nRUN --mount=type=tmpfs,target=tmp true\n")
    assert mount(op, "/app/tmp")


def test_a_cache_is_named_for_its_target() -> None:
    cache = mount(the_exec("FROM busybox\nRUN --mount=type=cache,target=/root/.cache/ true\n"), "/root/.cache/")
    assert cache.cache == llb.CacheOpt("//root/.cache")
    assert (cache.type, cache.input, cache.output, cache.readonly) == (llb.MountType.CACHE, -1, -1, False)


def test_a_cache_with_everything() -> None:
    options = {"build-arg:BUILDKIT_CACHE_MOUNT_NS": "team"}
    op = the_exec(
        "FROM busybox\nARG ID=pip\n"
        "RUN --mount=type=cache,id=$ID,target=/c,sharing=locked,from=seed,source=/s,ro true\n",
        **options,
    )
    cache = mount(op, "/c")
    assert cache.cache == llb.CacheOpt("team/pip", llb.CacheSharing.LOCKED)
    assert (cache.input, cache.selector, cache.readonly) == (1, "/s", True)


def test_an_owned_cache_starts_with_a_directory_of_that_owner() -> None:
    result = converted("FROM busybox\nRUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0700 true\n")
    vertex = result.last
    assert isinstance(vertex.op, llb.ExecOp)
    cache = mount(vertex.op, "/c")
    assert cache.selector == "/cache"
    made = vertex.inputs[cache.input].vertex
    assert made.name == "[internal] setting cache mount permissions"
    assert isinstance(made.op, llb.FileOp)
    owner = llb.Chown(llb.User(id=5), llb.User(id=6))
    assert made.op.actions == (llb.FileAction(-1, llb.MkDir("/cache", 0o700, owner=owner), -1, 0),)


def test_tmpfs_with_a_size() -> None:
    tmpfs = mount(the_exec("FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=64m true\n"), "/t")
    assert (tmpfs.type, tmpfs.tmpfs_size, tmpfs.input) == (llb.MountType.TMPFS, 64 << 20, -1)


@pytest.mark.parametrize(
    ("text", "dest", "secret"),
    [
        ("id=npm", "/run/secrets/npm", llb.SecretOpt("npm", optional=True)),
        ("source=npm,required", "/run/secrets/npm", llb.SecretOpt("npm")),
        ("target=/root/.npmrc", "/root/.npmrc", llb.SecretOpt(".npmrc", optional=True)),
        ("id=a/b,uid=1,gid=2,mode=0440", "/run/secrets/b", llb.SecretOpt("a/b", 1, 2, 0o440, True)),
    ],
)
def test_a_secret_file(text: str, dest: str, secret: llb.SecretOpt) -> None:
    op = the_exec(f"FROM busybox\nRUN --mount=type=secret,{text} true\n")
    assert mount(op, dest).secret == secret
    assert op.secret_env == ()


def test_a_secret_in_the_environment_is_no_file_and_is_masked_in_the_name() -> None:
    result = converted("FROM busybox\nRUN --mount=type=secret,id=tok,env=TOKEN,required use $TOKEN\n")
    (op,) = result.execs()
    assert op.secret_env == (llb.SecretEnv("tok", "TOKEN"),)
    assert [item.dest for item in op.mounts] == ["/"]
    assert result.last.name.endswith("use ****")
    assert "TOKEN" not in env_of(op)


def test_a_secret_in_the_environment_and_in_a_file() -> None:
    op = the_exec("FROM busybox\nRUN --mount=type=secret,id=tok,env=TOKEN,target=/t true\n")
    assert len(op.secret_env) == 1
    assert mount(op, "/t").type is llb.MountType.SECRET


def test_an_agent_sets_the_variable_that_programs_look_for() -> None:
    op = the_exec("FROM busybox\nRUN --mount=type=ssh --mount=type=ssh,id=deploy,target=/a,required true\n")
    first, second = op.mounts[1:]
    assert (first.dest, first.ssh) == ("/run/buildkit/ssh_agent.0", llb.SSHOpt("default", optional=True))
    assert (second.dest, second.ssh) == ("/a", llb.SSHOpt("deploy"))
    assert env_of(op)["SSH_AUTH_SOCK"] == "/run/buildkit/ssh_agent.0"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--mount=target=/", "root directory"),
        ("--mount=type=ssh,source=/x", "no source"),
        ("--mount=type=bind,target=/a,size=3", "no 'size'"),
        ("--mount=type=cahce,target=/a", "cache"),
    ],
)
def test_a_mount_that_makes_no_sense_is_an_error_with_its_place(flag: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as raised:
        converted(f"FROM busybox\n\nRUN {flag} true\n")
    assert raised.value.source is not None
    assert raised.value.source.start == 3


def test_a_mount_from_a_later_stage_is_refused() -> None:
    with pytest.raises(DockerfileError, match="not built yet"):
        converted("FROM busybox AS a\nRUN --mount=from=b,target=/b true\nFROM busybox AS b\nRUN x\nFROM a\n")


# -- flags and options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "forced", "network"),
    [
        ("", "", llb.NetMode.UNSET),
        ("--network=none", "", llb.NetMode.NONE),
        ("--network=host", "none", llb.NetMode.HOST),
        ("--network=default", "host", llb.NetMode.HOST),
        ("", "sandbox", llb.NetMode.UNSET),
    ],
)
def test_the_network(flag: str, forced: str, network: llb.NetMode) -> None:
    op = the_exec(f"FROM busybox\nRUN {flag} true\n", **{"force-network-mode": forced})
    assert op.network is network


def test_security_and_devices() -> None:
    op = the_exec("FROM busybox\nRUN --security=insecure --device=vendor.com/gpu=0,required --device=x true\n")
    assert op.security is llb.SecurityMode.INSECURE
    assert op.cdi_devices == (llb.CDIDevice("vendor.com/gpu=0"), llb.CDIDevice("x", optional=True))


def test_what_the_request_adds_to_every_run() -> None:
    options = {
        "add-hosts": "db=10.0.0.7,six=::1",
        "shm-size": "1048576",
        "ulimit": "nofile=1024:4096,nproc=5",
        "hostname": "box",
        "cgroup-parent": "/builds",
        "memory": "1073741824",
        "cpusetcpus": "0-1",
        "build-arg:HTTP_PROXY": "http://proxy:3128",
        "build-arg:no_proxy": "localhost",
    }
    result = converted("FROM busybox\nRUN true\n", **options)
    (op,) = result.execs()
    assert op.meta.extra_hosts == (llb.HostIP("db", "10.0.0.7"), llb.HostIP("six", "::1"))
    assert mount(op, "/dev/shm").tmpfs_size == 1 << 20
    assert op.meta.ulimits == (llb.Ulimit("nofile", 1024, 4096), llb.Ulimit("nproc", 5, 5))
    assert (op.meta.hostname, op.meta.cgroup_parent) == ("box", "/builds")
    assert result.last.metadata.linux_resources == llb.LinuxResources(memory=1 << 30, cpuset_cpus="0-1")
    assert op.meta.proxy_env == llb.ProxyEnv(http_proxy="http://proxy:3128", no_proxy="localhost")


def test_proxies_are_neither_in_the_environment_nor_in_the_history() -> None:
    result = converted("FROM busybox\nRUN true\n", **{"build-arg:HTTP_PROXY": "http://secret:3128"})
    assert result.execs()[0].meta.env == (PATH,)
    assert not any("secret" in entry for entry in result.history)


@pytest.mark.parametrize(
    ("no_cache", "ignored"),
    [(None, [False, False]), ("", [True, True]), ("tools", [True, False]), ("TOOLS,x", [True, False])],
)
def test_steps_of_stages_without_cache_are_marked(no_cache: str | None, ignored: list[bool]) -> None:
    options = {} if no_cache is None else {"no-cache": no_cache}
    result = converted("FROM busybox AS tools\nRUN one\nFROM busybox\nCOPY --from=tools /a /a\nRUN two\n", **options)
    assert [result.named(f"RUN {name}").ignore_cache for name in ("one", "two")] == ignored
    assert result.named("COPY").ignore_cache is ignored[1]


def test_the_history_tells_arguments_and_the_shell() -> None:
    result = converted("FROM busybox\nARG A=1\nARG B\nARG C=x\nENV C=y\nRUN make\n")
    assert result.history[-1] == "RUN |3 A=1 B= C=y /bin/sh -c make # buildkit"
    assert not result.config.history[-1].empty_layer
    assert [entry.empty_layer for entry in result.config.history] == [True] * 4 + [False]


def test_the_name_shows_values_but_keeps_quotes_and_unknown_variables() -> None:
    result = converted("FROM busybox\nENV A=1\nrun echo \"$A\" '$A' $HOSTNAME ${A}\n")
    assert result.last.name == "[2/2] RUN echo \"1\" '$A' $HOSTNAME 1"


def test_the_name_of_a_script_has_its_first_line() -> None:
    assert converted("FROM busybox\nRUN <<EOF\n\nset -e\nmake\nEOF\n").last.name == "[2/2] RUN <<EOF (set -e...)"


def test_the_instruction_is_in_the_description() -> None:
    description = converted("FROM busybox\nRUN  make  all\n").last.metadata.description
    assert description["com.docker.dockerfile.v1.command"] == "RUN  make  all"


def test_a_bad_image_for_a_mount_is_told_with_the_line_of_the_run() -> None:
    bridge = yard(
        "FROM busybox\nRUN a\nRUN --mount=from=tols,target=/t b\n", missing=frozenset({"docker.io/library/tols:latest"})
    )
    with pytest.raises(DockerfileError, match="is not there") as raised:
        run_build(bridge)
    assert raised.value.source is not None
    assert raised.value.source.start == 3


def test_a_thousand_steps_convert() -> None:
    bridge: Yard = yard("FROM busybox\n" + "".join(f"RUN echo {number}\n" for number in range(1000)))
    assert run_build(bridge).images[0].edge is not None
