"""Whatever the bytes, the parser returns or refuses, soon; and what the corpus means doesn't change unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.directives import detect_syntax
from boatyard.build.frontend.dockerfile.expansion import expand_instruction
from boatyard.build.frontend.dockerfile.instruction_forms import FORMS
from boatyard.build.frontend.dockerfile.instructions import Dockerfile, Instruction, Onbuild, Run
from boatyard.build.frontend.dockerfile.lint import LintReport
from boatyard.build.frontend.dockerfile.mounts import parse_mount
from boatyard.build.frontend.dockerfile.parser import parse, parse_trigger
from boatyard.errors import DockerfileError, InvalidError

TESTS = Path(__file__).parents[4]
CORPUS = {path.name: path.read_bytes() for path in sorted((TESTS / "fixtures" / "dockerfiles").iterdir())}

SNIPPETS = [
    *(f"\n{keyword} ".encode() for keyword in ("FROM", *FORMS)),
    b" \\\n", b"`", b"<<EOF", b"\nEOF\n", b"<<-'A B'", b"# escape=`\n", b"# check=skip=all\n", b'["a", "b"]', b"[[",
    b"--mount=type=cache,", b"--", b"=", b"$", b"${x:-", b"}", b"'", b'"', b"\r\n", b"\t", b"\x00", b"\xff",
    b"\xe2\x80\xa8", b"#", b"\xef\xbb\xbf", b"\n\n", b"\\", b" AS ", b"NONE", b"CMD", b"--interval=1h", b"80-90/tcp",
]  # fmt: skip


def parse_and_use(data: bytes) -> Dockerfile:
    """Parse, and do with the result what a build does."""
    parsed = parse(data, "Dockerfile")
    report = LintReport()
    report.extend(parsed.findings)
    parsed.source.encode()
    last = parsed.source.count("\n") + 1
    for stage in parsed.stages:
        for instruction in stage.instructions:
            assert 1 <= stage.range.start <= instruction.range.start <= instruction.range.end <= last
            instruction.text.encode()
            use(instruction, parsed.directives.escape)
    return parsed


def use(instruction: Instruction, escape: str) -> None:
    def word(text: str) -> str:
        return shell.expand_word(text, {"x": "1"}, escape=escape)

    try:
        if isinstance(instruction, Onbuild):
            parse_trigger(instruction.expression, Range(1, 1))
        elif isinstance(instruction, Run):
            for flag in instruction.mounts:
                parse_mount(flag, word)
        else:
            expand_instruction(
                instruction,
                word,
                body=lambda text: shell.expand(text, {}, ignore_quotes=True).text,
                split=lambda text: shell.expand(text, {}, escape=escape).words,
            )
    except (InvalidError, DockerfileError) as error:
        assert error.message


def survive(data: bytes) -> None:
    try:
        parse_and_use(data)
    except DockerfileError as error:
        assert error.message
        assert error.source is not None
        error.message.encode()


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) >= 25


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_read(name: str) -> None:
    assert parse_and_use(CORPUS[name]).stages


@pytest.mark.parametrize("name", CORPUS)
def test_every_line_of_the_corpus_belongs_to_one_instruction(name: str) -> None:
    parsed = parse(CORPUS[name], name)
    ranges = sorted(place.range for stage in parsed.stages for place in (stage, *stage.instructions)) + [
        argument.range for argument in parsed.arguments
    ]
    covered = [line for each in ranges for line in range(each.start, each.end + 1)]
    assert len(covered) == len(set(covered))
    for number, line in enumerate(parsed.source.split("\n"), 1):
        assert number in covered or not line.strip() or line.lstrip().startswith("#")


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    survive(data)
    detect_syntax(data)


@given(st.lists(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=4), st.just(b"x ")), max_size=30))
@settings(max_examples=200)
def test_any_mixture_of_the_languages_pieces_is_read_or_refused(pieces: list[bytes]) -> None:
    survive(b"FROM a" + b"".join(pieces))


@given(
    st.sampled_from(sorted(CORPUS)),
    st.lists(
        st.tuples(
            st.integers(0, 4000), st.integers(0, 40), st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=3))
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=200)
def test_damaged_files_of_the_corpus_are_read_or_refused(name: str, edits: list[tuple[int, int, bytes]]) -> None:
    data = CORPUS[name]
    for at, length, piece in edits:
        at %= len(data) + 1
        data = data[:at] + piece + data[at + length :]
    survive(data)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "data",
    [
        b"RUN " + b"\\\n" * 100_000,
        b"RUN " + b"<<" * 50_000,
        b"RUN " + b"<<A " * 5_000 + b"\n" + b"A\n" * 5_000,
        b"RUN <<E\n" + b"x\n" * 200_000 + b"E",
        b"RUN a<<\n" * 20_000,
        b"RUN <<E " + b"${a:-" * 50_000,
        b"RUN --mount=" + b"a," * 100_000 + b" x",
        b'RUN --mount="' + b'""' * 100_000 + b'" x',
        b'RUN --"' + b"\\" * 200_000,
        b"RUN [" + b"[" * 100_000,
        b"ENV " + b"a='" * 100_000,
        b'ENV a="' + b"\\" * 200_000,
        b"ENV " + b"a " * 200_000 + b"=",
        b"ENV " + b"a=b " * 100_000,
        b"ARG " + b"a=\\ " * 100_000,
        b"EXPOSE " + b"80 " * 100_000,
        b"HEALTHCHECK --interval=" + b"1h" * 100_000 + b" CMD x",
        b"HEALTHCHECK --retries=" + b"1" * 100_000 + b" CMD x",
        b"#" + b" " * 200_000 + b"x=" + b" " * 200_000,
        b"# a\n" * 100_000,
        b"x" * 200_000,
        b"COPY " + b"<<a " * 2_000 + b"/x\n" + b"a\n" * 2_000,
        b"ONBUILD " * 50_000,
        b"LABEL " + b"\xe3\x80\x80" * 100_000,
    ],
    ids=lambda data: data[:24].decode("ascii", "replace"),
)
def test_time_grows_no_faster_than_the_file(data: bytes) -> None:
    survive(b"FROM a\n" + data)
