"""`boat bake`: several targets together, whatever they are written in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from e2e.project import Tree, printed
from e2e.served import Served, commit_all, git
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


@dataclass
class Bakery:
    """A directory with a definition, baked by one yard."""

    yard: Yard
    directory: Path

    def write(self, files: Mapping[str, str]) -> Bakery:
        write_files(self.directory, {name: dedent(text).lstrip("\n") for name, text in files.items()})
        return self

    def bake(self, *arguments: str | Path) -> str:
        """What the progress said, and what was printed."""
        done = self.yard.run("bake", "--progress=plain", *arguments, cwd=self.directory)
        return done.stderr + done.stdout

    def fails(self, *arguments: str | Path, **environment: str) -> str:
        return self.yard.fails("bake", "--progress=plain", *arguments, cwd=self.directory, environment=environment)

    def tree(self, name: str) -> Tree:
        return Tree((self.directory / name).read_bytes())

    def written(self, path: str) -> str:
        return (self.directory / path).read_text()


@pytest.fixture
def bakery(yard: Yard, tmp_path: Path) -> Bakery:
    directory = tmp_path / "bakery"
    directory.mkdir()
    return Bakery(yard, directory)


STAGES = """
    FROM busybox AS shared
    ARG SALT
    RUN cat /proc/sys/kernel/random/uuid > /made && echo "made once $SALT"
    FROM shared AS one
    RUN echo one > /one
    FROM shared AS two
    RUN echo two > /two
"""

TWO = """
    group "default" {
      targets = ["one", "two"]
    }
    target "_both" {
      args = { SALT = "%s" }
    }
    target "one" {
      inherits = ["_both"]
      target = "one"
      output = ["type=tar,dest=one.tar"]
    }
    target "two" {
      inherits = ["_both"]
      target = "two"
      output = [{ type = "tar", dest = "two.tar" }]
    }
"""


def test_what_targets_share_is_done_once(bakery: Bakery) -> None:
    bakery.write({"Dockerfile": STAGES, "docker-bake.hcl": TWO % "shared"})
    progress = bakery.bake()
    assert printed(progress).count("made once shared") == 1
    one, two = bakery.tree("one.tar"), bakery.tree("two.tar")
    assert one.text("one") == "one\n"
    assert two.text("two") == "two\n"
    assert one.text("made") == two.text("made")
    assert re.search(r"\[one one 1/1\] RUN echo one", progress)
    assert re.search(r"\[two two 1/1\] RUN echo two", progress)


def test_what_targets_share_is_done_once_without_the_cache_too(bakery: Bakery) -> None:
    bakery.write({"Dockerfile": STAGES, "docker-bake.hcl": TWO % "anew"})
    bakery.bake()
    before = bakery.tree("one.tar").text("made")
    progress = bakery.bake("--no-cache")
    assert printed(progress).count("made once anew") == 1
    assert bakery.tree("one.tar").text("made") == bakery.tree("two.tar").text("made") != before


LINKED = {
    "base/Dockerfile": """
        FROM busybox
        ENV FROM_BASE=yes
        WORKDIR /work
        COPY word .
        RUN cat /proc/sys/kernel/random/uuid > made && echo "base made"
    """,
    "base/word": "of base\n",
    "app/Dockerfile": """
        FROM basement
        COPY word other
        RUN echo "$FROM_BASE $(cat word)" > said
    """,
    "app/word": "of app\n",
    "tool/Dockerfile": """
        FROM scratch
        COPY --from=basement /work/made /
    """,
    "docker-bake.hcl": """
        target "base" {
          context = "base"
        }
        target "app" {
          context = "app"
          contexts = { basement = "target:base" }
          output = ["type=tar,dest=app.tar"]
        }
        target "tool" {
          context = "tool"
          contexts = { basement = "target:base" }
          output = ["type=tar,dest=tool.tar"]
        }
    """,
}


def test_a_target_is_built_on_another_one_which_is_built_once(bakery: Bakery) -> None:
    bakery.write(LINKED)
    progress = bakery.bake("app", "tool", "base")
    assert printed(progress).count("base made") == 1
    app, tool = bakery.tree("app.tar"), bakery.tree("tool.tar")
    assert app.text("work/word") == "of base\n"
    assert app.text("work/other") == "of app\n"
    assert app.text("work/said") == "yes of base\n"
    assert app.text("work/made") == tool.text("made")
    assert "[base 4/4] RUN" in progress
    assert "[base internal] load metadata for docker.io/library/busybox:latest" in progress


def test_of_a_target_that_is_only_linked_to_no_more_is_built_than_is_used(bakery: Bakery) -> None:
    bakery.write(
        {
            "Dockerfile": """
                FROM busybox AS used
                RUN echo useful > /file
                FROM used
                RUN echo "never needed" && exit 3
            """,
            "app.Dockerfile": "FROM scratch\nCOPY --from=half /file /\n",
            "docker-bake.hcl": """
                target "half" {
                  target = "used"
                }
                target "whole" {
                }
                target "app" {
                  dockerfile = "app.Dockerfile"
                  contexts = { half = "target:half", unused = "target:whole" }
                  output = ["type=tar,dest=app.tar"]
                }
            """,
        }
    )
    bakery.bake("app")
    assert bakery.tree("app.tar").text("file") == "useful\n"


def test_links_go_over_several_targets_each_with_its_own_secrets(bakery: Bakery) -> None:
    bakery.write(
        {
            "first.txt": "first\n",
            "second.txt": "second\n",
            "one.Dockerfile": "FROM busybox\nRUN --mount=type=secret,id=word cat /run/secrets/word > /one\n",
            "two.Dockerfile": "FROM under\nRUN --mount=type=secret,id=word cat /run/secrets/word > /two\n",
            "three.Dockerfile": "FROM under\nRUN test ! -e /run/secrets/word && cat /one /two > /three\n",
            "docker-bake.hcl": """
                target "one" {
                  dockerfile = "one.Dockerfile"
                  secret = ["id=word,src=first.txt"]
                }
                target "two" {
                  dockerfile = "two.Dockerfile"
                  contexts = { under = "target:one" }
                  secret = ["id=word,src=second.txt"]
                }
                target "three" {
                  dockerfile = "three.Dockerfile"
                  contexts = { under = "target:two" }
                  output = ["type=tar,dest=three.tar"]
                }
            """,
        }
    )
    bakery.bake("three")
    assert bakery.tree("three.tar").text("three") == "first\nsecond\n"


def test_a_matrix_makes_a_target_of_each_combination(bakery: Bakery) -> None:
    bakery.write(
        {
            "Dockerfile": "FROM busybox\nARG VERSION\nRUN echo $VERSION > /version\n",
            "docker-bake.hcl": """
                target "app" {
                  name = "app-${sanitize(version)}"
                  matrix = { version = ["1.0", "2.0"] }
                  args = { VERSION = version }
                  output = ["type=tar,dest=${version}.tar"]
                }
            """,
        }
    )
    bakery.bake("app")
    assert [bakery.tree(f"{version}.tar").text("version") for version in ("1.0", "2.0")] == ["1.0\n", "2.0\n"]


def test_compose_files_are_built_with_their_services_as_contexts(bakery: Bakery, yard: Yard) -> None:
    bakery.write(
        {
            ".env": "WORD=environment\n",
            "compose.yaml": """
                services:
                  base:
                    build:
                      dockerfile_inline: |
                        FROM busybox
                        ARG WORD
                        RUN echo $$WORD > /word
                      args: [WORD]
                  web:
                    image: compose-web
                    build:
                      context: web
                      additional_contexts: {base: "service:base"}
                      labels: {shelf: top}
                  unbuilt:
                    image: busybox
            """,
            "web/Dockerfile": "FROM base\nCOPY page /\n",
            "web/page": "hello\n",
        }
    )
    bakery.bake("--set", "web.output+=type=tar,dest=web.tar")
    tree = bakery.tree("web.tar")
    assert (tree.text("word"), tree.text("page")) == ("environment\n", "hello\n")
    bakery.bake("web")
    labels = yard.run("image", "inspect", "--format", "{{json .Config.Labels}}", "compose-web").stdout
    assert json.loads(labels) == {"shelf": "top"}


def test_overrides_change_what_is_built(bakery: Bakery) -> None:
    bakery.write(
        {
            "Dockerfile": "FROM busybox\nARG A=a\nARG B=b\nRUN echo $A $B > /said\n",
            "docker-bake.hcl": """
                variable "B" {
                  default = "from the file"
                }
                target "default" {
                  args = { B = B }
                  output = ["type=tar,dest=out.tar"]
                }
            """,
        }
    )
    bakery.bake("--set", "*.args.A=set", "--var", "B=given")
    assert bakery.tree("out.tar").text("said") == "set given\n"
    override = {"docker-bake.override.hcl": 'target "default" {\n  args = { A = "overridden" }\n}\n'}
    bakery.write(override).bake()
    assert bakery.tree("out.tar").text("said") == "overridden from the file\n"


def test_the_first_target_that_fails_is_named_and_ends_the_others(bakery: Bakery, yard: Yard) -> None:
    bakery.write(
        {
            "good.Dockerfile": "FROM busybox\nRUN mkfifo /never && cat /never\n",
            "bad.Dockerfile": "FROM busybox\nRUN echo about to fail && exit 7\n",
            "docker-bake.hcl": """
                target "good" {
                  dockerfile = "good.Dockerfile"
                  output = ["type=tar,dest=good.tar"]
                }
                target "bad" {
                  dockerfile = "bad.Dockerfile"
                }
            """,
        }
    )
    error = bakery.fails("good", "bad")
    assert "a step failed: [bad 2/2] RUN echo about to fail && exit 7" in error
    assert "| about to fail" in error
    assert "CANCELLED" in error
    assert not (bakery.directory / "good.tar").exists()
    assert "running" not in yard.run("builder", "history", "--format", "{{.Status}}").stdout


def test_what_is_wrong_with_a_dockerfile_names_the_target(bakery: Bakery) -> None:
    bakery.write(
        {
            "Dockerfile": "FORM scratch\n",
            "docker-bake.hcl": 'group "default" {\n  targets = ["a", "b"]\n}\ntarget "a" {}\ntarget "b" {}\n',
        }
    )
    error = bakery.fails()
    assert re.search(r"error: target [ab]: unknown instruction", error)
    assert "did you mean FROM" in error


def test_checking_looks_at_all_targets(bakery: Bakery, yard: Yard) -> None:
    bakery.write(
        {
            "a.Dockerfile": "FROM busybox AS A\n",
            "b.Dockerfile": "FROM busybox\nRUN true\n",
            "docker-bake.hcl": """
                target "a" {
                  dockerfile = "a.Dockerfile"
                  description = "The first"
                }
                target "b" {
                  dockerfile = "b.Dockerfile"
                }
            """,
        }
    )
    done = yard.run("bake", "--check", "a", "b", cwd=bakery.directory, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("a\nThe first\n\n")
    assert "StageNameCasing" in done.stdout
    assert "\nb\n\nCheck complete, no warnings found.\n" in done.stdout
    called = yard.run("bake", "--call=targets,format=json", "b", cwd=bakery.directory)
    document = json.loads(called.stdout)
    assert document["target"]["b"]["targets"]["targets"][0]["base"] == "busybox"
    assert document["target"]["b"]["build"]["dockerfile"] == "b.Dockerfile"


def test_metadata_tells_of_each_target(bakery: Bakery) -> None:
    bakery.write(
        {
            "Dockerfile": "FROM busybox\n",
            "docker-bake.hcl": 'target "a" {\n  tags = ["bake-a"]\n}\ntarget "b" {\n  tags = ["bake-b"]\n}\n',
        }
    )
    bakery.bake("--metadata-file", "known.json", "a", "b")
    known = json.loads(bakery.written("known.json"))
    assert {name: each["image.name"] for name, each in known.items()} == {
        "a": "docker.io/library/bake-a:latest",
        "b": "docker.io/library/bake-b:latest",
    }


def test_files_outside_must_be_allowed(bakery: Bakery) -> None:
    bakery.write(
        {
            "inner/docker-bake.hcl": """
                target "default" {
                  context = ".."
                  dockerfile-inline = "FROM scratch\\nCOPY word /\\n"
                  output = ["type=tar,dest=out.tar"]
                }
            """,
            "word": "outside\n",
        }
    )
    inner = Bakery(bakery.yard, bakery.directory / "inner")
    error = inner.fails()
    assert f"--allow=fs.read={bakery.directory}" in error
    inner.bake("--allow", "fs.read=..")
    assert inner.tree("out.tar").text("word") == "outside\n"


def test_what_a_linked_target_is_allowed_must_be_allowed(bakery: Bakery) -> None:
    bakery.write(
        {
            "Dockerfile": "FROM busybox\nRUN true\n",
            "docker-bake.hcl": """
                target "wide" {
                  network = "host"
                }
                target "app" {
                  dockerfile-inline = "FROM wide"
                  contexts = { wide = "target:wide" }
                }
            """,
        }
    )
    assert "--allow=network.host" in bakery.fails("app")


@pytest.fixture
def repository(served: Served) -> str:
    """The URL of a git repository with a definition in it."""
    work = served.directory / "work"
    write_files(
        work,
        {
            "docker-bake.hcl": dedent(
                """
                target "default" {
                  output = ["type=tar,dest=out.tar"]
                }
                target "inner" {
                  context = "sub"
                  output = ["type=tar,dest=inner.tar"]
                }
                target "here" {
                  context = BAKE_CMD_CONTEXT
                  dockerfile-inline = "FROM scratch\\nCOPY local /\\n"
                  output = ["type=tar,dest=here.tar"]
                }
                """
            ),
            "Dockerfile": "FROM scratch\nCOPY word /\n",
            "word": "from the repository\n",
            "sub/Dockerfile": "FROM scratch\nCOPY word /\n",
            "sub/word": "from below\n",
        },
    )
    git(work, "init", "-q", "-b", "main")
    commit_all(work, "one")
    git(served.directory, "clone", "-q", "--bare", "work", "repository.git")
    git(served.directory / "repository.git", "update-server-info")
    return f"{served.url}/repository.git"


def test_a_definition_in_a_repository_is_built_from_that_repository(bakery: Bakery, repository: str) -> None:
    bakery.write({"local": "mine\n"})
    bakery.bake(repository)
    assert bakery.tree("out.tar").text("word") == "from the repository\n"
    bakery.bake(f"{repository}#main", "inner", "here")
    assert bakery.tree("inner.tar").text("word") == "from below\n"
    assert bakery.tree("here.tar").text("local") == "mine\n"
    assert "there is no build definition" in bakery.fails(f"{repository}#main:sub")
