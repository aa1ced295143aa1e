"""`boat bake` against a daemon that answers what each test says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boatyard.client.documents.builds import BuildResult
from boatyard.client.documents.envelope import Failure
from boatyard.client.failure import describe
from boatyard.errors import DockerfileError, ExitError, SolveError, SourceExcerpt
from boatyard.progress import LogEvent, VertexEvent
from fixtures.native_daemon import Asked, NativeDaemon

Boat = Callable[..., Any]

TWO = """
group "default" {
  targets = ["one", "two"]
}
target "one" {
  args   = { A = "1" }
  labels = { "org.example.part" = "one" }
  tags   = ["one:latest"]
}
target "two" {
  dockerfile-inline = "FROM scratch"
  target            = "last"
  platforms         = ["linux/amd64", "linux/arm64"]
  no-cache-filter   = ["last"]
  output            = [{ type = "local", dest = "out" }]
}
"""


@pytest.fixture(autouse=True)
def builds(daemon: NativeDaemon, work: Path) -> None:
    (work / "docker-bake.hcl").write_text(TWO)
    daemon.answers["POST", "/builds"] = lambda asked: [BuildResult(ref=asked.body["ref"])]


def requests(daemon: NativeDaemon) -> dict[str, Any]:
    """By their labels."""
    return {asked.body.get("label", ""): asked.body for asked in daemon.asked if asked.path == "/builds"}


def test_each_target_is_a_request_and_all_are_one_group(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    told = boat("bake")
    assert told.code == 0, told.err
    asked = requests(daemon)
    assert set(asked) == {"one", "two"}
    assert asked["one"]["group"] == asked["two"]["group"] != ""
    assert asked["one"]["ref"] != asked["two"]["ref"]
    assert asked["one"]["frontend_attrs"] == {
        "filename": "Dockerfile",
        "build-arg:A": "1",
        "label:org.example.part": "one",
    }
    assert asked["one"]["exports"] == [{"type": "image", "attrs": {"name": "one:latest"}}]
    assert asked["two"]["frontend_attrs"]["target"] == "last"
    assert asked["two"]["frontend_attrs"]["platform"] == "linux/amd64,linux/arm64"
    assert asked["two"]["frontend_attrs"]["no-cache"] == "last"
    assert (work / "out").is_dir()


def test_a_single_target_has_no_label_before_its_steps(boat: Boat, daemon: NativeDaemon) -> None:
    assert boat("bake", "one").code == 0
    assert set(requests(daemon)) == {""}


def test_linked_targets_travel_in_the_request_of_the_one_that_uses_them(
    boat: Boat, daemon: NativeDaemon, work: Path
) -> None:
    (work / "base").mkdir()
    (work / "base" / "Dockerfile").write_text("FROM scratch\n")
    (work / "word").write_text("secret\n")
    (work / "docker-bake.hcl").write_text(
        """
        target "base" {
          context = "base"
          tags    = ["base:latest"]
          secret  = ["id=word,src=word"]
        }
        target "middle" {
          contexts = { below = "target:base" }
        }
        target "app" {
          contexts = { middle = "target:middle", files = "base" }
        }
        """
    )
    assert boat("bake", "app").code == 0
    request = requests(daemon)["app"]
    assert request["frontend_attrs"]["context:middle"] == "input:middle"
    assert set(request["linked"]) == {"middle", "base"}
    assert request["linked"]["middle"]["frontend_attrs"]["context:below"] == "input:base"
    assert "exports" not in request["linked"]["base"]
    assert daemon.read(request["linked"]["base"]["secrets"]["word"]) == b"secret\n"
    assert "word" not in request.get("secrets", {})


def test_the_first_failure_is_told_with_its_target_and_ends_the_others(boat: Boat, daemon: NativeDaemon) -> None:
    error = SolveError("exit code 7", vertex="v", vertex_name="[one 1/1] RUN false")
    error.__cause__ = ExitError("exit code 7", exit_code=7)
    cancelled: list[str] = []

    def answer(asked: Asked) -> Any:
        if asked.body["label"] == "one":
            yield VertexEvent(digest="v", name="[one 1/1] RUN false", started=1.0)
            yield LogEvent(vertex="v", stream=2, data="no such luck\n", time=1.2)
            yield VertexEvent(digest="v", name="[one 1/1] RUN false", started=1.0, completed=2.0, error="exit code 7")
            yield Failure(error=describe(error))
        else:
            yield BuildResult(ref="r")

    def cancel(asked: Asked) -> None:
        cancelled.append(asked.path)

    daemon.answers["POST", "/builds"] = answer
    told = boat("bake", "--progress=plain")
    assert told.code == 1
    assert "> [one 1/1] RUN false:\n  | no such luck\n" in told.err
    assert "error: a step failed: [one 1/1] RUN false\n" in told.err
    ref = requests(daemon)["one"]["ref"]
    assert f"`boat builder debug {ref[:12]}`" in told.err


def test_what_is_wrong_before_the_first_step_names_the_target(boat: Boat, daemon: NativeDaemon) -> None:
    error = DockerfileError("unknown instruction FORM", source=SourceExcerpt("Dockerfile", "FORM x\n", 1, 1))
    daemon.answers["POST", "/builds"] = lambda asked: (
        [Failure(error=describe(error))] if asked.body["label"] == "two" else [BuildResult(ref="r")]
    )
    told = boat("bake")
    assert told.code == 1
    assert "error: target two: unknown instruction FORM\n" in told.err
    assert "Dockerfile:1\n" in told.err


def test_metadata_are_written_by_target(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["POST", "/builds"] = lambda asked: [
        BuildResult(ref="r", response={"containerimage.digest": f"sha256:{asked.body['label']}"})
    ]
    assert boat("bake", "--metadata-file=known.json").code == 0
    known = json.loads((work / "known.json").read_text())
    assert {name: each["containerimage.digest"] for name, each in known.items()} == {
        "one": "sha256:one",
        "two": "sha256:two",
    }


def test_a_question_needs_no_caches(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    text = 'target "default" {\n  cache-from = ["type=gha"]\n  cache-to = ["type=gha"]\n}\n'
    (work / "docker-bake.hcl").write_text(text)
    assert "type=gha is not supported" in boat("bake").err
    answer = {"result.txt": "", "result.json": "{}", "result.statuscode": "0"}
    daemon.answers["POST", "/builds"] = lambda asked: [BuildResult(ref="r", metadata=answer)]
    assert boat("bake", "--check").code == 0
    assert "cache_from" not in requests(daemon)[""]
    assert boat("bake", "--set", "*.cache-from=", "--set", "*.cache-to=").code == 0


def test_checks_are_told_target_by_target_and_decide_the_exit_code(boat: Boat, daemon: NativeDaemon) -> None:
    texts = {"one": ("1", "one thing is wrong\n"), "two": ("0", "all is well\n")}

    def answer(asked: Asked) -> Any:
        code, text = texts[asked.body["label"]]
        return [BuildResult(ref="r", metadata={"result.txt": text, "result.json": "{}", "result.statuscode": code})]

    daemon.answers["POST", "/builds"] = answer
    told = boat("bake", "--check")
    assert told.code == 1
    assert told.out == "one\n\none thing is wrong\n\ntwo\n\nall is well\n"
    assert all(request["frontend_attrs"]["requestid"] == "frontend.lint" for request in requests(daemon).values())


@pytest.mark.parametrize(
    ("text", "words", "needed"),
    [
        ('network = "host"', (), "network.host"),
        ('entitlements = ["security.insecure"]', (), "security.insecure"),
        ('context = "/"', (), "fs.read=/"),
        ('output = ["type=local,dest=../elsewhere"]', ("--allow", "network.host"), "fs.write=%/elsewhere"),
        ('secret = ["id=a,src=/etc/passwd"]', ("--allow", "fs.read=/usr"), "fs.read=/etc/passwd"),
        ('contexts = { files = "/etc" }', (), "fs.read=/etc"),
        ('ssh = ["default"]', (), "ssh"),
        ('cache-to = ["type=local,dest=/cache"]', (), "fs.write=/cache"),
    ],
)
def test_what_a_definition_needs_must_be_allowed(
    boat: Boat, daemon: NativeDaemon, work: Path, text: str, words: tuple[str, ...], needed: str
) -> None:
    (work / "docker-bake.hcl").write_text(f'target "default" {{\n  {text}\n}}\n')
    told = boat("bake", *words)
    needed = needed.replace("%", os.path.realpath(work.parent))
    assert told.code != 0
    assert f"fix: allow it: --allow={needed}\n" in told.err
    assert not requests(daemon)


def test_what_is_linked_to_outside_is_followed(boat: Boat, work: Path) -> None:
    (work / "in").symlink_to("/etc")
    (work / "docker-bake.hcl").write_text('target "default" {\n  context = "in"\n}\n')
    assert "--allow=fs.read=/etc" in boat("bake").err
    assert "--allow=fs.read=/etc" not in boat("bake", "--allow=fs=/etc").err
    assert "--allow=fs.read=/etc" not in boat("bake", BUILDX_BAKE_ENTITLEMENTS_FS="0").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--allow=netwrk.host",), "did you mean network.host?"),
        (("--list=target",), "did you mean targets?"),
        (("--list=type=targets,format=yaml",), "format=table or format=json"),
        (("--list=targets", "--print"), "--print and --list exclude each other"),
        (("--var=X",), "write it as --var NAME=VALUE"),
        (("--sbom", "true"), "--sbom: attestations are not supported yet"),
        (("--provenance=mode=max",), "--provenance: attestations are not supported yet"),
    ],
)
def test_flags_that_make_no_sense_are_told(boat: Boat, words: tuple[str, ...], said: str) -> None:
    told = boat("bake", *words)
    assert told.code != 0
    assert said.replace("did you mean ", "").strip("?") in told.err


def test_push_makes_images_that_are_pushed(boat: Boat, daemon: NativeDaemon) -> None:
    assert boat("bake", "--push", "one").code == 0
    assert requests(daemon)[""]["exports"] == [{"type": "image", "attrs": {"name": "one:latest", "push": "true"}}]


def test_nobody_is_asked_where_there_is_no_terminal(boat: Boat, work: Path) -> None:
    (work / "docker-bake.hcl").write_text('target "default" {\n  network = "host"\n}\n')
    told = boat("bake")
    assert told.code != 0
    assert "[y/N]" not in told.err


def test_variables_of_compose_files_that_nobody_set_are_noted(boat: Boat, work: Path) -> None:
    (work / "docker-bake.hcl").unlink()
    (work / "compose.yaml").write_text("services:\n  app:\n    image: ${NAME}-x\n    build: .\n")
    told = boat("bake", "--print")
    assert told.code == 0
    assert "note: the compose file's variable NAME is not set: it is empty" in told.err
    assert json.loads(told.out)["target"]["app"]["tags"] == ["-x"]
