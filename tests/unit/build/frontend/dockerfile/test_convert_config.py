"""Instructions that only describe the image: config and history."""

from __future__ import annotations

import pytest

from boatyard.build.llb import graph as llb
from boatyard.errors import DockerfileError
from boatyard.image.spec import Healthcheck
from unit.build.frontend.dockerfile.converting import PATH, Converted, converted, run_build, yard


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("ENV A=1 B='x y'", ["ENV A=1 B=x y"]),
        ("ENV A some words", ["ENV A=some words"]),
        ('LABEL a=1 b.c="2"', ["LABEL a=1 b.c=2"]),
        ("EXPOSE 80 443/udp 8000-8001", ["EXPOSE [443/udp 80/tcp 8000/tcp 8001/tcp]"]),
        ("VOLUME /a /b", ["VOLUME [/a /b]"]),
        ('VOLUME ["/a b"]', ["VOLUME [/a b]"]),
        ("USER app:web", ["USER app:web"]),
        ("WORKDIR /srv", ["WORKDIR /srv"]),
        ("STOPSIGNAL SIGTERM", ["STOPSIGNAL SIGTERM"]),
        ('SHELL ["/bin/bash", "-c"]', ["SHELL [/bin/bash -c]"]),
        ('CMD ["a", "b \\" c"]', ['CMD ["a" "b \\" c"]']),
        ("CMD a b", ['CMD ["/bin/sh" "-c" "a b"]']),
        ('ENTRYPOINT ["a"]', ['ENTRYPOINT ["a"]']),
        ("ARG A\nARG B=1 C", ["ARG A", "ARG B=1 C"]),
        ("MAINTAINER me <me@example.org>", ["MAINTAINER me <me@example.org>"]),
        (
            "HEALTHCHECK --interval=1h30m --timeout=1.5s --start-period=100ms --retries=3 CMD curl -f x",
            [
                "HEALTHCHECK {Test:[CMD-SHELL curl -f x] Interval:1h30m0s Timeout:1.5s StartPeriod:100ms "
                "StartInterval:0s Retries:3}"
            ],
        ),
    ],
)
def test_the_history(lines: str, told: list[str]) -> None:
    assert converted(f"FROM busybox\n{lines}\n").history == told


def test_entries_name_the_frontend_and_have_no_layer() -> None:
    (entry,) = converted("FROM busybox\nENV A=1\n").config.history
    assert (entry.comment, entry.empty_layer, entry.created) == ("buildkit.dockerfile.v0", True, "")


def test_a_variable_that_is_set_again_keeps_its_place_in_the_config() -> None:
    result = converted("FROM busybox\nENV A=1 B=2\nENV A=$B\n")
    assert result.run_config.env == (PATH, "A=2", "B=2")


def test_labels_are_expanded_and_those_of_the_request_win() -> None:
    result = converted("FROM busybox\nARG V=1\nLABEL v=$V k=file\n", **{"label:k": "request", "label:n": "new"})
    assert result.run_config.labels == {"v": "1", "k": "request", "n": "new"}


def test_ports_may_come_from_variables() -> None:
    result = converted('FROM busybox\nARG PORTS="80 90/udp"\nEXPOSE $PORTS 100\n')
    assert result.run_config.exposed_ports == {"80/tcp": {}, "90/udp": {}, "100/tcp": {}}


def test_volumes() -> None:
    assert converted("FROM busybox\nARG D=/d\nVOLUME $D/x /y\n").run_config.volumes == {"/d/x": {}, "/y": {}}


def test_an_entrypoint_makes_the_bases_command_meaningless() -> None:
    base = {"docker.io/library/base:latest": {"config": {"Cmd": ["old"]}}}
    bridge = yard('FROM base\nENTRYPOINT ["new"]\n', images=base)
    config = Converted(bridge, run_build(bridge)).run_config
    assert (config.entrypoint, config.cmd) == (("new",), None)


@pytest.mark.parametrize("lines", ['CMD ["c"]\nENTRYPOINT ["e"]', 'ENTRYPOINT ["e"]\nCMD ["c"]'])
def test_a_command_of_the_same_stage_stays(lines: str) -> None:
    config = converted(f"FROM busybox\n{lines}\n").run_config
    assert (config.entrypoint, config.cmd, config.args_escaped) == (("e",), ("c",), True)


def test_the_shell_form_uses_the_shell_so_far() -> None:
    result = converted('FROM busybox\nENTRYPOINT a\nSHELL ["/bin/bash", "-c"]\nCMD b $X\n')
    assert result.run_config.entrypoint == ("/bin/sh", "-c", "a")
    assert result.run_config.cmd == ("/bin/bash", "-c", "b $X")
    assert result.run_config.shell == ("/bin/bash", "-c")


def test_a_health_check() -> None:
    check = converted('FROM busybox\nHEALTHCHECK --interval=30s --retries=2 CMD ["curl", "x"]\n').run_config
    assert check.healthcheck == Healthcheck(test=("CMD", "curl", "x"), interval=30 * 10**9, retries=2)


def test_no_health_check() -> None:
    check = converted("FROM busybox\nHEALTHCHECK NONE\n").run_config.healthcheck
    assert check == Healthcheck(test=("NONE",))


@pytest.mark.parametrize("signal", ["SIGTERM", "KILL", "9", "sigusr1", "SIGRTMIN+3", "RTMAX-1", "$S"])
def test_stop_signals(signal: str) -> None:
    result = converted(f"FROM busybox\nARG S=INT\nSTOPSIGNAL {signal}\n")
    assert result.run_config.stop_signal == signal.replace("$S", "INT")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("STOPSIGNAL SIGTREM", r"unknown signal 'SIGTREM' \(did you mean TERM\?\)"),
        ("STOPSIGNAL 0", "unknown signal"),
        ("STOPSIGNAL 65", "unknown signal"),
        ("EXPOSE 80/http", "unknown protocol"),
        ("EXPOSE $NONE", None),
        ('ARG E=\nVOLUME ["$E"]', "empty"),
    ],
)
def test_mistakes_that_show_only_after_expansion(lines: str, message: str | None) -> None:
    if message is None:
        assert converted(f"FROM busybox\n{lines}\n").run_config.exposed_ports == {}
    else:
        with pytest.raises(DockerfileError, match=message):
            converted(f"FROM busybox\n{lines}\n")


def test_the_author() -> None:
    assert converted("FROM busybox\nMAINTAINER me\n").config.author == "me"


# -- WORKDIR ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "directory"),
    [
        ("WORKDIR /a", "/a"),
        ("WORKDIR a", "/a"),
        ("WORKDIR /a\nWORKDIR b\nWORKDIR ../c", "/a/c"),
        ("ARG D=/x\nWORKDIR $D/y", "/x/y"),
        ("WORKDIR /a\nWORKDIR /", "/"),
    ],
)
def test_working_directories(lines: str, directory: str) -> None:
    assert converted(f"FROM busybox\n{lines}\n").run_config.working_dir == directory


def test_a_working_directory_is_made() -> None:
    result = converted("FROM busybox\nWORKDIR /a/../b/\n")
    assert result.last.name == "[2/2] WORKDIR /a/../b/"
    assert result.last.op == llb.FileOp((llb.FileAction(0, llb.MkDir("/b", 0o755, True), -1, 0),))
    assert not result.config.history[0].empty_layer
    assert result.last.platform is None


def test_a_working_directory_is_the_users() -> None:
    op = converted("FROM busybox\nUSER app:web\nWORKDIR /a\n").last.op
    assert isinstance(op, llb.FileOp)
    owner = llb.Chown(llb.User("app", None, 0), llb.User("web", None, 0))
    assert op.actions[0].action == llb.MkDir("/a", 0o755, True, owner)


def test_the_root_directory_needs_no_step() -> None:
    result = converted("FROM busybox\nWORKDIR /\nRUN x\n")
    assert result.config.history[0].empty_layer
    assert [name[:5] for name in result.names] == ["[1/3]", "[3/3]"]


def test_a_working_directory_on_scratch() -> None:
    op = converted("FROM scratch\nWORKDIR /a\n").last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].input == -1


def test_a_working_directory_of_a_named_user_on_scratch_is_refused() -> None:
    with pytest.raises(DockerfileError, match="can't be looked up"):
        converted("FROM scratch\nUSER app\nWORKDIR /a\n")
