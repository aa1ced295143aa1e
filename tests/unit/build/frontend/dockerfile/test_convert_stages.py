"""Stages: which are built, what they inherit, targets, circles, triggers."""

from __future__ import annotations

from typing import Any

import pytest

from boatyard.build.llb import graph as llb
from boatyard.errors import DockerfileError, NotFoundError
from unit.build.frontend.dockerfile.converting import (
    DIFF_ID,
    PATH,
    Converted,
    converted,
    digest_of,
    run_build,
    yard,
)

THREE = """
    FROM busybox AS tools
    RUN one
    FROM busybox AS Unused
    RUN two
    FROM tools AS final
    RUN three
    """


def test_only_the_stages_that_the_result_needs_are_built() -> None:
    result = converted(THREE)
    assert [name for name in result.names if "RUN" in name] == ["[tools 2/2] RUN one", "[final 1/1] RUN three"]


def test_images_of_stages_that_are_not_needed_are_not_looked_up() -> None:
    bridge = yard("FROM other AS unused\nFROM busybox\nRUN true\n")
    run_build(bridge)
    assert [reference for reference, _, _ in bridge.asked] == ["docker.io/library/busybox:latest"]


@pytest.mark.parametrize(("target", "last"), [("tools", "one"), ("UNUSED", "two"), ("1", "two"), ("", "three")])
def test_the_target_is_a_name_or_a_number(target: str, last: str) -> None:
    assert converted(THREE, target=target).last.name.endswith(f"RUN {last}")


def test_a_misspelt_target_is_guessed() -> None:
    with pytest.raises(NotFoundError, match=r"no stage 'finale' to build \(did you mean final\?\)") as raised:
        converted(THREE, target="finale")
    assert raised.value.hint == "the stages are: tools, unused, final"


def test_a_number_beyond_the_last_stage_is_not_there() -> None:
    with pytest.raises(NotFoundError):
        converted(THREE, target="3")


def test_a_stage_inherits_what_its_base_has() -> None:
    result = converted(
        """
        FROM busybox AS base
        ENV A=1
        ARG B=2
        WORKDIR /srv
        USER app
        LABEL l=1
        CMD ["x"]
        FROM base
        RUN true
        """
    )
    (op,) = result.execs()
    assert dict(pair.split("=", 1) for pair in op.meta.env).keys() == {"PATH", "A", "B"}
    assert (op.meta.cwd, op.meta.user) == ("/srv", "app")
    assert result.run_config.labels == {"l": "1"}
    assert result.run_config.cmd == ("x",)
    assert result.history[-1] == "RUN |1 B=2 /bin/sh -c true # buildkit"


def test_a_stage_without_steps_is_its_base() -> None:
    assert converted("FROM busybox AS a\nRUN x\nFROM a AS b\nFROM b\n").last.name == "[a 2/2] RUN x"


def test_the_later_of_two_stages_of_one_name_counts() -> None:
    result = converted("FROM busybox AS a\nRUN x\nFROM busybox AS a\nRUN y\nFROM a\n")
    assert result.last.name == "[a 2/2] RUN y"


def test_a_stage_may_have_the_name_of_the_image_it_is_built_on() -> None:
    result = converted("FROM busybox AS busybox\nRUN x\nFROM busybox\nRUN y\n")
    assert [name for name in result.names if "RUN" in name] == ["[busybox 2/2] RUN x", "[stage-1 1/1] RUN y"]


def test_equal_steps_of_two_stages_are_one_vertex() -> None:
    result = converted(
        "FROM busybox AS a\nRUN x\nFROM busybox AS b\nRUN x\nFROM scratch\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
    )
    assert len(result.execs()) == 1


@pytest.mark.parametrize(
    ("dockerfile", "circle", "line"),
    [
        ("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nCOPY --from=a / /\n", "a -> b -> a", 2),
        ("FROM busybox AS a\nCOPY --from=a / /\n", "a -> a", 2),
        ("FROM busybox AS a\nRUN --mount=from=b,target=/b x\nFROM a AS b\nRUN y\n", "a -> b -> a", 2),
    ],
)
def test_stages_that_need_each_other_are_named(dockerfile: str, circle: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=f"in a circle: {circle}$") as raised:
        converted(dockerfile)
    assert raised.value.source is not None
    assert raised.value.source.start == line


def test_a_thousand_stages_one_on_the_other_are_no_circle() -> None:
    text = "FROM busybox AS s0\n" + "".join(f"FROM s{number} AS s{number + 1}\nRUN {number}\n" for number in range(999))
    assert converted(text).last.name == "[s999 1/1] RUN 998"


# -- bases -----------------------------------------------------------------------------------------------------------


def test_an_image_is_pinned() -> None:
    result = converted("FROM debian:bookworm-slim\n")
    digest = digest_of("docker.io/library/debian:bookworm-slim")
    assert list(result.sources()) == [f"docker-image://docker.io/library/debian:bookworm-slim@{digest}"]
    image = result.result.images[0]
    assert (image.base, image.base_name) == (digest, f"docker.io/library/debian:bookworm-slim@{digest}")
    assert result.last.name == f"[1/1] FROM docker.io/library/debian:bookworm-slim@{digest}"
    assert [(place.start, place.end) for place in result.last.locations] == [(1, 1)]


def test_the_base_of_a_base_stage_is_the_results() -> None:
    result = converted("FROM debian AS a\nFROM a\nRUN true\n")
    assert result.result.images[0].base == digest_of("docker.io/library/debian:latest")


def test_scratch_is_nothing() -> None:
    result = converted('FROM scratch\nCMD ["/x"]\n')
    assert result.edge is None
    assert result.result.images[0].base is None
    assert result.run_config.env == (PATH,)
    assert result.run_config.working_dir == "/"


def test_an_image_without_layers_is_nothing_but_its_config() -> None:
    bridge = yard(
        "FROM empty\n", images={"docker.io/library/empty:latest": {"rootfs": {"type": "layers", "diff_ids": []}}}
    )
    assert run_build(bridge).images[0].edge is None


def test_the_config_of_the_base_is_kept() -> None:
    base = {
        "author": "somebody",
        "created": "2020-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/bin", "A=1"],
            "User": "app",
            "WorkingDir": "/srv",
            "Entrypoint": ["/entry"],
            "Cmd": ["x"],
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
            "StopSignal": "SIGINT",
            "Shell": ["/bin/bash", "-c"],
            "Healthcheck": {"Test": ["NONE"]},
            "Unknown": 1,
        },
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "base"}],
    }
    bridge = yard("FROM base\nRUN true\n", images={"docker.io/library/base:latest": base})
    result = Converted(bridge, run_build(bridge))
    (op,) = result.execs()
    assert op.meta.args == ("/bin/bash", "-c", "true")
    assert op.meta.env == ("PATH=/bin", "A=1")
    assert (op.meta.user, op.meta.cwd) == ("app", "/srv")
    config = result.config
    assert config.created == ""
    assert config.author == "somebody"
    assert config.config.entrypoint == ("/entry",)
    assert config.config.stop_signal == "SIGINT"
    assert config.config.volumes == {"/data": {}}
    assert result.history == ["base", "RUN /bin/bash -c true # buildkit"]


def test_a_missing_image_is_told_with_the_line_and_a_guess() -> None:
    bridge = yard(
        "FROM busybox AS builder\nRUN x\n\nFROM scratch\nCOPY --from=bilder /x /x\n",
        missing=frozenset({"docker.io/library/bilder:latest"}),
    )
    with pytest.raises(DockerfileError, match=r"is not there \(did you mean builder\?\)") as raised:
        run_build(bridge)
    assert raised.value.source is not None
    assert raised.value.source.start == 5


def test_a_base_that_is_no_image_name() -> None:
    with pytest.raises(DockerfileError, match="lowercase") as raised:
        converted("FROM busybox\nFROM Library/Upper\n")
    assert raised.value.source is not None
    assert raised.value.source.start == 2


def test_a_damaged_config_names_the_line() -> None:
    bridge = yard("FROM base\n", images={"docker.io/library/base:latest": {"config": 7}})
    with pytest.raises(DockerfileError, match="config"):
        run_build(bridge)


@pytest.mark.parametrize("mode", ["pull", "local"])
def test_the_way_images_are_found_is_handed_on(mode: str) -> None:
    result = converted("FROM busybox\n", **{"image-resolve-mode": mode})
    assert result.bridge.asked[0][2] == mode
    assert result.last.op.attrs == {"image.resolvemode": mode}  # type: ignore[union-attr]


# -- names -----------------------------------------------------------------------------------------------------------


def test_steps_are_counted_in_their_stage() -> None:
    result = converted("FROM busybox\nENV A=1\n" + "".join(f"RUN {number}\n" for number in range(10)))
    assert result.names[0].startswith("[ 1/11] FROM ")
    assert result.names[1] == "[ 2/11] RUN 0"
    assert result.names[-1] == "[11/11] RUN 9"


# -- ONBUILD ---------------------------------------------------------------------------------------------------------


def with_triggers(*triggers: str) -> dict[str, Any]:
    return {"docker.io/library/base:latest": {"config": {"OnBuild": list(triggers)}}}


def test_triggers_of_a_base_image_run_first_and_only_once() -> None:
    bridge = yard(
        "FROM base AS a\nRUN own\nFROM a\nRUN last\n",
        images=with_triggers("ENV A=1", "RUN trigger $A", "COPY . /src"),
    )
    result = Converted(bridge, run_build(bridge))
    assert [name for name in result.names if "FROM" not in name and "context" not in name] == [
        "[a 2/4] ONBUILD RUN trigger 1",
        "[a 3/4] ONBUILD COPY . /src",
        "[a 4/4] RUN own",
        "[stage-1 1/1] RUN last",
    ]
    assert result.run_config.on_build == ()


def test_triggers_of_a_stage_run_in_the_stages_built_on_it() -> None:
    result = converted("FROM busybox AS a\nONBUILD RUN trigger\nFROM a AS b\nRUN own\nFROM b\nRUN last\n")
    assert [name for name in result.names if "RUN" in name] == [
        "[b 1/2] ONBUILD RUN trigger",
        "[b 2/2] RUN own",
        "[stage-2 1/1] RUN last",
    ]


def test_triggers_are_stored_in_the_image() -> None:
    result = converted("FROM busybox\nONBUILD RUN a\nONBUILD COPY <<EOF /b\nc\nEOF\n")
    assert result.run_config.on_build == ("RUN a", "COPY <<EOF /b\nc\nEOF")
    assert result.history == []


def test_a_trigger_may_copy_from_an_image() -> None:
    bridge = yard("FROM base\n", images=with_triggers("COPY --from=tools /a /b"))
    result = Converted(bridge, run_build(bridge))
    assert "docker.io/library/tools:latest" in [reference for reference, _, _ in bridge.asked]
    assert result.last.name.endswith("ONBUILD COPY --from=tools /a /b")


def test_a_trigger_stands_where_its_from_does() -> None:
    bridge = yard("\nFROM base\n", images=with_triggers("RUN x"))
    vertex = Converted(bridge, run_build(bridge)).last
    assert vertex.locations == (llb.SourceLocation("Dockerfile", 1, 1),)


def test_a_trigger_that_is_no_instruction() -> None:
    bridge = yard("FROM base\n", images=with_triggers("NONSENSE x"))
    with pytest.raises(DockerfileError, match="ONBUILD NONSENSE x"):
        run_build(bridge)


def test_the_images_of_copies_bring_no_triggers() -> None:
    bridge = yard("FROM scratch\nCOPY --from=base /a /b\n", images=with_triggers("RUN x"))
    assert not Converted(bridge, run_build(bridge)).execs()
    assert DIFF_ID
