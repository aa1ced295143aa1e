"""SOURCE_DATE_EPOCH: given, taken from a source, and what it changes."""

from __future__ import annotations

import pytest

from boatyard.build.llb import graph as llb
from boatyard.errors import InvalidError, UnsupportedError
from unit.build.frontend.dockerfile.converting import Converted, Yard, converted, env_of, run_build, yard
from unit.build.frontend.dockerfile.test_convert_contexts import tar

EPOCH = {"build-arg:SOURCE_DATE_EPOCH": "1700000000"}
COPY = b"FROM scratch\nCOPY a /a\n"


def test_history_and_directories_have_the_time() -> None:
    result = converted("FROM busybox\nENV A=1\nWORKDIR /srv\n", **EPOCH)
    assert result.result.epoch == 1_700_000_000
    assert {entry.created for entry in result.config.history} == {"2023-11-14T22:13:20Z"}
    op = result.last.op
    assert isinstance(op, llb.FileOp)
    assert op.actions[0].action.timestamp == 1_700_000_000_000_000_000  # type: ignore[union-attr]


def test_without_it_nothing_has_a_time() -> None:
    result = converted("FROM busybox\nENV A=1\n")
    assert result.result.epoch is None
    assert result.config.history[0].created == ""


def test_a_default_in_the_file_counts() -> None:
    assert converted("ARG SOURCE_DATE_EPOCH=5\nFROM busybox\n").result.epoch == 5
    assert converted("ARG SOURCE_DATE_EPOCH=5\nFROM busybox\n", **EPOCH).result.epoch == 1_700_000_000


def test_steps_see_it_when_they_declare_it() -> None:
    result = converted("FROM busybox\nRUN a\nARG SOURCE_DATE_EPOCH\nRUN b\n", **EPOCH)
    assert [env_of(op).get("SOURCE_DATE_EPOCH") for op in result.execs()] == [None, "1700000000"]


@pytest.mark.parametrize("text", ["-1", "99999999999999", "yesterday"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidError, match="SOURCE_DATE_EPOCH"):
        converted("FROM busybox\n", **{"build-arg:SOURCE_DATE_EPOCH": text})


def test_the_time_of_a_repository_context() -> None:
    source = "git://example.org/a.git"
    bridge = Yard({source: {"Dockerfile": COPY + b"ARG SOURCE_DATE_EPOCH\n"}}, times={source: 77})
    options = {"context": "https://example.org/a.git", "build-arg:SOURCE_DATE_EPOCH": "context"}
    result = Converted(bridge, run_build(bridge, **options))
    assert result.result.epoch == 77
    assert result.history[-1] == "ARG SOURCE_DATE_EPOCH=77"


def test_the_time_of_an_archive_is_that_of_its_newest_file() -> None:
    url = "https://example.org/context.tar"
    bridge = Yard({url: {"context": tar(Dockerfile=COPY, b=b"four"), "Dockerfile": COPY}})
    options = {"context": url, "build-arg:SOURCE_DATE_EPOCH": "context"}
    assert run_build(bridge, **options).epoch == 1_000 + len(COPY)


def test_a_directory_has_no_time() -> None:
    result = converted(COPY.decode(), **{"build-arg:SOURCE_DATE_EPOCH": "context"})
    assert result.result.epoch is None


def test_the_time_of_a_named_context() -> None:
    source = "git://example.org/a.git"
    bridge = yard(COPY, times={source: 88})
    options = {"context:src": "https://example.org/a.git", "build-arg:SOURCE_DATE_EPOCH": "src"}
    assert run_build(bridge, **options).epoch == 88


def test_the_time_of_a_stage_that_is_one_source() -> None:
    text = """
        ARG SOURCE_DATE_EPOCH=origin
        FROM scratch AS origin
        ARG V=1
        ADD https://example.org/v$V.tar.gz /
        FROM busybox
        """
    bridge = yard(text, times={"https://example.org/v2.tar.gz": 99})
    assert run_build(bridge, **{"build-arg:V": "2"}).epoch == 99


@pytest.mark.parametrize(
    "stage", ["FROM busybox AS origin\n", "FROM scratch AS origin\nCOPY a /a\n", "FROM scratch AS origin\nADD a /a\n"]
)
def test_a_stage_that_is_more_than_a_source(stage: str) -> None:
    with pytest.raises(InvalidError, match="SOURCE_DATE_EPOCH"):
        converted(stage, **{"build-arg:SOURCE_DATE_EPOCH": "origin"})


def test_a_builder_that_knows_no_times_says_so() -> None:
    class Timeless:
        def __init__(self, inner: Yard) -> None:
            self.platform = inner.platform
            self.resolve_image, self.solve, self.warn = inner.resolve_image, inner.solve, inner.warn
            self.learn = inner.learn

    bridge = Timeless(Yard({"git://example.org/a.git": {"Dockerfile": COPY}}))
    options = {"context": "https://example.org/a.git", "build-arg:SOURCE_DATE_EPOCH": "context"}
    with pytest.raises(UnsupportedError, match="SOURCE_DATE_EPOCH"):
        run_build(bridge, **options)  # type: ignore[arg-type]
