"""ARG, ENV, the expansion forms, heredocs and the escape directive, as they arrive in files and configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.project import Project, printed
from e2e.yard import Yard

pytestmark = pytest.mark.runtime

# How an ENV value is written, and what it comes to: SET=value, EMPTY is empty, UNSET isn't there.
EXPANSIONS = {
    "$SET": "value",
    "${SET}": "value",
    "x${SET}y": "xvaluey",
    "${UNSET}": "",
    "${SET:-d}": "value",
    "${EMPTY:-d}": "d",
    "${EMPTY-d}": "",
    "${UNSET:-d}": "d",
    "${UNSET-d}": "d",
    "${UNSET:-${SET}}": "value",
    "${UNSET:-a b}": "a b",
    "${SET:+a}": "a",
    "${EMPTY:+a}": "",
    "${EMPTY+a}": "a",
    "${UNSET+a}": "",
    "${SET:?m}": "value",
    "${EMPTY?m}": "",
    "${FILE#*/}": "b/c.tar.gz",
    "${FILE##*/}": "c.tar.gz",
    "${FILE%.*}": "a/b/c.tar",
    "${FILE%%.*}": "a/b/c",
    "${FILE/a/A}": "A/b/c.tar.gz",
    "${FILE//\\//_}": "a_b_c.tar.gz",
    "\\$SET": "$SET",
    "'$SET'": "$SET",
    '"$SET"': "value",
    '"a \\"b\\" $SET"': 'a "b" value',
}


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "variables")


def test_every_expansion_form_works_in_env_label_and_workdir(project: Project) -> None:
    lines = [f"ENV V{number}={form.replace(' ', chr(92) + ' ') if form[0] not in QUOTES else form}"
             for number, form in enumerate(EXPANSIONS)]  # fmt: skip
    project.dockerfile(
        "FROM scratch\nENV SET=value EMPTY= FILE=a/b/c.tar.gz\n" + "\n".join(lines) + "\nLABEL of=${FILE##*.}\n"
        "WORKDIR /w/${SET}\nUSER ${UNSET:-1000}\nEXPOSE ${PORT:-80}\nVOLUME /v/$SET\nSTOPSIGNAL ${UNSET:-SIGINT}\n"
        "COPY Dockerfile${UNSET} ${SET}.txt\n"
    )
    config = project.image()["Config"]
    env = dict(pair.split("=", 1) for pair in config["Env"])
    assert {form: env[f"V{number}"] for number, form in enumerate(EXPANSIONS)} == EXPANSIONS
    assert config["Labels"] == {"of": "gz"}
    assert config["WorkingDir"] == "/w/value"
    assert config["User"] == "1000"
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Volumes"] == {"/v/value": {}}
    assert config["StopSignal"] == "SIGINT"
    assert "w/value/value.txt" in project.tree()


QUOTES = "'\""


def test_a_required_variable_ends_the_build_with_its_message_and_line(project: Project) -> None:
    project.dockerfile('FROM scratch\nARG VERSION\nLABEL v="${VERSION:?say which version}"\nCOPY . /\n')
    told = project.fails()
    assert "VERSION: say which version" in told
    assert "Dockerfile:3" in told
    assert "--build-arg VERSION=" in told
    project.build("--build-arg", "VERSION=1")


def test_arguments_are_seen_where_they_are_declared_and_nowhere_else(project: Project) -> None:
    project.dockerfile(
        """
        ARG GLOBAL=global
        ARG BASE=busybox
        FROM ${BASE} AS one
        RUN echo "[$GLOBAL]" > /before
        ARG GLOBAL
        ARG OWN=own-$GLOBAL
        RUN echo "[$GLOBAL $OWN]" > /after
        ARG OWN=again
        RUN echo "[$OWN]" > /again
        ENV OWN=env
        ARG OWN=arg
        RUN echo "[$OWN]" > /env
        ARG NONE
        RUN echo "[${NONE-unset}]" > /none

        FROM one AS child
        RUN echo "[$GLOBAL]" > /child

        FROM busybox
        COPY --from=child /before /after /again /env /none /child /out/
        RUN echo "[$GLOBAL $OWN]" > /out/sibling
        """
    )
    tree = project.tree("--build-arg", "NONE=given")
    out = {name: tree.text(f"out/{name}").strip() for name in tree.below("out")}
    assert out == {
        "before": "[]",
        "after": "[global own-global]",
        "again": "[again]",
        "env": "[env]" if "[env]" in out["env"] else "[arg]",
        "none": "[given]",
        "child": "[global]",
        "sibling": "[ ]",
    }
    assert out["env"] == "[arg]"  # as BuildKit does: the later ARG wins in the stage, ENV in the image
    overridden = project.tree("--build-arg", "GLOBAL=mine", "--build-arg", "OWN=x", "--build-arg", "NONE=given")
    assert overridden.text("out/after") == "[mine x]\n"


def test_a_build_argument_without_value_is_taken_from_the_environment(yard: Yard, tmp_path: Path) -> None:
    project = Project(yard, tmp_path / "taken", {"FROM_HERE": "1 2"})
    project.dockerfile("FROM scratch\nARG FROM_HERE=no\nENV X=$FROM_HERE\nCOPY . /\n")
    assert "X=1 2" in project.image("--build-arg", "FROM_HERE")["Config"]["Env"]


def test_an_undeclared_build_argument_is_a_warning(project: Project) -> None:
    project.dockerfile("FROM scratch\nARG VERSION\nCOPY . /\n")
    told = project.build("--build-arg", "VERSON=1")
    assert "VERSON" in told
    assert "VERSION" in told


def test_platform_arguments_name_both_sides(project: Project) -> None:
    names = [side + part for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "ARCH", "VARIANT")]
    project.dockerfile(
        "FROM busybox AS final\n" + "".join(f"ARG {name}\n" for name in (*names, "TARGETSTAGE"))
        + "RUN " + "".join(f"echo {name}=${name}; " for name in (*names, "TARGETSTAGE")) + "\n"
    )  # fmt: skip
    assert printed(project.build("--no-cache")) == [
        "BUILDPLATFORM=linux/amd64",
        "BUILDOS=linux",
        "BUILDARCH=amd64",
        "BUILDVARIANT=",
        "TARGETPLATFORM=linux/amd64",
        "TARGETOS=linux",
        "TARGETARCH=amd64",
        "TARGETVARIANT=",
        "TARGETSTAGE=final",
    ]


def test_env_of_the_same_line_is_not_seen_there(project: Project) -> None:
    project.dockerfile("FROM scratch\nENV a=1\nENV a=2 b=$a\nENV legacy some value\nCOPY . /\n")
    assert {"a=2", "b=1", "legacy=some value"} <= set(project.image()["Config"]["Env"])


def test_heredocs_of_run(project: Project) -> None:
    project.dockerfile(
        """
        FROM busybox
        ARG WHO=world
        ENV WHERE=here
        WORKDIR /out
        RUN <<EOT
        echo "hello $WHO" > script
        pwd >> script
        false
        true
        EOT
        RUN <<'EOT'
        echo "quoted $WHO" > quoted
        EOT
        RUN <<EOT
        #!/bin/awk -f
        BEGIN { print "awk $WHERE" > "/out/interpreter" }
        EOT
        RUN cat <<ONE > one && cat <<"TWO" > two
        1 $WHO
        ONE
        2 $WHO
        TWO
        RUN <<-TABS cat > tabs
        \tindented
        \t\ttwice
        \tTABS
        RUN sh -s <<NUMBER 3<<THREE
        cat <&3 > third
        NUMBER
        from three
        THREE
        SHELL ["/bin/sh", "-ec"]
        RUN <<EOT
        echo shell > shell
        EOT
        """.replace("\\t", "\t")
    )
    tree = project.tree()
    assert {name: tree.text(f"out/{name}") for name in tree.below("out")} == {
        "script": "hello world\n/out\n",
        "quoted": "quoted world\n",  # the shell still expands what the Dockerfile didn't
        "interpreter": "awk $WHERE\n",
        "one": "1 world\n",
        "two": "2 $WHO\n",
        "tabs": "indented\ntwice\n",
        "third": "from three\n",
        "shell": "shell\n",
    }


def test_heredocs_of_copy_and_add(project: Project) -> None:
    project.dockerfile(
        """
        FROM scratch
        ARG WHO=world
        COPY <<one.txt <<"two.txt" plain /dir/
        hello $WHO \\$WHO "quoted"
        one.txt
        hello $WHO
        two.txt
        COPY --chmod=640 --chown=3:4 <<EOF /renamed
        a\\
        b
        EOF
        ADD <<-EOF /tabs
        \t\tx
        \tEOF
        COPY <<empty /dir/
        empty
        """.replace("\\t", "\t")
    ).write({"plain": "plain"})
    tree = project.tree()
    assert tree.text("dir/one.txt") == 'hello world $WHO "quoted"\n'
    assert tree.text("dir/two.txt") == "hello $WHO\n"
    assert tree.text("dir/plain") == "plain"
    assert tree.text("dir/empty") == ""
    assert (tree.mode("renamed"), tree.owner("renamed")) == ("640", (3, 4))
    assert tree.text("tabs") == "x\n"
    assert tree.mode("dir/one.txt") == "644"


def test_backtick_as_escape_leaves_backslashes_alone(project: Project) -> None:
    project.dockerfile(
        """
        # escape=`
        FROM busybox
        ENV P=C:\\dir\\file Q=a` b R=`$P S="x`"y"
        RUN echo one `
            # a comment between

            two > /joined
        RUN printf '%s' "a\\tb" > /slash
        """
    )
    config = project.image()["Config"]
    assert {"P=C:\\dir\\file", "Q=a b", "R=$P", 'S=x"y'} <= set(config["Env"])
    tree = project.tree()
    assert tree.text("joined") == "one two\n"
    assert tree.text("slash") == "a\\tb"


def test_a_syntax_directive_needs_no_network(project: Project) -> None:
    project.dockerfile("# syntax=docker/dockerfile:1.7-labs\nFROM scratch\nCOPY <<EOF /a\n1\nEOF\n")
    assert project.tree().text("a") == "1\n"
    project.dockerfile("# syntax=example.com/other:1\nFROM scratch\nCOPY . /\n")
    assert "BUILDKIT_SYNTAX=dockerfile.v0" in project.fails()
    project.build("--build-arg", "BUILDKIT_SYNTAX=dockerfile.v0")
