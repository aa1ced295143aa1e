"""Stages, bases and contexts: FROM, COPY --from, --target, ONBUILD, named contexts, platforms."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from e2e.project import Project, outcomes, printed
from e2e.served import Served, commit_all, git
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "staged")


STAGES = """
    ARG FLAVOUR=plain
    FROM scratch AS plain
    COPY <<EOF /flavour
    plain
    EOF
    FROM scratch AS Fancy
    COPY <<EOF /flavour
    fancy
    EOF
    FROM ${FLAVOUR} AS chosen
    FROM scratch AS unused
    COPY nothing-like-it /
    FROM scratch AS final
    COPY --from=chosen / /chosen/
    COPY --from=0 /flavour /by-number
    COPY --from=FANCY /flavour /by-name
"""


def test_stages_are_found_by_name_number_and_argument(project: Project) -> None:
    tree = project.dockerfile(STAGES).tree()
    assert {name: tree.text(name) for name in ("chosen/flavour", "by-number", "by-name")} == {
        "chosen/flavour": "plain\n",
        "by-number": "plain\n",
        "by-name": "fancy\n",
    }
    assert project.tree("--build-arg", "FLAVOUR=fancy").text("chosen/flavour") == "fancy\n"


@pytest.mark.parametrize("target", ["fancy", "Fancy", "1"])
def test_a_target_ends_the_build_there(project: Project, target: str) -> None:
    tree = project.dockerfile(STAGES).tree("--target", target)
    assert tree.text("flavour") == "fancy\n"
    assert list(tree.entries) == ["flavour"]


MISTAKES = {
    ("FROM scratch AS build\nFROM scratch\nCOPY --from=biuld /a /b\n", ()): ["did you mean build", "Dockerfile:3"],
    ("FROM scratch AS build\nCOPY . /\n", ("--target", "buidl")): ["buidl", "did you mean build"],
    ("FROM scratch\nCOPY --from=1 /a /b\nFROM scratch\n", ("--target", "0")): ["Dockerfile:2"],
    ("FROM scratch\nCOPY --from=7 /a /b\n", ()): ["7", "Dockerfile:2"],
    ("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\n", ()): ["Dockerfile:2"],
    ("FORM scratch\nCOPY . /\n", ()): ["did you mean FROM", "Dockerfile:1"],
    ("FROM scratch\nWROKDIR /\n", ()): ["did you mean WORKDIR", "Dockerfile:2"],
    ("FROM busybx\n", ()): ["busybx", "Dockerfile:1", "busybox"],
    ("COPY . /\n", ()): ["FROM", "Dockerfile:1"],
    ("FROM scratch AS 1bad\nCOPY . /\n", ()): ["1bad", "Dockerfile:1"],
    ("FROM ${NONE}\nCOPY . /\n", ()): ["NONE", "Dockerfile:1"],
    ("FROM --platform=nonsense/what/is/it busybox\n", ()): ["nonsense", "Dockerfile:1"],
    ("FROM --platfrom=linux/amd64 busybox\n", ()): ["did you mean", "--platform", "Dockerfile:1"],
    ("FROM busybox\nRUN --mount=type=cahce,target=/x true\n", ()): ["did you mean cache", "Dockerfile:2"],
    ("FROM busybox\nRUN --mount=type=cache,traget=/x true\n", ()): ["did you mean target", "Dockerfile:2"],
    ("FROM busybox\nHEALTHCHECK --interval=5x CMD true\n", ()): ["5x", "Dockerfile:2"],
    ("FROM busybox\nSTOPSIGNAL SIGTREM\n", ()): ["SIGTREM", "did you mean", "Dockerfile:2"],
    ("FROM busybox\nENV a\n", ()): ["ENV", "Dockerfile:2"],
    ("FROM busybox\nONBUILD FROM x\n", ()): ["ONBUILD", "Dockerfile:2"],
    ("FROM busybox\nEXPOSE 99999\n", ()): ["99999", "Dockerfile:2"],
    ("FROM busybox\nSHELL /bin/sh\n", ()): ["SHELL", "Dockerfile:2"],
    ("", ()): ["empty"],
    ("# only a comment\n", ()): ["Dockerfile"],
}


@pytest.mark.parametrize(("mistake"), MISTAKES, ids=lambda mistake: " ".join(mistake[0].split())[:40])
def test_mistakes_are_shown_where_they_are_with_a_guess(project: Project, mistake: tuple[str, tuple[str, ...]]) -> None:
    text, arguments = mistake
    told = project.write({"Dockerfile": text}).fails(*arguments)
    assert all(part in told for part in MISTAKES[mistake]), told


def test_a_missing_dockerfile_is_told_with_what_is_there(project: Project) -> None:
    told = project.write({"Containerfile": "FROM scratch\nCOPY . /\n"}).fails()
    assert "there is no Dockerfile" in told
    assert "Containerfile" in told
    assert "Containerfile" in project.tree("-f", project.directory / "Containerfile")


def test_triggers_of_a_base_run_once_before_the_stages_own_steps(project: Project) -> None:
    project.write({"Dockerfile": """
        FROM busybox
        ONBUILD ARG WHO=nobody
        ONBUILD COPY app /app
        ONBUILD RUN <<EOT
        echo "triggered for $WHO" > /log
        EOT
        ONBUILD ENV TRIGGERED=yes
        RUN echo base > /log
        """, "app": "base's own"})  # fmt: skip
    base = project.image("-t", "with-triggers")
    assert len(base["Config"]["OnBuild"]) == 4
    child = Project(project.yard, project.directory.parent / "child")
    child.write(
        {
            "app": "child",
            "Dockerfile": "FROM with-triggers\nRUN cat /log /app >> /log2; env | grep TRIGGERED >> /log2\n",
        }
    )
    tree = child.tree("--build-arg", "WHO=me")
    assert tree.text("log2") == "triggered for me\nchildTRIGGERED=yes\n"
    config = child.image("-t", "grandparent")["Config"]
    assert not config.get("OnBuild")
    child.dockerfile("FROM grandparent\nRUN cat /log\n")
    assert printed(child.build("--no-cache")) == ["triggered for nobody"]
    told = child.dockerfile("FROM with-triggers\nCOPY missing /\n").fails()
    assert "Dockerfile:2" in told


def test_a_base_keeps_its_config_and_gives_it_on(project: Project) -> None:
    project.dockerfile("""
        FROM busybox AS base
        MAINTAINER me@example.test
        LABEL one=1 "two words"="2 words"
        ENV A=1 B="two words"
        EXPOSE 80 53/udp 7000-7002
        VOLUME ["/data", "/more", "/most"]
        USER 5:6
        WORKDIR /base
        SHELL ["/bin/sh", "-ec"]
        STOPSIGNAL SIGQUIT
        HEALTHCHECK --interval=5m --timeout=3s --start-period=10s --start-interval=1s --retries=4 CMD test -e /ok
        ENTRYPOINT ["/bin/echo"]
        CMD ["from base"]
        FROM base AS child
        LABEL three=3
        ENV A=changed
        ENTRYPOINT exec top -b
        HEALTHCHECK NONE
        """)
    base = project.image("--target", "base")
    assert base["Author"] == "me@example.test"
    config = base["Config"]
    assert config["Labels"] == {"one": "1", "two words": "2 words"}
    assert config["Env"][1:] == ["A=1", "B=two words"]
    assert sorted(config["ExposedPorts"]) == ["53/udp", "7000/tcp", "7001/tcp", "7002/tcp", "80/tcp"]
    assert sorted(config["Volumes"]) == ["/data", "/more", "/most"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("5:6", "/base", "SIGQUIT")
    assert config["Shell"] == ["/bin/sh", "-ec"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/echo"], ["from base"])
    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /ok"], "Interval": 300_000_000_000, "Timeout": 3_000_000_000,
        "StartPeriod": 10_000_000_000, "StartInterval": 1_000_000_000, "Retries": 4,
    }  # fmt: skip
    child = project.image("--label", "four=4")["Config"]
    assert child["Labels"] == {"one": "1", "two words": "2 words", "three": "3", "four": "4"}
    assert child["Env"][1:] == ["A=changed", "B=two words"]
    assert child["Entrypoint"] == ["/bin/sh", "-ec", "exec top -b"]
    assert not child.get("Cmd")  # a new ENTRYPOINT undoes the base's CMD
    assert child["Healthcheck"] == {"Test": ["NONE"]}


def test_what_an_image_says_holds_when_it_runs(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        RUN mkdir /w && chown 5:6 /w
        USER 5:6
        WORKDIR /w
        ENV X="a b"
        ENTRYPOINT ["/bin/sh", "-c", "echo $0 $X; pwd; id -u; id -g"]
        CMD ["default"]
        """)
    project.build("-t", "running-as-told")
    run = project.yard.run
    assert run("run", "--rm", "running-as-told").stdout == "default a b\n/w\n5\n6\n"
    assert run("run", "--rm", "running-as-told", "other").stdout == "other a b\n/w\n5\n6\n"


def test_working_directories_are_made_and_belong_to_whom_docker_gives_them(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        USER 5:6
        WORKDIR /made/by
        WORKDIR user
        RUN echo x > /tmp/file && pwd
        WORKDIR ../up
        USER 0
        WORKDIR /root-made
        WORKDIR /tmp
        """)
    tree = project.tree()
    assert project.image()["Config"]["WorkingDir"] == "/tmp"
    assert tree.mode("tmp") == "1777"
    assert tree.mode("made/by/user") == "755"
    assert "made/by/up" in tree
    assert tree.owner("root-made") == (0, 0)
    assert tree.owner("tmp/file") == (5, 6)
    # BuildKit makes them root's, whatever USER says.
    assert {tree.owner(path) for path in ("made", "made/by", "made/by/user")} == {tree.owner("made/by/up")}


def test_named_contexts_replace_bases_and_give_files(project: Project) -> None:
    other = write_files(project.directory.parent / "other", {"f": "from directory", ".dockerignore": "no\n", "no": "x"})
    stage = write_files(project.directory.parent / "stage", {"made": "instead of the stage"})
    project.dockerfile("""
        FROM alpine:3.99 AS base
        FROM base AS slow
        RUN exit 1
        FROM base
        COPY --from=other / /dir/
        COPY --from=slow /made /made
        RUN --mount=from=other,target=/o cat /o/f > /mounted
        """)
    tree = project.tree(
        "--build-context", "alpine:3.99=docker-image://busybox", "--build-context", f"other={other}",
        "--build-context", f"slow={stage}",
    )  # fmt: skip
    assert tree.below("dir") == [".dockerignore", "f"]
    assert tree.text("made") == "instead of the stage"
    assert tree.text("mounted") == "from directory"
    assert "bin/busybox" in tree


def test_an_oci_layout_is_a_base(project: Project, tmp_path: Path) -> None:
    project.dockerfile("FROM busybox\nLABEL packed=1\nRUN echo packed > /packed\n")
    project.build("-o", f"type=oci,name=packed:9,dest={tmp_path}/layout.tar")
    with tarfile.open(tmp_path / "layout.tar") as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    project.dockerfile("FROM packed\nRUN cat /packed > /unpacked\n")
    arguments = ["--build-context", f"packed=oci-layout://{tmp_path}/layout:9"]
    assert project.tree(*arguments).text("unpacked") == "packed\n"
    assert project.image(*arguments)["Config"]["Labels"] == {"packed": "1"}
    assert "CACHED" in project.build(*arguments)
    told = project.fails("--build-context", f"packed=oci-layout://{tmp_path}/layout:8")
    assert "8" in told
    assert "9" in told


def test_a_repository_is_a_context_and_a_named_context(project: Project, tmp_path: Path, served: Served) -> None:
    source = write_files(served.directory / "repo", {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "1", "sub/g": "2",
                                                     "sub/Dockerfile": "FROM scratch\nCOPY g /g\n"})  # fmt: skip
    commit_all(source)
    git(source, "tag", "v1")
    git(source, "update-server-info")
    url = f"{served.url}/repo/.git"
    assert project.tree(context=url).text("f") == "1"
    assert project.tree(context=f"{url}#v1:sub").text("g") == "2"
    assert "no branch or tag 'v2'" in project.yard.fails("build", f"{url}#v2")
    project.dockerfile("FROM scratch\nCOPY --from=repo /sub/g /g\n")
    assert project.tree("--build-context", f"repo={url}#main").text("g") == "2"


def test_several_platforms_of_a_scratch_image_make_an_index(project: Project, tmp_path: Path) -> None:
    project.dockerfile("""
        FROM --platform=$BUILDPLATFORM busybox AS build
        ARG TARGETPLATFORM TARGETARCH TARGETVARIANT
        RUN echo "$TARGETPLATFORM $TARGETARCH$TARGETVARIANT" > /for
        FROM scratch
        COPY --from=build /for /for
        """)
    out = tmp_path / "multi"
    told = project.build(
        "--platform", "linux/amd64,linux/arm64,linux/arm/v7", "-o", f"type=oci,dest={out}.tar", "-o", str(out)
    )
    assert "->arm64" in told
    assert (out / "linux_amd64/for").read_text() == "linux/amd64 amd64\n"
    assert (out / "linux_arm64/for").read_text() == "linux/arm64 arm64\n"
    assert (out / "linux_arm_v7/for").read_text() == "linux/arm/v7 armv7\n"
    with tarfile.open(f"{out}.tar") as tar:
        top = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        digest = top["manifests"][0]["digest"].partition(":")[2]
        index = json.load(tar.extractfile(f"blobs/sha256/{digest}"))  # type: ignore[arg-type]
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    platforms = [entry["platform"] for entry in index["manifests"]]
    assert platforms == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
    ]


def test_a_step_for_another_platform_says_what_it_needs(project: Project) -> None:
    """The kernel refuses the program, as it does one of another architecture without an emulator."""
    project.write({"Dockerfile": 'FROM scratch\nCOPY --chmod=755 x /\nRUN ["/x"]\n', "x": b"\x7fELF\2\1\1" + bytes(57)})
    told = project.fails("--platform", "linux/loong64")
    assert "linux/loong64" in told
    assert "boat platform install loong64" in told
    assert "Dockerfile:3" in told


def test_independent_stages_run_at_the_same_time(project: Project) -> None:
    """Each waits for the other, through a cache mount that they share."""
    wait = "i=0; until test -e /m/{0} || test $i = 400; do i=$((i+1)); usleep 25000; done; test -e /m/{0} && touch /ok"
    project.dockerfile(f"""
        FROM busybox AS a
        RUN --mount=type=cache,id=meet,target=/m touch /m/a; {wait.format("b")}
        FROM busybox AS b
        RUN --mount=type=cache,id=meet,target=/m touch /m/b; {wait.format("a")}
        FROM scratch
        COPY --from=a /ok /a
        COPY --from=b /ok /b
        """)
    told = project.build("--no-cache")
    steps = {text: how for text, how in outcomes(told).items() if not text.startswith("FROM")}
    assert set(steps.values()) == {"DONE"}
    project.yard.run("builder", "cache-mount", "rm", "meet")
