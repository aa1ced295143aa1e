"""Which frontend reads the file: `# syntax=`, BUILDKIT_SYNTAX, and what is said when it can't be had."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from boatyard.build.frontend.base import FrontendRequest, FrontendResult
from boatyard.build.frontend.dockerfile.frontend import build
from boatyard.errors import (
    DeniedError,
    DockerfileError,
    FrontendError,
    NotFoundError,
    SourceExcerpt,
    UnsupportedError,
)
from unit.build.frontend.dockerfile.converting import Yard, converted, run_build, yard


@pytest.mark.parametrize(
    "syntax",
    [
        "docker/dockerfile:1",
        "docker/dockerfile:1.7-labs",
        "docker.io/docker/dockerfile",
        "docker/dockerfile-upstream:x",
    ],
)
def test_every_version_of_the_dockerfile_syntax_is_served(syntax: str) -> None:
    assert converted(f"# syntax={syntax}\nFROM busybox\n").edge is not None


def forwarding(text: str, **known: Any) -> tuple[Yard, list[FrontendRequest]]:
    """A bridge that has other frontends; what these are asked."""
    asked: list[FrontendRequest] = []

    async def other(bridge: Any, request: FrontendRequest) -> FrontendResult:
        asked.append(request)
        return FrontendResult(metadata={"answer": b"theirs"})

    bridge = yard(text, **known)
    bridge.frontends = {"gateway.v0": other, "python.v0": other}
    return bridge, asked


@pytest.mark.parametrize(
    ("text", "options", "source", "cmdline"),
    [
        ("# syntax=example/frontend:2 with words\nwhatever", {}, "example/frontend:2", "example/frontend:2 with words"),
        ("// syntax=example/frontend\n{}", {}, "example/frontend", "example/frontend"),
        ("FROM a", {"build-arg:BUILDKIT_SYNTAX": " forced/one  x "}, "forced/one", "forced/one  x"),
        ("# syntax=python:packages", {}, "packages", "python:packages"),
        ("FROM a", {"build-arg:BUILDKIT_SYNTAX": "python:./f.py"}, "./f.py", "python:./f.py"),
    ],
)
def test_another_frontend_gets_the_request_as_it_is(
    text: str, options: dict[str, str], source: str, cmdline: str
) -> None:
    bridge, asked = forwarding(text)
    given = {"target": "t", "requestid": "frontend.outline", **options}
    assert run_build(bridge, {"made": None}, **given).metadata == {"answer": b"theirs"}
    assert asked[0].options == {**given, "source": source, "cmdline": cmdline}
    assert asked[0].inputs == {"made": None}


def test_the_built_in_frontend_can_be_forced_and_knows_that_it_was_chosen() -> None:
    text = "# syntax=example/frontend:2\nFROM busybox\n"
    assert converted(text, **{"build-arg:BUILDKIT_SYNTAX": "dockerfile.v0"}).edge is not None
    assert converted(text, cmdline="example/frontend:2").edge is not None


def test_the_configuration_may_insist_on_the_image_of_a_syntax() -> None:
    bridge, asked = forwarding("# syntax=docker/dockerfile:1\nFROM busybox\n")
    asyncio.run(build(bridge, FrontendRequest({}), insist_on_syntax_image=True))
    assert asked[0].options["source"] == "docker/dockerfile:1"


def test_a_python_file_of_the_context_runs_only_when_the_client_grants_it() -> None:
    bridge, asked = forwarding("# syntax=python:./f.py:make\nwhatever\n")
    with pytest.raises(DockerfileError, match=r"f\.py.*not allowed") as raised:
        run_build(bridge)
    assert raised.value.source is not None and raised.value.source.start == 1
    assert "--allow frontend.python" in str(raised.value.hint)
    assert isinstance(raised.value.__cause__, DeniedError)
    assert not asked
    bridge.entitlements = frozenset({"frontend.python"})
    run_build(bridge)
    assert asked[0].options["source"] == "./f.py:make"


def test_a_frontend_that_can_not_be_had_is_told_with_the_line_that_names_it() -> None:
    async def absent(bridge: Any, request: FrontendRequest) -> FrontendResult:
        raise NotFoundError("image example/frontend:2 is not there")

    bridge = yard("#!/usr/bin/env boat\n# syntax=example/frontend:2\n")
    bridge.frontends = {"gateway.v0": absent}
    with pytest.raises(DockerfileError, match="is not there") as raised:
        run_build(bridge)
    assert raised.value.source is not None and raised.value.source.start == 2
    assert "BUILDKIT_SYNTAX=dockerfile.v0" in str(raised.value.hint)
    with pytest.raises(NotFoundError):
        run_build(bridge, **{"build-arg:BUILDKIT_SYNTAX": "example/frontend:2"})


def test_what_another_frontend_says_of_its_file_stands() -> None:
    async def strict(bridge: Any, request: FrontendRequest) -> FrontendResult:
        raise FrontendError("line 7 is wrong", source=SourceExcerpt("Dockerfile", "text", 7, 7))

    bridge = yard("# syntax=example/frontend:2\n")
    bridge.frontends = {"gateway.v0": strict}
    with pytest.raises(FrontendError, match="line 7 is wrong"):
        run_build(bridge)


def test_questions_go_to_the_frontend_that_reads_the_file() -> None:
    bridge, asked = forwarding("# syntax=example/frontend:2\n")
    for question in ("frontend.subrequests.describe", "frontend.lint", "frontend.of.its.own"):
        run_build(bridge, requestid=question)
        assert asked.pop().options["requestid"] == question
    nothing = Yard(files={"local://dockerfile": {}, "local://context": {}})
    assert "result.json" in run_build(nothing, requestid="frontend.subrequests.describe").metadata


def test_a_capability_that_only_another_frontend_has() -> None:
    bridge, asked = forwarding("# syntax=example/frontend:2\n")
    run_build(bridge, **{"frontend.caps": "moby.buildkit.frontend.teleport+forward"})
    assert asked
    with pytest.raises(UnsupportedError, match="teleport"):
        converted("FROM busybox\n", **{"frontend.caps": "moby.buildkit.frontend.teleport+forward"})
